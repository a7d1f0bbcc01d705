"""Evidence fusion: against float64, and what it promises; its weights against a general solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import fusion as reference
from references import temperature
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn

from altuna import MultimodalClassifier, fuse
from altuna.core.calibration import calibrate, fit_confidence
from altuna.core.evidence import STRENGTHS, choose_weights, fit_weights
from altuna.core.fusion import RULES
from altuna.core.opinions import Opinions
from altuna.core.outputs import Outputs
from altuna.core.temperature import fit_temperature


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


@pytest.mark.slow
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


def one_odd_group(seed):
    """Evidence of two independent experts; in the first, larger one of ten groups both are wrong together."""
    evidence, labels, log_prior = honest(seed, 1000)
    groups = torch.cat([torch.zeros(400, dtype=torch.long), torch.arange(600) % 9 + 1])
    evidence[:, :200] = evidence[0, :200].roll(1, dims=-1)
    return evidence, labels, log_prior, groups


def test_groups_are_held_out_together():
    """What one group alone shows is noise between groups, but would be plain from its rows."""
    evidence, labels, log_prior, groups = one_odd_group(5)
    assert choose_weights(evidence, labels, log_prior).max() < 0.9
    assert choose_weights(evidence, labels, log_prior, groups).min() == 1


def test_fewer_groups_than_folds_are_as_none():
    evidence, labels, log_prior, _ = one_odd_group(5)
    want = choose_weights(evidence, labels, log_prior)
    assert torch.equal(choose_weights(evidence, labels, log_prior, torch.arange(1000) // 300), want)


@pytest.mark.parametrize("rows", [45_000, 50_001])
def test_many_rows_are_thinned(rows):
    evidence, labels, log_prior = honest(9, rows, classes=2, experts=1)
    assert choose_weights(evidence.expand(2, -1, -1), labels, log_prior).sum() == pytest.approx(1, abs=0.1)


def test_same_data_same_weights_and_the_last_strength_is_full_weight():
    assert torch.equal(choose_weights(*honest(6)), choose_weights(*honest(6)))
    assert math.isinf(STRENGTHS[-1])
    target = torch.tensor([1.0, 0.0])
    assert fit_weights(*honest(6), math.inf, target).tolist() == [1, 0]


def test_a_class_without_validation_rows_and_certain_experts_leave_finite_weights():
    evidence, labels, log_prior = honest(7, 100)
    labels = labels.clamp_max(2)  # nobody has the last class
    certain = evidence.clone()
    certain[0, :, 3] = -1e3
    weights = choose_weights(certain, labels, log_prior)
    assert weights.isfinite().all()
    assert ((weights >= 0) & (weights <= 1)).all()


def test_calibrate_sets_the_weights_and_the_joint_expert_has_one():
    """A modality given twice, and a joint expert that says the same once more."""
    evidence, labels, _ = honest(10, 1500, experts=1)
    outputs = Outputs(evidence.expand(2, -1, -1).float(), torch.ones(2, 1500).bool(), evidence[0].float())
    plain = model_of(2, torch.ones(4))
    calibrate(plain, outputs._replace(joint=None), labels)
    assert plain.evidence_weights.sum() == pytest.approx(1, abs=0.1)
    joint = MultimodalClassifier({m: nn.Linear(2, 2) for m in "ab"}, 4, expert={})
    calibrate(joint, outputs, labels)
    assert joint.evidence_weights.sum() + joint.joint_weight == pytest.approx(1, abs=0.1)
    want = fuse(
        outputs.logits,
        None,
        "evidence",
        joint.temperatures,
        evidence_weights=joint.evidence_weights,
        joint=outputs.joint,
        joint_temperature=joint.joint_temperature,
        joint_weight=joint.joint_weight,
    )
    temperature = joint.confidence_temperatures[joint.fusions.index("evidence"), 1]
    got = joint.fuse(outputs)
    torch.testing.assert_close(got.probabilities, (want.logits / temperature).softmax(1))
    full = fuse(outputs.logits, None, "evidence", joint.temperatures).probabilities
    assert (got.probabilities - full).abs().max() > 0.1


@pytest.mark.parametrize("adds", [True, False])
def test_a_joint_expert_counts_as_far_as_it_adds_something(adds):
    """A third independent expert against one that says what the two modalities say together."""
    evidence, labels, _ = honest(3, 1500, experts=3)
    said = evidence[2] if adds else evidence[:2].sum(0)
    outputs = Outputs(evidence[:2].float(), torch.ones(2, 1500).bool(), said.float())
    model = MultimodalClassifier({m: nn.Linear(2, 2) for m in "ab"}, 4, expert={})
    calibrate(model, outputs, labels)
    assert (model.joint_weight > 0.8) if adds else (model.joint_weight < 0.05)
    fit_confidence(model, outputs, labels)  # what an epoch is judged by
    assert (model.joint_weight > 0.6) if adds else (model.joint_weight < 0.2)


def test_calibrate_holds_out_the_groups_that_it_is_given():
    evidence, labels, _, groups = one_odd_group(5)
    models = [model_of(2, torch.ones(4)) for _ in range(2)]
    outputs = Outputs(evidence.float(), torch.ones(2, 1000).bool(), None)
    for model, known in zip(models, (None, groups), strict=True):
        calibrate(model, outputs, labels, groups=known)
    assert models[0].evidence_weights.max() < models[1].evidence_weights.min() == 1


def test_a_joint_expert_without_validation_rows_does_not_count():
    evidence, labels, _ = honest(11, 60)
    present = torch.ones(2, 60).bool()
    present[0, 10:] = False
    model = MultimodalClassifier({m: nn.Linear(2, 2) for m in "ab"}, 4, expert={})
    calibrate(model, Outputs(evidence.float(), present, evidence[0].float()), labels)
    assert model.joint_weight == 0


def test_modalities_and_the_fused_prediction_are_calibrated_around_the_prior():
    g = torch.Generator().manual_seed(12)
    prior = torch.tensor([0.7, 0.2, 0.1])
    labels = torch.multinomial(prior, 800, replacement=True, generator=g)
    logits = prior.log() + nn.functional.one_hot(labels, 3) + 2 * torch.randn(2, 800, 3, generator=g)
    model = model_of(2, prior)
    outputs = Outputs(logits, torch.ones(2, 800).bool(), None)
    calibrate(model, outputs, labels)
    for i in range(2):
        want = temperature.best_temperature(
            logits[i].numpy(), labels.numpy(), pseudo_count=1, prior=prior.numpy()
        )
        assert model.temperatures[i].item() == pytest.approx(want, rel=1e-3)
    fused = model.opinions(outputs).logits(RULES["evidence"])
    want = temperature.best_temperature(fused.numpy(), labels.numpy(), pseudo_count=1, prior=prior.numpy())
    assert model.confidence_temperatures[0, 1].item() == pytest.approx(want, rel=1e-3)
    beyond = (fused - prior.log()) / model.confidence_temperatures[0, 1]
    expected = (prior.log() + beyond).softmax(1)
    torch.testing.assert_close(model.fuse(outputs).probabilities.double(), expected, atol=1e-5, rtol=1e-5)


def test_a_joint_expert_agrees_with_the_reference():
    logits, present, temperatures, prior, counted = draw(13, samples=20)
    joint = torch.randn(20, 4, generator=torch.Generator().manual_seed(14)) * 3
    got = fuse(
        logits,
        present,
        "evidence",
        temperatures,
        prior=prior,
        evidence_weights=counted,
        joint=joint,
        joint_temperature=torch.tensor(2.5),
        joint_weight=torch.tensor(0.3),
    )
    want = reference.evidence(
        *(t.double().numpy() for t in (logits, present, temperatures, prior, counted, joint)), 2.5, 0.3
    )
    np.testing.assert_allclose(got.probabilities.numpy(), want[0], atol=1e-5)
    np.testing.assert_allclose(got.weights.numpy(), want[1], atol=1e-5)
    assert present.all(0).any()
    assert not present.all()


def test_a_class_ruled_out_by_an_expert_that_does_not_count_is_possible():
    logits = torch.tensor([[[-torch.inf, 0.0]], [[0.0, 1.0]]])
    got = fuse(logits, None, "evidence", torch.ones(2), evidence_weights=torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(got.probabilities, logits[1].softmax(-1))
    evidence = Opinions(logits).evidence()
    assert evidence.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 4.0])
def test_a_constant_expert_keeps_the_temperature_one(value):
    assert fit_temperature(torch.full((30, 3), value), torch.arange(30) % 3, 1) == 1
    assert fit_temperature(torch.zeros(30, 1), torch.zeros(30, dtype=torch.long), 1) == 1


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
