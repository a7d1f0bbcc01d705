"""Masks of missing cells follow the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altuna.data.missing import missing_mask
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
