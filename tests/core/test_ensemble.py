"""An ensemble gives the mean logits of its members, by every head and for any presence of modalities."""

import pytest
import torch
from torch import nn

from altuna.core.ensemble import HeldOut, ensemble
from altuna.core.heads import HEADS
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features
from altuna.encoders import Encoder

UNIMODAL = [name for name, head in HEADS.items() if not head.is_joint]
EXPERTS = [(head, expert) for head in UNIMODAL for expert in ("shared features", "own encoder")]
INPUTS = {"a": torch.randn(5, 3), "b": torch.randn(4, 2)}
ROWS = {"a": torch.arange(5), "b": torch.tensor([0, 2, 5, 6])}


def members(head, expert=None, number=3, **options):
    def make():
        own = {"a": nn.Linear(3, 5)} if expert == "own encoder" else {}
        encoders = {"a": nn.Linear(3, 4), "b": nn.Linear(2, 6)}
        return MultimodalClassifier(encoders, 3, head=head, expert=own if expert else None, **options).eval()

    return [make() for _ in range(number)]


def assert_mean(models):
    with torch.no_grad():
        got, each = ensemble(models).outputs(INPUTS, ROWS, 7), [m.outputs(INPUTS, ROWS, 7) for m in models]
    torch.testing.assert_close(got.logits, torch.stack([one.logits for one in each]).mean(0))
    assert torch.equal(got.present, each[0].present)
    assert (got.joint is None) == (each[0].joint is None)
    if got.joint is not None:
        torch.testing.assert_close(got.joint, torch.stack([one.joint for one in each]).mean(0))


@pytest.mark.parametrize(("head", "expert"), [*((head, None) for head in HEADS), *EXPERTS])
def test_logits_are_the_means_of_the_members(head, expert):
    assert_mean(members(head, expert))


def test_each_member_imputes_its_own_means():
    models = members("concat", impute="mean")
    for number, model in enumerate(models):
        model.mean0 += number
        model.mean1 -= number
    assert_mean(models)


def test_one_member_is_itself():
    (model,) = members("shared", number=1)
    assert ensemble([model]) is model


def test_the_prior_is_the_mean_of_the_members():
    models = members("shared", number=2)
    models[0].set_prior(torch.tensor([1, 1, 2]))
    models[1].set_prior(torch.tensor([2, 1, 1]))
    assert ensemble(models).prior.tolist() == [0.375, 0.25, 0.375]


class Backbone(nn.Linear):
    frozen = True

    def forward(self, cells):
        return super().forward(cells.float())


def test_a_frozen_network_is_kept_and_computed_once():
    shared, calls = Backbone(3, 4), []
    shared.register_forward_hook(lambda *_: calls.append(1))
    encoders = [Encoder(nn.Identity(), shared, tail=nn.Linear(4, 2)) for _ in range(3)]
    models = [MultimodalClassifier({"a": encoder}, 2).eval() for encoder in encoders]
    cells = torch.randint(9, (5, 3))  # cells of frozen networks are whole numbers
    want = torch.stack([m.classify("a", m.encode("a", shared(cells))) for m in models]).mean(0)
    model = ensemble(models)
    calls.clear()
    torch.testing.assert_close(model.classify("a", model.encode("a", cells)), want)
    assert len(calls) == 1
    assert sum(name.endswith("network.weight") for name in model.state_dict()) == 1


def test_held_out_samples_are_judged_by_their_own_member():
    models = members("separate", number=2)
    rows = torch.arange(3)
    parts = [
        (m, Features({"a": torch.randn(3, 4), "b": torch.randn(2, 6)}, {"a": rows, "b": rows[:2]}, rows))
        for m in models
    ]
    with torch.no_grad():
        outputs, labels = HeldOut(parts).outputs()
        want = [m.classify("a", f.of["a"]) for m, f in parts]
        torch.testing.assert_close(outputs.logits[0], torch.cat(want))
        assert labels.tolist() == [0, 1, 2, 0, 1, 2]
        only_b = torch.zeros(2, 6, dtype=torch.bool)
        only_b[1] = True
        some, left = HeldOut(parts).outputs(only_b)
        assert left.tolist() == [0, 1, 0, 1]
        torch.testing.assert_close(some.logits[1], torch.cat([m.classify("b", f.of["b"]) for m, f in parts]))


def test_a_member_whose_samples_lack_what_is_left_is_passed_over():
    models = members("concat", number=2)
    rows = torch.arange(3)
    parts = [
        (models[0], Features({"a": torch.randn(3, 4), "b": torch.randn(3, 6)}, {"a": rows, "b": rows}, rows)),
        (models[1], Features({"b": torch.randn(3, 6)}, {"b": rows}, rows)),
    ]
    only_a = torch.tensor([[True] * 6, [False] * 6])
    outputs, labels = HeldOut(parts).outputs(only_a)
    assert labels.tolist() == [0, 1, 2]
    assert outputs.joint.shape == (3, 3)
