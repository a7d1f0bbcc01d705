"""Temperature and class bias: against a general optimiser, and when a bias is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import temperature as reference
from torch import nn
from torch.nn.functional import cross_entropy

from altuna import MultimodalClassifier, fuse
from altuna.core import temperature as module
from altuna.core.calibration import calibrate
from altuna.core.outputs import Outputs
from altuna.core.temperature import MAX_CLASSES, fit_temperature, fit_temperature_and_bias

PRIOR = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)


def fresh(seed=0, rows=600, scale=0.05):
    """Logits of a head that was hardly trained: right about the rows, but near 0 for every class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(PRIOR.float(), rows, replacement=True, generator=g)
    honest = 2 * nn.functional.one_hot(labels, 4) + torch.randn(rows, 4, generator=g)
    return honest * scale, labels


def calibrated(logits, temperature, bias, prior=PRIOR):
    return prior.log() + (logits.double().log_softmax(1) - prior.log()) / temperature + bias


@pytest.mark.parametrize("strength", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("scale", [0.03, 1.0, 30.0])
def test_agrees_with_a_general_optimiser(monkeypatch, strength, scale):
    logits, labels = fresh(1, 200, scale)
    monkeypatch.setattr(module, "STRENGTHS", (strength,))
    temperature, bias = fit_temperature_and_bias(logits, labels, PRIOR)
    seen = np.bincount(labels, minlength=4) + PRIOR.numpy()
    want = reference.best_scale_and_bias(logits, labels, PRIOR.numpy(), seen / seen.sum(), strength)
    np.testing.assert_allclose([1 / temperature, *bias], want, rtol=1e-3, atol=1e-3)


def test_a_head_that_was_hardly_trained_is_calibrated():
    logits, labels = fresh()
    plain = calibrated(logits, fit_temperature(logits, labels, 1, PRIOR), 0)
    found = calibrated(logits, *fit_temperature_and_bias(logits, labels, PRIOR))
    raw = (logits.argmax(1) == labels).float().mean()
    assert (plain.argmax(1) == labels).float().mean() < raw - 0.2  # the reason for a bias
    assert (found.argmax(1) == labels).float().mean() > raw
    others, theirs = fresh(1)
    fitted = fit_temperature_and_bias(logits, labels, PRIOR)
    assert cross_entropy(calibrated(others, *fitted), theirs) < cross_entropy(plain, labels) - 0.3


def test_no_bias_where_a_temperature_is_enough():
    logits, labels = fresh(scale=3.0)
    honest = logits + PRIOR.log()
    temperature, bias = fit_temperature_and_bias(honest, labels, PRIOR)
    assert not bias.any()
    assert temperature == fit_temperature(honest, labels, 1, PRIOR)


def test_classes_that_validation_has_more_often_are_no_bias():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(800) % 4  # equally many, unlike in training
    noise = PRIOR.log() + 1e-3 * torch.randn(800, 4, generator=g)
    assert not fit_temperature_and_bias(noise, labels, PRIOR)[1].any()
    only_prior = PRIOR.log().expand(800, 4)
    assert not fit_temperature_and_bias(only_prior, labels, PRIOR)[1].any()


@pytest.mark.parametrize(("number", "biased"), [(1, True), (2, False), (4, False), (5, True)])
def test_a_few_groups_do_not_tell(number, biased):
    logits, labels = fresh()
    groups = torch.arange(len(labels)) % number
    assert bool(fit_temperature_and_bias(logits, labels, PRIOR, groups)[1].any()) == biased


def test_order_does_not_matter_and_gradients_are_no_trouble():
    logits, labels = fresh()
    groups = torch.arange(len(labels)) // 10
    want = fit_temperature_and_bias(logits, labels, PRIOR, groups)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    got = fit_temperature_and_bias(logits[order].requires_grad_(), labels[order], PRIOR, groups[order])
    assert got[0] == pytest.approx(want[0], rel=1e-4)
    torch.testing.assert_close(got[1], want[1], rtol=1e-4, atol=1e-4)


def test_no_bias_without_rows_or_with_very_many_classes():
    nothing = torch.zeros(0, dtype=torch.long)
    assert fit_temperature_and_bias(torch.zeros(0, 4), nothing, PRIOR)[0] == 1
    many = MAX_CLASSES + 1
    uniform = torch.full((many,), 1 / many)
    assert not fit_temperature_and_bias(torch.randn(300, many), torch.arange(300) % many, uniform)[1].any()
    assert fit_temperature_and_bias(torch.zeros(30, 1), torch.zeros(30).long(), torch.ones(1))[0] == 1


def test_biases_of_a_model_also_of_its_joint_expert():
    encoders = {name: nn.Linear(2, 4) for name in "ab"}
    model = MultimodalClassifier(encoders, 4, expert={})
    model.prior.copy_(PRIOR)
    logits, labels = fresh()
    other = 3 * nn.functional.one_hot(labels, 4) + PRIOR.log().float()
    outputs = Outputs(torch.stack([logits, other]), torch.ones(2, 600, dtype=torch.bool), logits)
    calibrate(model, outputs, labels)
    assert model.class_biases[0].any()
    assert not model.class_biases[1].any()
    torch.testing.assert_close(model.class_biases[2], model.class_biases[0])
    want = calibrated(logits, model.temperatures[0].double(), model.class_biases[0], model.prior.double())
    got = model.opinions(outputs).log_probabilities[0]
    torch.testing.assert_close(got, want.log_softmax(1), rtol=1e-6, atol=1e-6)
    calibrate(model, Outputs(outputs.logits[:, :10], outputs.present[:, :10], logits[:10]), labels[:10])
    assert not model.class_biases.any()  # too few rows


@pytest.mark.parametrize("rule", ["evidence", "calibrated_product", "calibrated_mean"])
def test_a_bias_is_added_to_calibrated_logits(rule):
    g = torch.Generator().manual_seed(3)
    logits, biases = torch.randn(2, 5, 4, generator=g), torch.randn(3, 4, generator=g)
    joint, t, prior = torch.randn(5, 4, generator=g), torch.tensor([0.5, 2.0]), PRIOR.float()
    options = {"prior": prior, "joint": joint}
    got = fuse(logits, None, rule, t, joint_temperature=torch.tensor(3.0), biases=biases, **options)
    moved = torch.stack([calibrated(z, *some, prior) for z, *some in zip(logits, t, biases, strict=False)])
    options["joint"] = calibrated(joint, 3.0, biases[2], prior)
    want = fuse(moved, None, rule, torch.ones(2), joint_temperature=torch.tensor(1.0), **options)
    torch.testing.assert_close(got.probabilities, want.probabilities.float())
    torch.testing.assert_close(got.weights, want.weights.float())
    silent = fuse(logits, None, rule, t, joint_temperature=torch.tensor(3.0), biases=0 * biases, **options)
    assert (silent.probabilities - got.probabilities).abs().max() > 0.01  # it acts


def test_biases_of_a_wrong_shape():
    with pytest.raises(ValueError, match=r"biases must be \[2, 4\], got \[4, 4\]"):
        fuse(torch.zeros(2, 5, 4), None, "evidence", torch.ones(2), biases=torch.zeros(4, 4))
