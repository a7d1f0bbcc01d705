"""Figures against a sample-by-sample reference, and whose rows they are over."""

from __future__ import annotations

import pytest
import torch
from references import metrics as reference
from torch import nn

from altuna import MultimodalClassifier
from altuna.core.fusion import RULES
from altuna.core.outputs import Outputs
from altuna.evaluation.metrics import ClassificationMetrics, classification_metrics, evaluate

UNIMODAL = [name for name, rule in RULES.items() if rule.joint == "unused"]


def draw(seed, rows=200, classes=5, scale=2.0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=g, dtype=torch.float64) * scale
    return logits, torch.randint(classes, (rows,), generator=g)


def agrees(probabilities, labels, got=None):
    got = got or classification_metrics(probabilities, labels)
    want = reference.classification_metrics(probabilities.tolist(), labels.tolist())
    assert got == {name: pytest.approx(value, abs=2e-6) for name, value in want.items()}


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_agrees_with_reference(rows, classes, scale):
    logits, labels = draw(rows, rows, classes, scale)
    agrees(logits.softmax(1), labels)


def test_agrees_when_predictions_are_good_and_unbalanced():
    logits, labels = draw(0)
    labels[:150] = 1
    logits[torch.arange(200), labels] += 3
    agrees(logits.softmax(1), labels)


def test_f1_is_over_classes_that_occur():
    probabilities = torch.eye(6)[[0, 0, 1, 2]] * 0.9 + 0.1 / 6
    got = classification_metrics(probabilities, torch.tensor([0, 1, 1, 1]))
    # Class 0: 2/3; class 1: 1/2; class 2, only predicted: 0; the others nowhere.
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert got["accuracy"] == 0.5


def test_certain_and_wrong_stays_finite():
    got = classification_metrics(torch.eye(3)[[0, 1]], torch.tensor([1, 1]))
    assert got["nll"] == pytest.approx(0.5 * 27.631, rel=1e-4)
    assert got["ece"] == pytest.approx(0.5)


def test_what_is_no_number_stays_none():
    probabilities = torch.tensor([[torch.nan, torch.nan], [0.2, 0.8]])
    got = classification_metrics(probabilities, torch.tensor([0, 1]))
    assert got["nll"] != got["nll"]
    assert got["ece"] != got["ece"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_predictions_share_the_last_bin(dtype):
    got = classification_metrics(torch.tensor([[1.0, 0.0], [0.95, 0.05]], dtype=dtype), torch.tensor([1, 0]))
    assert got["ece"] == pytest.approx(0.975 - 0.5)


def test_ece_is_zero_for_the_calibrated_and_large_for_the_boastful():
    g = torch.Generator().manual_seed(0)
    probabilities = torch.randn(50_000, 3, generator=g).softmax(1)
    labels = torch.multinomial(probabilities, 1, generator=g).flatten()
    assert classification_metrics(probabilities, labels)["ece"] < 0.01
    assert classification_metrics((probabilities.log() * 5).softmax(1), labels)["ece"] > 0.15


def case(fusion="calibrated_product", head="separate"):
    model = MultimodalClassifier({m: nn.Linear(2, 2) for m in "abc"}, 5, head=head, fusion=fusion)
    model.temperatures.copy_(torch.tensor([0.5, 2.0, 3.0]))
    model.confidence_temperatures.copy_(torch.tensor([1.0, 1.7, 0.6]))
    logits, labels = draw(1, 3 * 60)
    present = torch.zeros(3, 60, dtype=torch.bool)
    present[0], present[1, :25] = True, True
    joint = draw(2, 60)[0].float() if head == "concat" else None
    return model, Outputs(logits.view(3, 60, 5).float(), present, joint), labels[:60]


def test_evaluates_each_modality_on_its_rows_with_its_temperature():
    model, outputs, labels = case()
    got = evaluate(model, outputs, labels)
    assert got["n"] == 60
    assert got["modalities"]["c"] == {"accuracy": None, "macro_f1": None, "nll": None, "ece": None, "n": 0}
    for i, (name, n) in enumerate([("a", 60), ("b", 25)]):
        figures = dict(got["modalities"][name])
        assert figures.pop("n") == n
        z = outputs.logits[i, :n].double() / model.temperatures[i]
        agrees(z.softmax(1), labels[:n], figures)


@pytest.mark.parametrize("head", ["separate", "concat"])
def test_evaluates_the_fused_and_every_rule(head):
    model, outputs, labels = case(None, head)
    got = evaluate(model, outputs, labels)
    rules = got["fusion"]["rules"]
    assert set(rules) == {"evidence", *UNIMODAL, *(["joint"] if head == "concat" else [])}
    assert got["fusion"]["rule"] == model.fusion
    assert got["fused"] == rules[model.fusion]
    assert got["fusion"]["temperatures"] == {"a": 0.5, "b": 2.0, "c": 3.0}
    agrees(model.fuse(outputs).probabilities, labels, got["fused"])
    agrees(model.fuse(outputs, "entropy").probabilities, labels, rules["entropy"])
    assert rules["entropy"] != rules["calibrated_entropy"]


def test_blocks_and_what_stands_in_absent_cells_do_not_matter():
    logits, labels = draw(3, 3 * 500)
    logits, labels = logits.view(3, 500, 5), labels[:500]
    present = torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) < 0.6
    whole, parts = (ClassificationMetrics(5, 3) for _ in range(2))
    whole.update(logits.log_softmax(-1), labels, present)
    for rows in torch.arange(500).split(70):
        parts.update(logits[:, rows].log_softmax(-1), labels[rows], present[:, rows])
    assert parts.n == present.sum(1).tolist()
    for mine, theirs, i in zip(whole.compute(), parts.compute(), range(3), strict=True):
        assert mine == pytest.approx(theirs)
        agrees(logits[i, present[i]].softmax(1), labels[present[i]], mine)
    model, outputs, labels = case()
    broken = outputs._replace(logits=outputs.logits.masked_fill(~outputs.present.unsqueeze(-1), torch.nan))
    assert evaluate(model, broken, labels) == evaluate(model, outputs, labels)
