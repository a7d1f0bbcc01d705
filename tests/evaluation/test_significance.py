"""Against SciPy, by hand, and by how often the tests are wrong where nothing differs."""

import numpy as np
import pytest
from scipy import stats

from altuna.evaluation.significance import compare_means, critical_difference, friedman, holm, ranks


def right(rng, seeds, samples, accuracy=0.8, hardness=1.0):
    """Correctness [seeds, samples] with samples that are hard for everyone."""
    level = rng.normal(size=samples) * hardness + stats.norm.ppf(accuracy) * np.hypot(1, hardness)
    return lambda shift=0.0: (rng.normal(size=(seeds, samples)) < level + shift).astype(float)


def test_one_seed_is_a_t_test():
    """Samples without groups: SciPy's paired t-test."""
    draw = right(np.random.default_rng(0), 1, 300)
    first, second = draw(0.2), draw()
    found = compare_means(first, second)
    theirs = stats.ttest_rel(first[0], second[0])
    assert found.mean == pytest.approx((first - second).mean())
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_the_variance_by_hand():
    """Three seeds, four samples in two groups, one pair absent: each sum of the formula written out."""
    first = np.array([[1, 1, 0, 1], [1, np.nan, 1, 0], [1, 1, 1, 1]])
    second = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 1]])
    d = first - second
    mean = (1 + 0 + 0 + 1 + 0 + 1 + 0 + 1 + 0 + 1 + 0) / 11
    rest = np.nan_to_num(d - mean)
    cells = np.array([[row[[0, 2]].sum(), row[[1, 3]].sum()] for row in rest])
    by_group = 2 / 1 * sum(c**2 for c in cells.sum(0)) / 11**2
    by_seed = 3 / 2 * sum(c**2 for c in cells.sum(1)) / 11**2
    by_both = 6 / 5 * sum(c**2 for c in cells.ravel()) / 11**2
    variance = max(by_group + by_seed - by_both, by_both)
    freedom = max(1, variance**2 / (by_group**2 / 1 + by_seed**2 / 2 + by_both**2 / 5))
    found = compare_means(first, second, groups=["x", "y", "x", "y"])
    assert found.mean == pytest.approx(mean)
    assert found.p == pytest.approx(2 * stats.t.sf(mean / variance**0.5, freedom))
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.detectable == pytest.approx(half + stats.t.ppf(0.8, freedom) * variance**0.5)


def trial(rng, seeds, groups, size, shift=0.0, by_group=0.3, by_seed=0.1, tested=None):
    """Two methods whose difference varies by group and by seed, and is ``shift`` in the mean (probits)."""
    level = rng.normal(1.4, 0.8, size=(groups, size))
    differs = shift + rng.normal(0, by_group, (1, groups, 1)) + rng.normal(0, by_seed, (seeds, 1, 1))
    first, second = (
        (rng.normal(size=(seeds, groups, size)) < level + sign * differs / 2).astype(float)
        for sign in (1, -1)
    )
    for one in first if tested else ():
        one[rng.permutation(groups)[tested:]] = np.nan
    codes = np.repeat(np.arange(groups), size)
    return first.reshape(seeds, -1), second.reshape(seeds, -1), codes


@pytest.mark.parametrize(
    "case",
    [
        {"seeds": 10, "groups": 20, "size": 20},
        {"seeds": 10, "groups": 20, "size": 20, "tested": 4},  # every seed tests other groups
        {"seeds": 10, "groups": 20, "size": 20, "by_seed": 0.0},
        {"seeds": 10, "groups": 400, "size": 1, "by_group": 0.0},
        {"seeds": 5, "groups": 441, "size": 1, "by_group": 0.0, "by_seed": 0.2},
    ],
    ids=["both", "in part", "groups", "samples", "seeds"],
)
def test_of_equal_methods_about_one_in_twenty_differs(case):
    rng = np.random.default_rng(0)

    def share(shift, number):
        found = 0
        for _ in range(number):
            first, second, groups = trial(rng, shift=shift, **case)
            found += compare_means(first, second, groups=groups).p < 0.05
        return found / number

    assert 0.02 <= share(0.0, 800) <= 0.07
    assert share(0.6, 50) > 0.8


def test_groups_widen_the_interval_where_they_differ():
    first, second, groups = trial(np.random.default_rng(1), 5, 20, 40, by_group=0.6)
    by_group, by_sample = compare_means(first, second, groups=groups), compare_means(first, second)
    assert by_group.high - by_group.low > 1.5 * (by_sample.high - by_sample.low)
    # Names of groups and the order of samples do not matter.
    order = np.random.default_rng(2).permutation(len(groups))
    named = compare_means(first[:, order], second[:, order], groups=[f"person {groups[i]}" for i in order])
    assert named == pytest.approx(by_group)


def test_the_power_at_the_detectable_difference_is_near_four_of_five():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        first, second, groups = trial(rng, 10, 20, 20, shift=0.25)
        found.append(compare_means(first, second, groups=groups))
    truth, detectable = np.mean([(d.mean, d.detectable) for d in found], axis=0)
    assert truth == pytest.approx(detectable, rel=0.3)
    assert np.mean([d.p < 0.05 for d in found]) == pytest.approx(0.8, abs=0.15)


def test_a_lucky_seed_is_not_a_better_method():
    """Ten points of difference that one of three seeds brings alone; samples alone would call it certain."""
    rng = np.random.default_rng(0)
    second = right(rng, 3, 400)()
    first = second.copy()
    first[0] = np.maximum(first[0], rng.random(400) < 0.9)
    assert compare_means(first[:1], second[:1]).p < 0.001
    assert compare_means(first, second).p > 0.05


def test_the_same_is_not_different():
    x = right(np.random.default_rng(0), 2, 50)()
    assert compare_means(x, x) == (0, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="both methods have"):
        compare_means([[np.nan]], [[1.0]])
    with pytest.raises(ValueError, match="groups"):
        compare_means(x, x, groups=[1, 2])


def test_one_group_tells_a_mean_only():
    x, y = (right(np.random.default_rng(s), 2, 50)() for s in (0, 1))
    mean, *rest = compare_means(x, y, groups=["a"] * 50)
    assert mean == pytest.approx((x - y).mean())
    assert np.isnan(rest).all()


def test_holm():
    """By hand: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, each at least the one before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_ranks():
    rng = np.random.default_rng(0)
    scores = rng.integers(4, size=(6, 5))
    theirs = stats.rankdata(-scores, axis=1)
    assert np.array_equal(ranks(scores), theirs)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys(ties):
    rng = np.random.default_rng(1)
    scores = rng.integers(4, size=(7, 5)) if ties else rng.random((7, 5))
    theirs = stats.friedmanchisquare(*scores.T)
    assert friedman(scores) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert friedman(np.ones((3, 4))) == (0, 1)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_demsars(methods, q):
    """Table 5 of Demsar (2006)."""
    n = 14
    assert critical_difference(methods, n) == pytest.approx(
        q * np.sqrt(methods * (methods + 1) / (6 * n)), rel=1e-3
    )


def test_critical_difference_is_scipys():
    q = stats.studentized_range.ppf(0.9, 27, np.inf) / np.sqrt(2)
    assert critical_difference(27, 3, 0.1) == pytest.approx(q * np.sqrt(27 * 28 / 18), rel=1e-4)
