"""Masks of missing cells follow the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altuna.data.missing.patterns import missing_mask, pattern_mask
from altuna.errors import UserError


def complete(modalities, samples):
    return np.ones((modalities, samples), dtype=bool)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    modalities=st.integers(1, 6), samples=st.integers(1, 300), share=st.floats(0, 1), seed=st.integers(0, 999)
)
def test_share_is_exact_and_every_sample_keeps_one(modalities, samples, share, seed):
    rate = share * (1 - 1 / modalities)
    mask = missing_mask(complete(modalities, samples), rate, seed)
    assert mask.shape == (modalities, samples)
    assert mask.dtype == bool
    assert mask.any(0).all()
    assert abs((~mask).sum() - rate * mask.size) <= 0.5 + 1e-6


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_extremes(modalities):
    assert missing_mask(complete(modalities, 50), 0).all()
    highest = missing_mask(complete(modalities, 50), 1 - 1 / modalities)
    assert (highest.sum(0) == 1).all()


def test_same_seed_same_mask():
    assert (missing_mask(complete(3, 100), 0.4, 7) == missing_mask(complete(3, 100), 0.4, 7)).all()
    assert (missing_mask(complete(3, 100), 0.4, 7) != missing_mask(complete(3, 100), 0.4, 8)).any()
    assert (missing_mask(complete(3, 100), 0.4) == missing_mask(complete(3, 100), 0.4, 0)).all()


def test_modalities_and_samples_are_hit_alike():
    mask = missing_mask(complete(4, 20_000), 0.5)
    assert np.abs(mask.mean(1) - 0.5).max() < 0.02
    for part in np.array_split(mask, 10, axis=1):
        assert abs(part.mean() - 0.5) < 0.02
    # One is kept for sure, the other 3 each with (2 - 1) / 3: binomial counts, not all alike.
    counts = np.bincount(mask.sum(0), minlength=5) / 20_000
    assert np.abs(counts - [0, 8 / 27, 12 / 27, 6 / 27, 1 / 27]).max() < 0.02


def test_the_certain_one_is_uniform():
    mask = missing_mask(complete(4, 20_000), 0.75)
    assert np.abs(mask.mean(1) - 0.25).max() < 0.015


@pytest.mark.parametrize(
    ("modalities", "rate"), [(2, 0.51), (3, 0.7), (1, 0.1), (2, -0.1), (2, float("nan"))]
)
def test_refuses_a_rate(modalities, rate):
    with pytest.raises(UserError, match=r"missing rate .* between 0 and"):
        missing_mask(complete(modalities, 10), rate)


def test_cells_that_are_missing_already_count_for_nothing():
    rng = np.random.default_rng(0)
    present = rng.random((3, 1000)) < 0.5
    present[rng.integers(3, size=1000), np.arange(1000)] = True
    mask = missing_mask(present, 0.3, seed=1)
    assert not (mask & ~present).any()
    assert mask.any(0).all(), "a sample lost everything"
    assert mask.sum() == round(0.7 * present.sum())
    one = missing_mask(present, 1 - 1000 / present.sum(), seed=1)
    assert (one.sum(0) == 1).all()
    with pytest.raises(UserError, match=r"missing rate 0\.6"):
        missing_mask(present, 0.6)


NAMES = ["a", "b", "c"]


def mask_of(pattern, rate=None, present=None, groups=None, seed=0):
    present = complete(3, 300) if present is None else present
    labels = np.arange(present.shape[1]) % 4
    groups = np.arange(present.shape[1]) if groups is None else groups
    return pattern_mask(pattern, rate, present, NAMES, labels, groups, seed)


def test_random_is_the_protocol():
    assert np.array_equal(mask_of("random", 0.4, seed=3), missing_mask(complete(3, 300), 0.4, 3))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_named_patterns(rate):
    only, never = mask_of("only:b", rate), mask_of("never:b", rate)
    assert only[1].all()
    assert (~only[0]).sum() == (~only[2]).sum() == round(rate * 300)
    assert np.array_equal(only[0], only[2])
    assert never[0].all()
    assert never[2].all()
    assert (~never[1]).sum() == round(rate * 300)
    assert np.array_equal(mask_of("only:b"), mask_of("only:b", 1.0))


def test_a_group_is_missing_as_one():
    groups = np.repeat(np.arange(30), 10)
    stays = mask_of("group", 0.5, groups=groups).reshape(3, 30, 10)
    assert (stays == stays[:, :, :1]).all()
    assert (~stays[:, :, 0]).sum() == 45
    present = complete(3, 300)
    present[0, ::10] = False
    present[1:, 1::10] = False  # has nothing but what its group may lose
    stays = mask_of("group", 0.6, present, groups)
    assert stays.any(0).all()
    assert not (stays & ~present).any()


def test_absence_tells_the_class():
    stays = mask_of("label", 0.3)
    labels = np.arange(300) % 4
    assert (~stays).sum() == 270
    for c in range(4):
        gone = (~stays[:, labels == c]).mean(1)
        victim = c % 3
        assert gone[victim] > 0.8
        assert np.delete(gone, victim).max() < 0.1
    assert mask_of("label", 2 / 3).sum() == 300


@pytest.mark.parametrize(
    ("pattern", "rate", "words"),
    [
        ("only:x", None, "no modality 'x'"),
        ("never:bb", None, "no modality 'bb'; did you mean 'b'"),
        ("rndom", 0.1, "unknown pattern 'rndom'; did you mean 'random'"),
        ("only", 0.1, "unknown pattern 'only'"),
        ("group", None, "needs a missing rate"),
        ("label", 0.7, "must be between 0 and 0.666"),
        ("never:a", 1.5, "from 0 to 1"),
    ],
)
def test_patterns_refuse(pattern, rate, words):
    with pytest.raises(UserError, match=words):
        mask_of(pattern, rate)
