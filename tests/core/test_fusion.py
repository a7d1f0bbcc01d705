"""Fusion against a float64 reference, and the properties it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import fusion as reference

from altuna import fuse
from altuna.core import fusion
from altuna.core.opinions import Calibration, Opinions
from altuna.core.softmax import max_and_argmax

RULES = ("entropy", "product", "mean", "fixed")
WITH_TEMPERATURES = (*RULES, "evidence")
GARBAGE = (float("nan"), float("inf"), -float("inf"), 3e38)


def draw(seed, modalities=3, samples=7, classes=5, scale=2.0, keep=0.6):
    """Random logits, presence (at least one a sample), temperatures and weights."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(modalities, samples, classes, generator=g) * scale
    present = torch.rand(modalities, samples, generator=g) < keep
    present[torch.randint(modalities, (samples,), generator=g), torch.arange(samples)] = True
    temperatures = torch.rand(modalities, generator=g) * 4 + 0.2
    weights = torch.rand(modalities, generator=g)
    return logits, present, temperatures, weights


def assert_near(got, want, tolerance=1e-5):
    """Within a share of the largest entry."""
    want = np.asarray(want)
    assert np.isfinite(np.asarray(got)).all()
    assert np.abs(np.asarray(got, np.float64) - want).max() <= tolerance * np.abs(want).max()


def agrees(logits, present, rule, temperatures, weights, tolerance=1e-5):
    got = fuse(logits, present, rule, temperatures, weights)
    plain = [v if v is None else v.double().numpy() for v in (logits, temperatures, weights)]
    want = reference.fuse(plain[0], present.numpy(), rule, plain[1], plain[2])
    for a, b in zip(got, want, strict=True):
        assert_near(a, b, tolerance)
    return got


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("modalities", "classes", "scale"),
    [(1, 2, 1.0), (2, 6, 30.0), (3, 101, 2.0), (4, 1000, 5.0), (6, 10, 1e4), (6, 1000, 1e4)],
)
def test_agrees_with_reference(rule, calibrated, modalities, classes, scale):
    logits, present, temperatures, weights = draw(classes, modalities, 3, classes, scale)
    agrees(logits, present, rule, temperatures if calibrated else None, weights)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    modalities=st.integers(1, 6),
    samples=st.integers(1, 6),
    classes=st.integers(2, 40),
    scale=st.sampled_from([0.1, 1.0, 30.0, 1e4]),
    keep=st.sampled_from([0.0, 0.5, 1.0]),
    rule=st.sampled_from(RULES),
    calibrated=st.booleans(),
)
def test_agrees_with_reference_on_random_shapes(
    seed, modalities, samples, classes, scale, keep, rule, calibrated
):
    logits, present, temperatures, weights = draw(seed, modalities, samples, classes, scale, keep)
    got = agrees(logits, present, rule, temperatures if calibrated else None, weights)
    torch.testing.assert_close(got.weights.sum(0), torch.ones(samples))
    assert (got.weights >= 0).all()
    assert not got.weights[~present].any()


@pytest.mark.parametrize("rule", RULES)
def test_keeps_double_precision(rule):
    logits, present, temperatures, weights = draw(1, scale=30.0, keep=0.9)
    assert 3 in present.sum(0)
    got = agrees(logits.double(), present, rule, temperatures.double(), weights.double(), 1e-13)
    assert {t.dtype for t in got} == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rule", RULES)
def test_half_precision_input_gives_float32(rule, dtype):
    logits, present, temperatures, weights = draw(2)
    got = agrees(logits.to(dtype), present, rule, temperatures, weights)
    assert {t.dtype for t in got} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        under = fuse(logits.to(dtype), present, rule, temperatures, weights)
    for a, b in zip(got, under, strict=True):
        assert torch.equal(a, b)


def test_entropy_weights_by_hand():
    # Entropies log 2 and 0: w = 1 / (1 + exp(log 2)) and the rest.
    logits = torch.tensor([[[0.0, 0.0]], [[0.0, 1000.0]]])
    got = fuse(logits)
    torch.testing.assert_close(got.weights, torch.tensor([[1 / 3], [2 / 3]]))
    torch.testing.assert_close(got.logits, torch.tensor([[0.0, 2000 / 3]]))


def test_product_weights_are_shares_of_information():
    # The first says nothing (0 nats), the others log 2 and log 4 of 4 classes.
    none, half, all_ = [0.0] * 4, [0.0, 0.0, -1000.0, -1000.0], [0.0, -1000.0, -1000.0, -1000.0]
    got = fuse(torch.tensor([[none], [half], [all_]]), rule="product")
    torch.testing.assert_close(got.weights, torch.tensor([[0.0], [1 / 3], [2 / 3]]))


@pytest.mark.parametrize("rule", ["entropy", "product", "mean"])
def test_default_is_all_present(rule):
    logits, *_ = draw(3)
    for a, b in zip(fuse(logits, rule=rule), fuse(logits, torch.ones(3, 7).bool(), rule), strict=True):
        assert torch.equal(a, b)


def test_default_rule_is_the_papers():
    logits, *_ = draw(3)
    assert torch.equal(fuse(logits).logits, fuse(logits, rule="entropy").logits)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_absent_entries_are_ignored(rule, garbage):
    logits, present, temperatures, weights = draw(4)
    assert not present.all()
    dirty = logits.masked_fill(~present.unsqueeze(-1), garbage)
    clean = logits.masked_fill(~present.unsqueeze(-1), 0)
    got, want = (fuse(z, present, rule, temperatures, weights) for z in (dirty, clean))
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)
    assert not got.weights[~present].any()


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_no_sample_depends_on_another(rule):
    logits, present, temperatures, weights = draw(5, samples=64, scale=5.0)
    whole = fuse(logits, present, rule, temperatures, weights)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    for rows in (order, order[:8], order[:1], torch.tensor([3, 3, 3])):
        part = fuse(logits[:, rows], present[:, rows], rule, temperatures, weights)
        torch.testing.assert_close(part.logits, whole.logits[rows], rtol=0, atol=1e-6)
        torch.testing.assert_close(part.probabilities, whole.probabilities[rows], rtol=0, atol=1e-6)
        torch.testing.assert_close(part.weights, whole.weights[:, rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_shift_of_logits_changes_no_probability(rule):
    logits, present, temperatures, weights = draw(6)
    shifted = logits + torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(1)) * 50
    a, b = (fuse(z.double(), present, rule, temperatures, weights) for z in (logits, shifted))
    torch.testing.assert_close(a.probabilities, b.probabilities, rtol=0, atol=2e-5)
    torch.testing.assert_close(a.weights, b.weights, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_order_of_modalities_and_classes_is_free(rule):
    logits, present, temperatures, weights = draw(7, 4)
    order, classes = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 2, 0, 1, 3])
    a = fuse(logits, present, rule, temperatures, weights)
    b = fuse(logits[order][..., classes], present[order], rule, temperatures[order], weights[order])
    torch.testing.assert_close(a.logits[:, classes], b.logits)
    torch.testing.assert_close(a.probabilities[:, classes], b.probabilities)
    torch.testing.assert_close(a.weights[order], b.weights)


@pytest.mark.parametrize("rule", ["entropy", "mean", "fixed"])
def test_equal_modalities_are_as_one(rule):
    logits, *_ = draw(8, 1)
    got = fuse(logits.expand(5, -1, -1), rule=rule)
    torch.testing.assert_close(got.logits, logits[0])
    torch.testing.assert_close(got.weights, torch.full((5, 7), 0.2))


def test_a_product_of_equals_is_sharper():
    logits, *_ = draw(8, 1)
    got = fuse(logits.expand(3, -1, -1), rule="product")
    torch.testing.assert_close(got.logits, 3 * logits[0].log_softmax(-1))
    torch.testing.assert_close(got.weights, torch.full((3, 7), 1 / 3))


@pytest.mark.parametrize("rule", RULES)
def test_one_modality_gives_its_own_probabilities(rule):
    logits, _, temperatures, _ = draw(9, 1)
    torch.testing.assert_close(fuse(logits, rule=rule).probabilities, logits[0].softmax(-1))
    got = fuse(logits, rule=rule, temperatures=temperatures)
    torch.testing.assert_close(got.probabilities, (logits[0] / temperatures).softmax(-1))
    assert torch.equal(got.weights, torch.ones(1, 7))


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_probabilities_are_the_softmax_of_the_logits(rule):
    logits, present, temperatures, weights = draw(10)
    got = fuse(logits, present, rule, temperatures, weights)
    torch.testing.assert_close(got.probabilities, got.logits.softmax(-1))


def test_temperature_divides():
    logits, present, temperatures, _ = draw(11)
    a = fuse(logits, present, "entropy", temperatures)
    b = fuse(logits / temperatures.view(3, 1, 1), present, "entropy")
    torch.testing.assert_close(a.logits, b.logits)
    assert not torch.allclose(a.weights, fuse(logits, present, "entropy").weights, atol=0.01)


def test_fixed_weights_are_renormalised_over_what_is_present():
    logits, *_ = draw(12, samples=3)
    present = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    equal = fuse(logits, present, "fixed")
    torch.testing.assert_close(equal.weights, fuse(logits, present, "mean").weights)
    got = fuse(logits, present, "fixed", fixed_weights=torch.tensor([3.0, 1.0, 0.0]))
    torch.testing.assert_close(
        got.weights, torch.tensor([[0.75, 1.0, 0.0], [0.25, 0.0, 0.0], [0.0, 0.0, 1.0]])
    )


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_needs_no_gradient_and_changes_no_input(rule):
    logits, present, temperatures, weights = draw(13)
    before = [t.clone() for t in (logits, present, temperatures, weights)]
    want = fuse(logits, present, rule, temperatures, weights)
    for a, b in zip(before, (logits, present, temperatures, weights), strict=True):
        assert torch.equal(a, b)
    assert not any(t.requires_grad for t in want)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            got = fuse(logits.clone().requires_grad_(), present, rule, temperatures, weights)
        for a, b in zip(got, want, strict=True):
            assert torch.equal(a, b)
            assert not a.requires_grad


@pytest.mark.parametrize("rule", WITH_TEMPERATURES)
def test_gradients_if_asked_for_are_finite(rule):
    logits, present, temperatures, weights = draw(14, scale=1e4)
    logits.masked_fill_(~present.unsqueeze(-1), torch.nan).requires_grad_()
    got = fuse(logits, present, rule, temperatures, weights)
    (grad,) = torch.autograd.grad(got.logits.sum() + got.weights.square().sum(), logits)
    assert grad.isfinite().all()
    assert grad.any()
    assert not grad[~present].any()


@pytest.mark.parametrize("rule", RULES)
def test_ruled_out_classes_may_be_minus_infinity(rule):
    logits, *_ = draw(15)
    logits[:, :, 0] = -torch.inf
    got = fuse(logits, rule=rule)
    assert (got.probabilities[:, 0] == 0).all()
    assert not got.weights.isnan().any()
    torch.testing.assert_close(got.probabilities.sum(-1), torch.ones(7))


@pytest.mark.parametrize("rule", RULES)
def test_no_samples(rule):
    got = fuse(torch.zeros(2, 0, 4), rule=rule)
    assert [list(t.shape) for t in got] == [[0, 4], [0, 4], [2, 0]]


@pytest.mark.parametrize("rule", RULES)
def test_names_rows_with_nothing_present(rule):
    present = torch.ones(2, 9, dtype=torch.bool)
    present[:, [2, 7]] = False
    with pytest.raises(ValueError, match=r"no modality is present in rows 2, 7$"):
        fuse(torch.zeros(2, 9, 3), present, rule)


def test_names_ten_rows_at_most():
    with pytest.raises(ValueError, match=r"rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more"):
        fuse(torch.zeros(2, 15, 3), torch.zeros(2, 15, dtype=torch.bool))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(4, 3)}, r"\[M, B, C\].*\[4, 3\]"),
        ({"logits": torch.zeros(0, 4, 3)}, r"\[M, B, C\]"),
        ({"logits": torch.zeros(2, 4, 0)}, r"\[M, B, C\]"),
        ({"logits": torch.zeros(2, 4, 3, dtype=torch.long)}, "floating point.*int64"),
        ({"present": torch.ones(4, 2, dtype=torch.bool)}, r"bool \[2, 4\].*\[4, 2\]"),
        ({"present": torch.ones(2, 4)}, "bool.*float32"),
        ({"rule": "entropi"}, "'entropi'.*entropy, product, mean, fixed"),
        ({"rule": "calibrated_product"}, "calibrated_product.*needs temperatures"),
        ({"rule": "joint", "temperatures": torch.ones(2)}, "needs the logits of a joint head"),
        ({"joint": torch.ones(4, 2)}, r"joint must be \[4, 3\]"),
        ({"temperatures": torch.ones(3)}, r"temperatures must be \[2\].*\[3\]"),
        ({"temperatures": torch.tensor([1.0, 0.0])}, "temperatures must be positive"),
        ({"temperatures": torch.tensor([1.0, torch.nan])}, "temperatures must be positive"),
        ({"fixed_weights": torch.ones(2, 1)}, r"fixed_weights must be \[2\]"),
        ({"fixed_weights": torch.tensor([1.0, -0.1])}, "fixed_weights must not be negative"),
    ],
)
def test_refuses_what_is_wrong(change, words):
    with pytest.raises(ValueError, match=words):
        fuse(**{"logits": torch.zeros(2, 4, 3), **change})


@pytest.mark.parametrize("classes", [1, 2, 10, 31, 40])
def test_the_highest_is_the_first_of_equals(classes):
    logits = torch.randint(3, (3, 50, classes), generator=torch.Generator().manual_seed(classes)).double()
    most, where = max_and_argmax(logits)
    assert torch.equal(most, logits.amax(-1))
    assert where.tolist() == [[row.index(max(row)) for row in rows] for rows in logits.tolist()]


@pytest.mark.parametrize("rule", RULES)
def test_a_logit_of_minus_infinity_makes_no_nan(rule):
    logits = torch.tensor([[[-torch.inf, 0.0]], [[0.0, 1.0]]], requires_grad=True)
    fused = fuse(logits, rule=rule, fixed_weights=torch.tensor([0.0, 1.0]) if rule == "fixed" else None)
    assert fused.probabilities.isfinite().all()
    assert fused.weights.isfinite().all()
    fused.probabilities[:, 1].sum().backward()
    assert logits.grad[:, :, 1].isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_a_calibrated_rule_is_the_plain_one_with_temperatures(rule):
    logits, present, temperatures, weights = draw(3)
    calibrated = fuse(logits, present, f"calibrated_{rule}", temperatures, weights)
    plain = fuse(logits, present, rule, temperatures, weights)
    assert all(torch.equal(a, b) for a, b in zip(calibrated, plain, strict=True))
    assert not torch.equal(plain.logits, fuse(logits, present, rule, None, weights).logits)


def test_joint_logits_alone_and_as_an_expert():
    logits, present, temperatures, _ = draw(4)
    joint = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    product = fuse(logits, present, "calibrated_product", temperatures)
    alone = fuse(logits, present, "joint", temperatures, joint=joint)
    assert torch.equal(alone.logits, joint)
    assert torch.equal(alone.weights, product.weights)
    experts = fuse(logits, present, "experts", temperatures, joint=joint, joint_temperature=torch.tensor(2.0))
    complete = present.all(0)
    assert 0 < complete.sum() < len(complete)
    torch.testing.assert_close(
        experts.logits, product.logits + (joint / 2).log_softmax(1) * complete.unsqueeze(1)
    )


def test_opinions_give_every_rule_what_fuse_gives():
    logits, present, temperatures, weights = draw(5)
    opinions = Opinions(logits, present, Calibration(temperatures), weights)
    for name, rule in fusion.RULES.items():
        if rule.joint == "unused":
            want = fuse(logits, present, name, temperatures if rule.calibrated else None, weights)
            assert all(torch.equal(a, b) for a, b in zip(opinions.fuse(rule), want, strict=True))
