"""ReconBoost against float64; its stages; that each of its three terms acts."""

import copy

import pytest
import torch
from methods.driver import CLASSES, SIZES, batch_of, converged, gradients, method_of, sgd, step
from references import reconboost as reference
from references.linear import arrays, assert_close, parameters
from references.linear import gradients as numeric
from torch.nn.functional import cross_entropy, mse_loss

from altuna.methods.reconboost import reconcilement

NAMES = list(SIZES)


def at(epoch, modalities=NAMES[:2], seed=0, epochs=1000, **options):
    """A method in an epoch of a long run."""
    method = method_of("reconboost", modalities, seed, **options)
    method.clock.epochs, method.clock.epoch = epochs, epoch
    return method


def compare(method, batch, loss):
    p = parameters(method)
    (turn,) = step(method, batch, sgd(method, 0.0))
    assert turn.log["loss"].item() == pytest.approx(loss(p, copy.deepcopy(p)), rel=1e-5)
    frozen = copy.deepcopy(p)
    assert_close(gradients(method, batch), numeric(lambda p: loss(p, frozen), p))


# Epoch, modality, members, learner of the stage before; stages of 4 + 4 epochs.
STAGES = {
    2: [(0, 0, [0], 1), (8, 1, [0, 1], 0), (19, 0, [0, 1], 1)],
    3: [(0, 0, [0], 2), (8, 1, [0, 1], 0), (16, 2, [0, 1, 2], 1), (24, 0, [0, 1, 2], 2)],
}


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize(("number", "case"), [(n, c) for n, cases in STAGES.items() for c in cases])
def test_boosting_agrees_with_reference(number, case, keep):
    epoch, modality, members, before = case
    names = NAMES[:number]
    method, batch = at(epoch, names, agreement=0.3, consolidation=0.8), batch_of(3, 10, names, keep)
    inputs, labels = arrays(batch, names)
    compare(
        method,
        batch,
        lambda p, kept: reference.boosting(p, kept, inputs, labels, modality, members, before, 0.3, 0.8),
    )


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize(("number", "epoch", "members"), [(2, 4, [0]), (2, 12, [0, 1]), (3, 31, [0, 1, 2])])
def test_rectification_agrees_with_reference(number, epoch, members, keep):
    names = NAMES[:number]
    method, batch = at(epoch, names), batch_of(5, 10, names, keep)
    inputs, labels = arrays(batch, names)
    compare(method, batch, lambda p, _: reference.rectification(p, inputs, labels, members))


def names_of(method, epochs):
    seen, method.clock.epochs = [], epochs
    for method.clock.epoch in range(epochs):
        seen += [
            "+".join(t.modalities) + "!" * bool(t.kind) for t in method.turns(batch_of(0, modalities=NAMES))
        ]
    return seen


def test_stages():
    one = ["sound"] * 4 + ["sound!"] * 4 + ["picture"] * 4 + ["sound+picture!"] * 4
    both = "sound+picture+words!"
    two = ["words"] * 4 + [both] * 4 + ["sound"] * 4 + [both] * 4 + ["picture"] * 4
    assert names_of(method_of("reconboost", NAMES), 100)[:36] == one + two
    short = ["sound", "sound!", "picture", "sound+picture!", "words", both, "sound", both, "picture", both]
    assert names_of(method_of("reconboost", NAMES), 12)[:10] == short
    assert names_of(method_of("reconboost", NAMES, rectify_epochs=0, stage_epochs=1), 6) == NAMES * 2


def test_a_budget_that_turns_out_larger_leaves_the_stages_as_they_are():
    method = at(0, epochs=16)
    assert [*method.turns(batch_of(0))]
    method.clock.epochs, method.clock.epoch = 100, 2
    assert [t.kind for t in method.turns(batch_of(0))] == ["rectify"]


def test_no_turn_without_the_stage_s_modality():
    assert [*at(8).turns(batch_of(0, modalities=["sound"]))] == []
    assert [t.modalities for t in at(12).turns(batch_of(0, modalities=["sound"]))] == [("sound",)]


def test_a_boosting_turn_trains_one_learner():
    found = gradients(at(8, NAMES), batch_of(0, modalities=NAMES))
    assert {n.rsplit(".", 1)[0] for n in found} == {"model.encoders.1", "model.head.linears.1"}


@pytest.mark.parametrize("agreement", [0.0, 0.2, 1.0])
def test_what_the_others_know_counts_less(agreement):
    g = torch.Generator().manual_seed(0)
    z, others = (torch.randn(6, CLASSES, generator=g, dtype=torch.double) for _ in range(2))
    labels = torch.randint(CLASSES, (6,), generator=g)
    z.requires_grad_()
    (cross_entropy(z, labels) - agreement * reconcilement(z, others, labels)).backward()
    y = torch.eye(CLASSES, dtype=torch.double)[labels]
    left = 1 - agreement * (others.softmax(1) * y).sum(1, keepdim=True)
    torch.testing.assert_close(z.grad, left * (z.detach().softmax(1) - y) / 6)


def test_the_loss_has_a_lower_bound():
    """However far a learner goes, it is not paid for contradicting the others."""
    labels, others = torch.tensor([0]), torch.zeros(1, 3)
    for far in (10.0, 100.0, 1000.0):
        z = torch.tensor([[far, -far, -far]])
        loss = cross_entropy(z, labels) - 0.2 * reconcilement(z, others, labels)
        assert loss.item() == pytest.approx(0.2 / 3 * torch.tensor(3.0).log().item())


def trained(steps=60, **options):
    """A second learner's method and last turn, after training beside a first that mistakes class 0 for 1."""
    method, batch = at(8, **options), batch_of(0, 64)
    method.model.head.linears[0].weight.data.zero_()
    method.model.head.linears[0].bias.data.copy_(torch.tensor([0.0, 4.0, 0.0]))
    optimizer = sgd(method, 0.1)
    for _ in range(steps):
        (turn,) = step(method, batch, optimizer)
    first = method.model.classify("sound", method.model.encode("sound", batch.inputs["sound"]))
    return turn.logits["picture"].detach(), first.detach(), batch.labels


def test_a_learner_corrects_the_mistakes_of_the_others():
    off, on = (trained(agreement=a, consolidation=0.0) for a in (0.0, 0.6))
    wrong = off[2] != 1
    margin_off, margin_on = (
        (z.gather(1, y.unsqueeze(1)).squeeze(1) - z[:, 1])[wrong].mean() for z, _, y in (off, on)
    )
    assert margin_on > margin_off + 0.3
    losses = [cross_entropy(mine + first, y).item() for mine, first, y in (off, on)]
    assert losses[1] < losses[0]


def test_consolidation_keeps_to_the_learner_before():
    distances = []
    for weight in (0.0, 5.0):
        mine, first, _ = trained(agreement=0.0, consolidation=weight)
        distances.append(mse_loss(mine.softmax(1), first.softmax(1)).item())
    assert distances[1] < 0.7 * distances[0]


def test_rectification_trains_all_learners():
    found = gradients(at(12), batch_of(0))
    assert {n.split(".")[2] for n in found if "encoders" in n} == {"0", "1"}


@pytest.mark.parametrize(
    "options",
    [
        {"stage_epochs": 0},
        {"rectify_epochs": -1},
        {"agreement": 1.5},
        {"agreement": -0.1},
        {"consolidation": -1.0},
    ],
)
def test_refuses_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        method_of("reconboost", **options)


def test_learns_what_two_modalities_tell():
    assert converged("reconboost") > 0.95
