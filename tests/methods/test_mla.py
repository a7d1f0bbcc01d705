"""MLA's hooks, driven by hand as the loop drives them, against float64 and for what they promise."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from references import mla as reference
from torch import nn
from torch.nn.functional import cross_entropy

from altuna import Batch, MultimodalClassifier
from altuna.methods.base import Method, Turn
from altuna.methods.mla import MLA

SIZES = {"sound": 5, "picture": 7, "words": 4}
DIM, CLASSES = 6, 3


def model_of(modalities=SIZES, head="shared", seed=0):
    torch.manual_seed(seed)
    return MultimodalClassifier({m: nn.Linear(SIZES[m], DIM) for m in modalities}, CLASSES, head=head)


def batch_of(seed, size=8, modalities=SIZES, keep=0.7):
    """A batch in which cells are missing, and now and then a whole modality."""
    g = torch.Generator().manual_seed(seed)
    inputs, rows = {}, {}
    for m in modalities:
        chosen = (torch.rand(size, generator=g) < keep).nonzero().flatten()
        x = torch.randn(len(chosen), SIZES[m], generator=g) + 0.5
        if len(chosen) and not (m == "words" and seed % 3 == 2):
            inputs[m], rows[m] = x, chosen
    return Batch(inputs, rows, torch.randint(CLASSES, (size,), generator=g), torch.arange(size))


def take(method, batch, optimizer, log=False):
    """What the loop does with a batch; yields after every turn."""
    for turn in method.turns(batch):
        turn.wants_log = log
        optimizer.zero_grad()
        method.loss(turn, batch).backward()
        method.modify_gradients(turn, batch)
        optimizer.step()
        method.after_step(turn, batch)
        yield turn


def train(method, batches, optimizer, log=False):
    """One epoch."""
    turns = []
    method.clock.batches = len(batches)
    for method.clock.batch, batch in enumerate(batches):
        turns.append([*take(method, batch, optimizer, log)])
    return turns


def sgd(method, lr=0.3):
    return torch.optim.SGD(method.parameters(), lr)


def reference_of(model, lr):
    def numbers(layer):
        return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()

    encoders = {m: numbers(e) for m, e in zip(model.modalities, model.encoders, strict=True)}
    return reference.MLA(encoders, numbers(model.head.linear), lr)


def assert_same(method, want, tolerance):
    model = method.model
    pairs = [
        (model.head.linear.weight, want.weight),
        (model.head.linear.bias, want.bias),
        (method.projector.P, want.p),
    ]
    for m, encoder in zip(model.modalities, model.encoders, strict=True):
        pairs += zip((encoder.weight, encoder.bias), want.encoders[m], strict=True)
    for got, value in pairs:
        assert np.abs(got.detach().double().numpy() - value).max() <= tolerance * np.abs(value).max()


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("project", ["gradient", "step", "off"])
@pytest.mark.parametrize("reset", ["never", "epoch", "batch"])
@pytest.mark.parametrize("alpha", [0.1, "schedule"])
def test_agrees_with_reference(alpha, reset, project, double):
    method = MLA(model_of(), order="given", alpha=alpha, reset=reset, project=project)
    if double:
        method.double()
    batches = [batch_of(seed) for seed in range(6)]
    assert len({tuple(b.inputs) for b in batches}) > 1
    if double:
        batches = [
            Batch({m: x.double() for m, x in b.inputs.items()}, b.rows, b.labels, b.indices) for b in batches
        ]
    want, optimizer = reference_of(method.model, 0.3), sgd(method)
    for method.clock.epoch in range(2):
        train(method, batches, optimizer)
        for i, batch in enumerate(batches):
            if reset == "batch" or (reset == "epoch" and i == 0):
                want.p = np.eye(DIM)
            for m in SIZES:
                if m in batch.inputs:
                    x, y = batch.inputs[m].double().numpy(), batch.labels_of(m).numpy()
                    a = 10 ** -(1 + i / 6) if alpha == "schedule" else alpha
                    want.turn(m, x, y, a, project != "off")
    assert_same(method, want, 1e-7 if double else 1e-5)


def test_a_turn_trains_one_encoder_and_the_head():
    method = MLA(model_of())
    optimizer, batch = sgd(method), batch_of(0, keep=1.0)
    before = copy.deepcopy(method.model)
    turns = take(method, batch, optimizer)
    for number, m in enumerate(SIZES):
        turn = next(turns)
        assert turn.modalities == (m,)
        assert turn.name == m
        for i, (a, b) in enumerate(zip(before.encoders, method.model.encoders, strict=True)):
            assert torch.equal(a.weight, b.weight) == (i != number)
        assert not torch.equal(before.head.linear.weight, method.model.head.linear.weight)
        assert not torch.equal(before.head.linear.bias, method.model.head.linear.bias)
        before = copy.deepcopy(method.model)


def test_only_the_head_weight_is_projected():
    method = MLA(model_of(), alpha=1e-3, reset="never")
    train(method, [batch_of(0)], sgd(method))
    (turn, *_), batch = method.turns(batch_of(1)), batch_of(1)
    method.loss(turn, batch).backward()
    kept = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    method.modify_gradients(turn, batch)
    changed = [
        n for n, p in method.named_parameters() if p.grad is not None and not torch.equal(p.grad, kept[n])
    ]
    (head,) = changed
    assert method.get_parameter(head) is method.model.head.linear.weight
    torch.testing.assert_close(method.weight.grad, kept[head] @ method.projector.P)


def interference(project, optimizer_of, seed=0):
    """How far head steps move the outputs for the mean features of the turn before."""
    method = MLA(model_of(seed=seed), alpha=1e-3, project=project)
    optimizer, moved, previous = optimizer_of(method), 0.0, None
    for i in range(10):
        for turn in method.turns(batch := batch_of(i, 32)):
            optimizer.zero_grad()
            method.loss(turn, batch).backward()
            method.modify_gradients(turn, batch)
            before = method.weight.detach().clone()
            optimizer.step()
            method.after_step(turn, batch)
            r = turn.features[turn.name].detach().mean(0)
            step = method.weight.detach() - before
            if previous is not None and turn.name != "sound":  # a batch's first turn has P = I
                moved += (step @ previous).norm().item() / (before.norm() * previous.norm()).item()
            previous = r
    return moved


@pytest.mark.parametrize("seed", range(3))
def test_projection_acts(seed):
    off, gradient = (interference(p, sgd, seed) for p in ("off", "gradient"))
    assert off > 0.05
    assert gradient < 0.02 * off


@pytest.mark.parametrize("seed", range(3))
def test_step_projects_what_the_optimizer_does(seed):
    def adamw(method):
        return torch.optim.AdamW(method.parameters(), 0.05, weight_decay=0.1)

    off, gradient, step = (interference(p, adamw, seed) for p in ("off", "gradient", "step"))
    assert step < 0.02 * off
    assert step < 0.1 * gradient  # AdamW's own step is no longer off the seen features


def test_step_is_the_optimizers_change_times_p():
    method = MLA(model_of(), project="step", reset="never")
    optimizer = torch.optim.AdamW(method.parameters(), 0.05, weight_decay=0.5)
    train(method, [batch_of(0)], optimizer)
    batch, p = batch_of(1), method.projector.P.clone()
    turn = next(iter(method.turns(batch)))
    optimizer.zero_grad()
    method.loss(turn, batch).backward()
    method.modify_gradients(turn, batch)
    before = method.weight.detach().clone()
    optimizer.step()
    after, bias = method.weight.detach().clone(), method.model.head.linear.bias.detach().clone()
    method.after_step(turn, batch)
    torch.testing.assert_close(method.weight, before + (after - before) @ p)
    assert (method.weight - after).norm() > 0.1 * (after - before).norm()
    assert torch.equal(method.model.head.linear.bias, bias)


def test_off_has_no_projection():
    method = MLA(model_of(), project="off")
    train(method, [batch_of(i) for i in range(3)], sgd(method))
    assert torch.equal(method.projector.P, torch.eye(DIM))


def test_the_projector_sees_the_means_of_the_turns_before():
    method = MLA(model_of(), alpha=0.2)
    want, optimizer = np.eye(DIM), sgd(method)
    for turn in take(method, batch_of(0), optimizer):
        r = turn.features[turn.name].detach().double().mean(0).numpy()
        want = np.linalg.inv(np.linalg.inv(want) + np.outer(r, r) / 0.2)
        np.testing.assert_allclose(method.projector.P.numpy(), want, atol=1e-5)


@pytest.mark.parametrize(("reset", "expected"), [("never", []), ("epoch", [0, 3]), ("batch", range(6))])
def test_reset(reset, expected):
    method = MLA(model_of(), reset=reset)
    fresh = []
    method.clock.batches = 3
    for i in range(6):
        method.clock.epoch, method.clock.batch = divmod(i, 3)
        with torch.no_grad():
            method.projector.update(torch.ones(1, DIM))
        method.turns(batch_of(i))
        if torch.equal(method.projector.P, torch.eye(DIM)):
            fresh.append(i)
    assert fresh == list(expected)


def test_alpha_schedule():
    method, fixed, seen = MLA(model_of(), alpha="schedule"), MLA(model_of(), alpha=0.7), []
    for method.clock.batch in range(4):
        method.clock.batches = 4
        method.turns(batch_of(0))
        fixed.turns(batch_of(0))
        seen.append(method.projector.alpha)
    assert seen == pytest.approx([10**-1, 10**-1.25, 10**-1.5, 10**-1.75])
    assert fixed.projector.alpha == 0.7


def order_of(method, seed=0):
    return [t.name for t in method.turns(batch_of(seed, keep=1.0))]


def test_order_given():
    method = MLA(model_of(("words", "sound", "picture")), order="given")
    for method.clock.batch in range(3):
        assert order_of(method) == ["words", "sound", "picture"]


def test_order_alternating():
    method, seen = MLA(model_of()), []
    for method.clock.batch in range(4):
        seen.append(order_of(method))
    assert seen == [list(SIZES), list(SIZES)[::-1]] * 2


def test_order_random():
    method = MLA(model_of(), order="random")
    torch.manual_seed(0)
    seen = [tuple(order_of(method)) for _ in range(300)]
    assert len(Counter(seen)) == 6
    assert min(Counter(seen).values()) > 25
    torch.manual_seed(0)
    assert [tuple(order_of(method)) for _ in range(300)] == seen


def test_order_weakest_first():
    method = MLA(model_of(), order="weakest")
    assert order_of(method) == list(SIZES)
    method.running_loss.copy_(torch.tensor([0.3, 2.0, 0.7]))
    assert order_of(method) == ["picture", "words", "sound"]
    method.running_loss[2] = torch.inf  # never had a turn
    assert order_of(method) == ["words", "picture", "sound"]


def test_running_loss():
    method = MLA(model_of(), order="weakest")
    batch = batch_of(0, keep=1.0)
    first, second = Turn(("picture",)), Turn(("picture",))
    a = method.loss(first, batch).item()
    assert method.running_loss.tolist() == pytest.approx([float("inf"), a, float("inf")])
    with torch.no_grad():
        method.model.head.linear.weight.mul_(10)
    b = method.loss(second, batch).item()
    assert method.running_loss[1].item() == pytest.approx(0.9 * a + 0.1 * b)
    assert not method.running_loss.requires_grad


@pytest.mark.parametrize("order", ["given", "alternating", "random", "weakest"])
def test_only_modalities_of_the_batch_take_turns(order):
    method = MLA(model_of(), order=order)
    for turns, batch in zip(train(method, b := [batch_of(i) for i in range(6)], sgd(method)), b, strict=True):
        assert sorted(t.name for t in turns) == sorted(batch.inputs)
    empty = Batch({}, {}, torch.zeros(2, dtype=torch.long), torch.arange(2))
    assert [*method.turns(empty)] == []


def test_loss_is_cross_entropy_on_the_rows_present():
    method = MLA(model_of())
    batch = batch_of(3)
    turn = Turn(("sound",))
    loss = method.loss(turn, batch)
    z = method.model.classify("sound", method.model.encode("sound", batch.inputs["sound"]))
    torch.testing.assert_close(loss, cross_entropy(z, batch.labels[batch.rows["sound"]]))
    assert len(z) < len(batch)


def test_logged_metrics():
    method = MLA(model_of(), alpha=0.01)
    optimizer, batch = sgd(method), batch_of(0)
    (quiet,) = train(method, [batch], optimizer)
    assert all(not t.log for t in quiet)
    turns = take(method, batch, optimizer, log=True)
    previous = next(turns)
    assert "interference" not in previous.log  # no turn of this batch was before it
    assert previous.log["head_gradient_projected"] == previous.log["head_gradient"]
    head = copy.deepcopy(method.model.head)
    turn = next(turns)
    h, y = previous.features[previous.name].detach(), batch.labels_of(previous.name)
    before, after = cross_entropy(head.linear(h), y), cross_entropy(method.model.head.linear(h), y)
    torch.testing.assert_close(turn.log["interference"], after - before)
    assert 0 < turn.log["head_gradient_projected"] < turn.log["head_gradient"]


def test_state_is_saved_and_continues_exactly():
    batches = [batch_of(i) for i in range(6)]
    one = MLA(model_of(), order="weakest", reset="never")
    train(one, batches[:3], sgd(one))
    other = MLA(model_of(seed=9), order="weakest", reset="never")
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for method in (one, other):
        method.after_epoch()
        train(method, batches[3:], sgd(method))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert not torch.equal(one.projector.P, torch.eye(DIM))
    assert one.running_loss.isfinite().all()


def test_half_precision_keeps_the_projector():
    method = MLA(model_of()).bfloat16()
    assert method.projector.P.dtype == torch.float32
    batch = batch_of(0)
    batch = Batch({m: x.bfloat16() for m, x in batch.inputs.items()}, batch.rows, batch.labels, batch.indices)
    train(method, [batch], sgd(method))
    assert method.weight.dtype == torch.bfloat16
    assert method.projector.P.isfinite().all()
    assert not torch.equal(method.projector.P, torch.eye(DIM))


def test_any_number_of_modalities_of_any_size():
    torch.manual_seed(0)
    names = ["a.b", "keys", "training", "x y", "e"]
    model = MultimodalClassifier({n: nn.Linear(3, 2 + i) for i, n in enumerate(names)}, 2)
    method = MLA(model)
    rows = {n: torch.arange(4) for n in names}
    batch = Batch({n: torch.randn(4, 3) for n in names}, rows, torch.arange(4) % 2, torch.arange(4))
    (turns,) = train(method, [batch], sgd(method))
    assert [t.name for t in turns] == names
    assert method.projector.P.shape == (6, 6)


def test_a_method_needs_only_a_model():
    method = Method(model_of())
    (turns,) = train(method, [batch_of(0)], sgd(method))
    assert [t.name for t in turns] == [m for m in SIZES if m in batch_of(0).inputs]
    method.after_epoch()
    assert Method.select(["a", "b"]) == ("a", "b")


@pytest.mark.parametrize("reset", ["never", "epoch", "batch"])
def test_a_checkpoint_changes_nothing(reset):
    """Saving carries out what the projector put off: between any two batches, to the same bits."""
    methods = [MLA(model_of(), reset=reset) for _ in range(2)]
    optimizers = [sgd(method) for method in methods]
    for method in methods:
        method.clock.batches = 6
    for number in range(6):
        batch = batch_of(number, modalities=[[*SIZES][number % 3]])  # of one turn each
        for method, optimizer in zip(methods, optimizers, strict=True):
            method.clock.batch = number
            [*take(method, batch, optimizer)]
        methods[0].state_dict()
    states = [method.state_dict() for method in methods]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
