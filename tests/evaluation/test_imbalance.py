"""Imbalance metrics against their definitions."""

from itertools import permutations

import numpy as np
import pytest
import torch

from altuna import MultimodalClassifier
from altuna.core.outputs import Features, Outputs
from altuna.core.shapley import shapley
from altuna.evaluation.imbalance import conflicts, geometry, imbalance, shapley_accuracy, well_measured
from altuna.evaluation.metrics import evaluate
from altuna.methods.parts.scores import dominance, scores


def by_orders(value, players):
    """The Shapley value by its other definition: the mean gain over all orders of joining."""
    gains = {p: [] for p in players}
    for order in permutations(players):
        for i, p in enumerate(order):
            before, after = ({*order[:i]}, {*order[: i + 1]})
            ordered = [tuple(q for q in players if q in s) for s in (before, after)]
            gains[p].append(value(ordered[1]) - value(ordered[0]))
    return {p: torch.stack(g).mean(0) for p, g in gains.items()}


def test_shapley_is_the_mean_gain_over_orders():
    random = torch.Generator().manual_seed(0)
    players = ("a", "b", "c", "d")
    known = {}

    def value(subset):
        return known.setdefault(subset, torch.rand(3, dtype=torch.float64, generator=random))

    found = shapley(value, players)
    for p, expected in by_orders(value, players).items():
        torch.testing.assert_close(found[p], expected)
    torch.testing.assert_close(sum(found.values()), value(players) - value(()))


def test_scores_and_dominance():
    logits = {"a": torch.tensor([[0.0, 0.0], [2.0, 0.0]]), "b": torch.tensor([[1.0, 0.0]])}
    labels = {"a": torch.tensor([0, 0]), "b": torch.tensor([1])}
    found = scores(logits, labels)
    assert found["a"].item() == pytest.approx((0.5 + 1 / (1 + np.exp(-2))) / 2)
    assert found["b"].item() == pytest.approx(1 / (1 + np.exp(1)))
    ahead = dominance(found)
    assert ahead["a"].item() == pytest.approx((found["a"] / found["b"]).item())
    assert dominance({"a": torch.tensor(0.3)})["a"] == 1


@pytest.mark.parametrize("head", ["separate", "concat"])
def test_what_each_modality_is_worth(head):
    """One modality tells the class, one is noise, and some samples lack either."""
    torch.manual_seed(0)
    model = MultimodalClassifier({"tells": torch.nn.Identity(), "noise": torch.nn.Identity()}, 3, head=head,
                                 feature_sizes={"tells": 3, "noise": 3})  # fmt: skip
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
        weight = model.head.linears[0].weight if head == "separate" else model.head.linear.weight
        weight[:, :3] = 5 * torch.eye(3)
    labels = torch.randint(3, (300,))
    rows = {"tells": torch.arange(0, 240), "noise": torch.arange(60, 300)}
    features = {"tells": torch.eye(3)[labels[:240]], "noise": torch.randn(240, 3)}
    found = shapley_accuracy(model.eval(), Features(features, rows, labels))
    guess = labels.bincount().max().item() / 300
    whole = model(features, rows, 300).logits.argmax(1)
    accuracy = (whole == labels).double().mean().item()
    assert sum(found.values()) == pytest.approx(accuracy - guess)
    assert found["tells"] > 0.4
    assert abs(found["noise"]) < 0.1


def test_gain_is_over_the_samples_that_a_modality_has():
    """b is always right where it is, a in half of its samples; of c there are too few to tell."""
    model = MultimodalClassifier({m: torch.nn.Linear(1, 1) for m in "abc"}, 2, fusion="mean").eval()
    labels, present = torch.zeros(100, dtype=torch.long), torch.zeros(3, 100, dtype=torch.bool)
    present[0], present[1, 60:], present[2, :3] = True, True, True
    logits = torch.zeros(3, 100, 2)
    logits[0, :50, 0], logits[0, 50:, 1] = 1.0, 1.0
    logits[1, 60:, 0] = 3.0
    logits[2, :3, 1] = 9.0
    outputs = Outputs(logits, present, None)
    metrics = evaluate(model, outputs, labels)
    assert well_measured(metrics["modalities"]) == ["a", "b"]
    right = model.fuse(outputs).logits.argmax(1) == labels
    found = imbalance(metrics, [], right, present)
    assert metrics["fused"]["accuracy"] == pytest.approx(0.87)
    assert found["gap"] == pytest.approx(0.5)  # 100 % of 40 and 50 % of 100
    assert found["fusion_gain"] == pytest.approx(0.0)  # where b is, both are right; not 87 - 100
    few = {"x": {"n": 3}, "y": {"n": 0}}
    assert well_measured(few) == ["x"]


def test_geometry_by_its_definitions():
    random = np.random.default_rng(0)
    a, b, c = random.normal(size=(6, 4)), random.normal(size=(5, 4)), random.normal(size=(3, 2))
    rows = {"a": [0, 1, 2, 3, 4, 5], "b": [1, 2, 4, 6, 7], "c": [0, 1, 2]}
    found = geometry(
        Features(
            {m: torch.from_numpy(x) for m, x in {"a": a, "b": b, "c": c}.items()},
            {m: torch.tensor(r) for m, r in rows.items()},
            torch.zeros(8, dtype=torch.long),
        )
    )
    a, b, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b, c))
    assert found["modality_gap"] == {"a+b": pytest.approx(np.linalg.norm(a.mean(0) - b.mean(0)))}
    pairs = [(1, 0), (2, 1), (4, 2)]
    expected = np.mean([((a[i] - b[j]) ** 2).sum() for i, j in pairs])
    assert found["alignment"] == {"a+b": pytest.approx(expected)}
    values = [np.exp(-2 * ((a[i] - a[j]) ** 2).sum()) for i in range(6) for j in range(i)]
    assert found["uniformity"]["a"] == pytest.approx(np.log(np.mean(values)))
    assert {*found["uniformity"]} == {"a", "b", "c"}


def test_conflict_is_a_negative_product_over_what_both_have():
    p, q, r = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    one = {p: torch.tensor([1.0, 0.0]), q: torch.tensor([1.0, 1.0])}
    against = {p: torch.tensor([-1.0, 9.0]), r: torch.tensor([5.0, 5.0])}
    along = {p: torch.tensor([-1.0, 0.0]), q: torch.tensor([1.0, 1.0])}
    apart = {r: torch.tensor([1.0, 1.0])}
    assert conflicts([(one, against)]) == 1
    assert conflicts([(one, along)]) == 0
    assert conflicts([(one, against), (one, along), (one, apart)]) == 0.5
    assert conflicts([(one, apart), ({}, one)]) is None
