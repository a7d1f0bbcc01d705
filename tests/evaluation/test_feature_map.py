"""Maps of features that are all but the same."""

import numpy as np
import pytest

from altuna.evaluation.feature_map import feature_map


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-8])
def test_points_that_differ_by_rounding_alone_are_one_point(noise):
    """Of such points scikit-learn's t-SNE ends the process."""
    draws = np.random.default_rng(0)
    points, by = feature_map(1 + noise * draws.normal(size=(16, 6)))
    assert by == "PCA"
    assert np.abs(points).max() < 1e-6


def test_points_that_differ_are_mapped():
    points, by = feature_map(np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32))
    assert by == "t-SNE"
    assert np.isfinite(points).all()
