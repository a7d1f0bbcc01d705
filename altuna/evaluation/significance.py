"""Significance tests of differences between methods: pure functions on arrays."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

CHUNK = 1 << 24  # random numbers at once


class Difference(NamedTuple):
    """A difference of means (first minus second) with confidence interval and p-value.

    Example:
        >>> paired_bootstrap(np.ones((1, 4)), np.zeros((1, 4)))  # always right, against always wrong
        Difference(mean=1.0, low=1.0, high=1.0, p=0.0001)
    """

    mean: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, draws: int = 9999, level: float = 0.95, seed: int = 0
) -> Difference:
    r"""Compare two methods on the same samples and seeds by a paired bootstrap over both.

    Seeds and samples are drawn with replacement, independently of each other. In a draw, the weight of a cell
    (seed, sample) is the number of times that its seed was drawn times the number of times that its sample
    was: the bootstrap for crossed random effects (Owen, 2007, doi 10.1214/07-AOAS122). With one seed it is
    the usual bootstrap over samples. The confidence interval is the percentile interval. The two-sided
    p-value is the fraction of draws that are at least as far from the observed difference as that is from 0:

    .. math:: p = \frac{1 + \#\{|d^* - d| \ge |d|\}}{1 + \mathrm{draws}}

    Args:
        first: Whether the first method is right [seeds, samples] (or any other metric); NaN if the sample
            does not belong to the seed.
        second: The same for the second method.
        draws: Number of bootstrap draws.
        level: Level of the confidence interval.
        seed: Random seed of the draws.

    Raises:
        ValueError: The arrays are not [seeds, samples], or there is no cell that both methods have.

    Example:
        >>> better, worse = np.ones((2, 50)), np.tile([1.0, 0.0], (2, 25))
        >>> found = paired_bootstrap(better, worse)
        >>> found.mean, found.low > 0, found.p < 0.01
        (0.5, True, True)
    """
    values = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    known = ~np.isnan(values)
    if values.ndim != 2 or not known.any():
        raise ValueError("needs arrays [seeds, samples] with a cell that both methods have")
    values = np.where(known, values, 0.0)
    observed = float(values.sum() / known.sum())
    rng = np.random.default_rng(seed)
    found: list[NDArray[np.float64]] = []
    seeds, samples = values.shape
    for start in range(0, draws, step := max(1, CHUNK // samples)):
        number = min(step, draws - start)
        rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), number)
        columns = rng.multinomial(samples, np.full(samples, 1 / samples), number).astype(float)
        total, weight = (np.einsum("ns,ns->n", rows, columns @ cells.T) for cells in (values, known))
        found.append(np.divide(total, weight, out=np.full(number, observed), where=weight > 0))
    drawn = np.concatenate(found)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    # Sums in another order differ in their last digits.
    extreme = np.abs(drawn - observed) >= abs(observed) - 1e-12
    return Difference(observed, float(low), float(high), float((1 + extreme.sum()) / (1 + draws)))


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
    values = np.asarray(scores, dtype=float)
    higher = (values[:, None, :] > values[:, :, None]).sum(-1)
    equal = (values[:, None, :] == values[:, :, None]).sum(-1)
    found: NDArray[np.float64] = higher + (equal + 1) / 2
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
    half = torch.tensor([(methods - 1) / 2, statistic / 2], dtype=torch.float64)
    return statistic, float(torch.special.gammaincc(half[0], half[1]))


def critical_difference(methods: int, data_sets: int, level: float = 0.05) -> float:
    r"""Return how far mean ranks must be apart to differ (Nemenyi's test; Demsar, JMLR 7, 2006).

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with q the quantile of the range of k standard normal variables, over the root of 2.

    Example:
        >>> round(critical_difference(methods=4, data_sets=10), 3)
        1.483
    """
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_cdf(middle, methods) < 1 - level else (low, middle)
    return low / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * data_sets))


def _range_cdf(width: float, number: int) -> float:
    r"""Return the chance that k standard normals lie within a width w.

    .. math:: k \int \phi(z) (\Phi(z) - \Phi(z - w))^{k - 1} dz
    """
    z = torch.linspace(-8, 8 + width, 4001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    inside = torch.special.ndtr(z) - torch.special.ndtr(z - width)
    return float(number * torch.trapezoid(density * inside ** (number - 1), z))
