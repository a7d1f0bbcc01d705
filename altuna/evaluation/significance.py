"""Significance tests of differences between methods: pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

POWER = 0.8


class Difference(NamedTuple):
    """A difference of means (first minus second) with confidence interval and p-value.

    ``detectable`` is the power of the comparison: the smallest true difference that the test would have found
    with a probability of 80 %.

    Example:
        >>> found = compare_means([[1, 1, 0, 1], [1, 0, 1, 1]], [[0, 1, 0, 1], [1, 0, 0, 1]])
        >>> found.mean, round(found.p, 2), round(found.detectable, 2)
        (0.25, 0.23, 0.69)
    """

    mean: float
    low: float
    high: float
    p: float
    detectable: float


def compare_means(
    first: ArrayLike, second: ArrayLike, *, groups: Sequence[Any] | None = None, level: float = 0.95
) -> Difference:
    r"""Compare two methods on the same samples and seeds.

    Samples of a group, for example of a person or a recording, are alike, and so are the samples that one
    seed tests. The variance of the difference is therefore that of data clustered in two ways, by group g and
    by seed s (Cameron, Gelbach and Miller, Journal of Business & Economic Statistics 29, 2011, eq. 2.11):

    .. math:: V = V_g + V_s - V_{gs}, \quad
              V_c = \frac{K_c}{K_c - 1} \frac{1}{n^2} \sum_{k=1}^{K_c} \Big(\sum_{i \in k} (d_i - d)\Big)^2

    with :math:`d_i` the differences of the n pairs (seed, sample), d their mean, and :math:`K_c` clusters of
    each kind. V is at least :math:`V_{gs}`. The interval and the two-sided p-value are those of Student's t,
    with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946). With one seed, V is
    :math:`V_g`: the test then compares two trained networks, not two methods. All but the mean is NaN if all
    samples belong to one group.

    Args:
        first: Whether the first method is right [seeds, samples] (or any other metric); NaN if the sample
            does not belong to the seed.
        second: The same for the second method.
        groups: The group of each sample. None: every sample is a group.
        level: Level of the confidence interval.

    Raises:
        ValueError: The arrays are not [seeds, samples], the number of groups is not that of the samples, or
            there is no pair that both methods have.

    Example:
        >>> better, worse = np.ones((2, 50)), np.tile([1.0, 0.0], (2, 25))
        >>> found = compare_means(better, worse)
        >>> found.mean, found.p < 0.001
        (0.5, True)
    """
    values = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    known = ~np.isnan(values)
    if values.ndim != 2 or not known.any():
        raise ValueError("needs arrays [seeds, samples] with a cell that both methods have")
    number = known.sum()
    mean = float(values[known].mean())
    of = [*range(values.shape[1])] if groups is None else [*groups]
    if len(of) != values.shape[1]:
        raise ValueError(f"{len(of)} groups of {values.shape[1]} samples")
    code = {group: i for i, group in enumerate(dict.fromkeys(of))}
    codes = np.array([code[group] for group in of])
    rest = np.where(known, values - mean, 0.0)
    sums, counts = (np.stack([np.bincount(codes, row) for row in cells]) for cells in (rest, known))
    by_both = sums[counts > 0]
    by_group, by_seed = sums.sum(0)[counts.any(0)], sums.sum(1)[counts.any(1)]
    if len(by_group) == 1:
        return Difference(mean, math.nan, math.nan, math.nan, math.nan)
    clusters = (by_group, by_seed, by_both) if len(by_seed) > 1 else (by_group,)
    variances = [len(c) / (len(c) - 1) * (c**2).sum() / number**2 for c in clusters]
    variance = max(variances[0] + sum(variances[1:2]) - sum(variances[2:]), variances[-1])
    if variance == 0:  # the same difference everywhere
        return Difference(mean, mean, mean, float(mean == 0), 0.0)
    freedom = variance**2 / sum(v**2 / (len(c) - 1) for v, c in zip(variances, clusters, strict=True))
    error, t = math.sqrt(variance), stats.t(max(1.0, freedom))
    width = t.ppf((1 + level) / 2)
    low, high, detectable = mean - width * error, mean + width * error, (width + t.ppf(POWER)) * error
    return Difference(mean, float(low), float(high), float(2 * t.sf(abs(mean) / error)), float(detectable))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted for multiple comparisons (Holm, 1979), in the order given.

    Example:
        >>> holm([0.01, 0.04]).tolist()
        [0.02, 0.04]
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each column in its row: 1 is the highest score, equals share their mean rank.

    Args:
        scores: [data sets, methods].

    Example:
        >>> ranks([[0.9, 0.7, 0.7]]).tolist()
        [[1.0, 2.5, 2.5]]
    """
    found: NDArray[np.float64] = stats.rankdata(-np.asarray(scores, dtype=float), axis=1)
    return found


def friedman(scores: ArrayLike) -> tuple[float, float]:
    r"""Test whether methods rank alike over data sets (Friedman, 1937), corrected for ties.

    Args:
        scores: [data sets N, methods k], both at least 2.

    Returns:
        The statistic, which is chi-squared with k - 1 degrees of freedom for large N, and its p-value.

    Example:
        >>> statistic, p = friedman([[0.9, 0.8, 0.7]] * 4)
        >>> statistic, round(p, 4)
        (8.0, 0.0183)
    """
    found = ranks(scores)
    number, methods = found.shape
    variance = ((found - (methods + 1) / 2) ** 2).sum() / (number * (methods - 1))
    if variance == 0:  # all equal
        return 0.0, 1.0
    statistic = float(number * ((found.mean(0) - (methods + 1) / 2) ** 2).sum() / variance)
    return statistic, float(stats.chi2.sf(statistic, methods - 1))


def critical_difference(methods: int, data_sets: int, level: float = 0.05) -> float:
    r"""Return how far mean ranks must be apart to differ (Nemenyi's test; Demsar, JMLR 7, 2006).

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with q the quantile of the range of k standard normal variables, over the root of 2.

    Example:
        >>> round(critical_difference(methods=4, data_sets=10), 3)
        1.483
    """
    width = stats.studentized_range.ppf(1 - level, methods, np.inf)
    return float(width / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * data_sets)))
