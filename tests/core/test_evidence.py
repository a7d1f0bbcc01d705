"""Evidence fusion: against float64, and what it promises; its weights against a general solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import fusion as reference
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn

from altuna import MultimodalClassifier, fuse
from altuna.core.calibration import calibrate, fit_temperature
from altuna.core.evidence import STRENGTHS, choose_weights, fit_weights
from altuna.core.outputs import Outputs


def draw(seed, modalities=3, samples=6, classes=4, keep=0.6, scale=2.0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(modalities, samples, classes, generator=g) * scale
    present = torch.rand(modalities, samples, generator=g) < keep
    present[torch.randint(modalities, (samples,), generator=g), torch.arange(samples)] = True
    temperatures, prior = (torch.rand(n, generator=g) * 3 + 0.1 for n in (modalities, classes))
    return logits, present, temperatures, prior / prior.sum(), torch.rand(modalities, generator=g)


def fused(logits, present, temperatures, prior, counted):
    return fuse(logits, present, "evidence", temperatures, prior=prior, evidence_weights=counted)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    modalities=st.integers(1, 5),
    classes=st.integers(2, 40),
    keep=st.sampled_from([0.0, 0.5, 1.0]),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_agrees_with_the_reference(seed, modalities, classes, keep, scale):
    given = draw(seed, modalities, 4, classes, keep, scale)
    got = fused(*given)
    probabilities, weights = reference.evidence(*(t.double().numpy() for t in given))
    np.testing.assert_allclose(got.probabilities.numpy(), probabilities, atol=1e-5)
    np.testing.assert_allclose(got.weights.numpy(), weights, atol=1e-5)
    torch.testing.assert_close(got.weights.sum(0), torch.ones(4))


def test_an_expert_that_only_knows_the_prior_changes_nothing_and_weighs_nothing():
    logits, _, temperatures, prior, counted = draw(0)
    ignorant = prior.log().expand(1, 6, 4) + 7
    one = torch.ones(1)
    want = fused(logits, None, temperatures, prior, counted)
    got = fused(
        torch.cat([ignorant, logits]), None, torch.cat([one, temperatures]), prior, torch.cat([one, counted])
    )
    torch.testing.assert_close(got.probabilities, want.probabilities, rtol=0, atol=1e-7)
    assert got.weights[0].max() < 1e-6


def test_an_absent_expert_is_as_if_it_did_not_exist():
    logits, _, temperatures, prior, counted = draw(1)
    present = torch.ones(3, 6, dtype=torch.bool)
    present[1] = False
    rest = [0, 2]
    got = fused(logits, present, temperatures, prior, counted)
    want = fused(logits[rest], None, temperatures[rest], prior, counted[rest])
    assert torch.equal(got.probabilities, want.probabilities)


def test_order_does_not_matter():
    logits, present, temperatures, prior, counted = draw(2)
    order = torch.tensor([2, 0, 1])
    a = fused(logits, present, temperatures, prior, counted)
    b = fused(logits[order], present[order], temperatures[order], prior, counted[order])
    torch.testing.assert_close(a.probabilities, b.probabilities)
    torch.testing.assert_close(a.weights[order], b.weights)


def test_with_a_uniform_prior_and_full_weights_it_is_the_product():
    logits, present, temperatures, *_ = draw(3)
    a = fuse(logits, present, "evidence", temperatures)
    b = fuse(logits, present, "calibrated_product", temperatures)
    torch.testing.assert_close(a.probabilities, b.probabilities)


def test_independent_experts_give_the_exact_posterior():
    """Naive Bayes on a table of probabilities, where the posterior is known."""
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    likelihood = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    known = (prior * likelihood).log()  # p(y | x_m) up to a constant
    posterior = prior * likelihood.prod(0)
    got = fuse(known, None, "evidence", torch.ones(2), prior=prior)
    torch.testing.assert_close(got.probabilities, posterior / posterior.sum(1, keepdim=True))


def test_many_junk_experts_change_little():
    """Ten overfitted experts that know nothing: calibration sends each to the prior, not to uniform."""
    g = torch.Generator().manual_seed(5)
    prior = torch.tensor([0.6, 0.3, 0.1])
    labels = torch.multinomial(prior, 3000, replacement=True, generator=g)
    good = 2 * nn.functional.one_hot(labels, 3) + torch.randn(3000, 3, generator=g) + prior.log()
    junk = 3 * torch.randn(10, 3000, 3, generator=g)
    logits = torch.cat([good.unsqueeze(0), junk])
    model = model_of(11, prior)
    val, test = (
        Outputs(logits[:, rows], torch.ones(11, 1500).bool(), None)
        for rows in (slice(1500), slice(1500, 3000))
    )
    calibrate(model, val, labels[:1500])
    right = model.fuse(test).logits.argmax(1) == labels[1500:]
    alone = logits[0, 1500:].argmax(1) == labels[1500:]
    assert right.float().mean() > alone.float().mean() - 0.01
    product = model.fuse(test, "calibrated_product").logits.argmax(1) == labels[1500:]
    assert product.float().mean() < right.float().mean() - 0.1  # the prior counts eleven times


def model_of(count, prior):
    model = MultimodalClassifier(
        {f"m{i}": nn.Linear(2, 2) for i in range(count)}, len(prior), head="separate"
    )
    model.set_prior(prior * 1e6)
    return model


def honest(seed, rows=1000, classes=4, experts=2, shared=0.0):
    """Evidence of experts that are right about themselves, and the labels."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=g)
    common = torch.randn(1, rows, classes, generator=g, dtype=torch.float64)
    own = torch.randn(experts, rows, classes, generator=g, dtype=torch.float64)
    noise = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
    signal = 1.5
    # The log-likelihood ratio of a Gaussian observation signal * one_hot + noise.
    logits = signal * (signal * nn.functional.one_hot(labels, classes) + noise)
    uniform = torch.full((classes,), -math.log(classes), dtype=torch.float64)
    return logits.log_softmax(-1) - uniform, labels, uniform


@pytest.mark.parametrize("strength", [10.0, 100.0])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_weights_agree_with_a_general_solver(strength, shared):
    evidence, labels, log_prior = honest(0, 300, experts=4, shared=shared)
    e, y = evidence.numpy(), labels.numpy()

    def loss(a):
        z = log_softmax(log_prior.numpy() + np.einsum("m,mnc->nc", a, e), axis=1)
        return strength / 2 * ((a - 1) ** 2).sum() - z[np.arange(len(y)), y].sum()

    want = minimize(
        loss, np.ones(4), bounds=[(0, 1)] * 4, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}
    )
    got = fit_weights(evidence, labels, log_prior, strength, torch.ones(4, dtype=torch.float64))
    assert loss(got.numpy()) <= want.fun + 1e-6
    np.testing.assert_allclose(got.numpy(), want.x, atol=1e-3)


def test_independent_experts_keep_their_full_weight():
    assert choose_weights(*honest(1)).min() > 0.9


@pytest.mark.parametrize("times", [2, 3])
def test_an_expert_given_several_times_counts_once(times):
    evidence, labels, log_prior = honest(2, experts=1)
    weights = choose_weights(evidence.expand(times, -1, -1), labels, log_prior)
    assert weights.sum() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(weights, weights[0].expand(times))


def test_experts_that_share_their_noise_are_discounted():
    assert choose_weights(*honest(3, experts=3, shared=0.9)).max() < 0.6


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_rows_leave_all_weights_at_one(rows):
    evidence, labels, log_prior = honest(4, rows)
    assert choose_weights(evidence, labels, log_prior).tolist() == [1, 1]


def test_groups_are_held_out_together():
    """Two groups that contradict each other support no discount; without them it would be fitted."""
    evidence, labels, log_prior = honest(5, 200, experts=1)
    twice = evidence.expand(2, -1, -1)
    assert choose_weights(twice, labels, log_prior).sum() < 1.2
    one_group = torch.zeros(200, dtype=torch.long)
    assert choose_weights(twice, labels, log_prior, one_group).tolist() == [1, 1]


def test_same_data_same_weights_and_the_last_strength_is_full_weight():
    assert torch.equal(choose_weights(*honest(6)), choose_weights(*honest(6)))
    assert math.isinf(STRENGTHS[-1])
    assert fit_weights(*honest(6), math.inf, torch.zeros(2)).tolist() == [1, 1]


def test_a_class_without_validation_rows_and_certain_experts_leave_finite_weights():
    evidence, labels, log_prior = honest(7, 100)
    labels = labels.clamp_max(2)  # nobody has the last class
    certain = evidence.clone()
    certain[0, :, 3] = -1e3
    weights = choose_weights(certain, labels, log_prior)
    assert weights.isfinite().all()
    assert ((weights >= 0) & (weights <= 1)).all()


def test_a_useless_modality_is_calibrated_to_the_prior():
    g = torch.Generator().manual_seed(8)
    prior = torch.tensor([0.8, 0.15, 0.05])
    labels = torch.multinomial(prior, 4000, replacement=True, generator=g)
    noise = torch.randn(4000, 3, generator=g)
    assert fit_temperature(noise, labels, 1, prior) > 50
    # Around uniform the temperature stays low: the frequent class is the better guess.
    assert fit_temperature(noise + prior.log(), labels, 1) < 5


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("prior", torch.tensor([0.5, 0.5, 0.0]), "prior must be positive"),
        ("prior", torch.ones(2), r"prior must be \[3\]"),
        ("evidence_weights", torch.tensor([-0.1, 1.0]), "evidence_weights must not be negative"),
        ("evidence_weights", torch.ones(3), r"evidence_weights must be \[2\]"),
        ("evidence_weights", torch.tensor([torch.nan, 1.0]), "evidence_weights must not be negative"),
    ],
)
def test_refuses_what_is_wrong(name, value, words):
    with pytest.raises(ValueError, match=words):
        fuse(torch.zeros(2, 4, 3), None, "evidence", torch.ones(2), **{name: value})


def test_every_class_needs_a_training_row():
    with pytest.raises(ValueError, match=r"classes \[1\] have none"):
        model_of(1, torch.ones(3)).set_prior(torch.tensor([3, 0, 2]))
