"""Piecewise-linear encoding of numbers (arXiv 2203.05556, eq. 1) in float64, number by number."""

from __future__ import annotations

import itertools
import math


def quantile(ordered, share):
    """The quantile of sorted values, linear between neighbours."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def edges_of(values, bins):
    """The distinct quantiles that separate bins with equal numbers of values."""
    ordered = sorted(values)
    return sorted({quantile(ordered, t / bins) for t in range(bins + 1)})


def encode(x, edges, bins):
    """Codes [bins] of one number: how much of each bin lies below it; 0 for bins that do not exist."""
    codes = []
    for low, high in itertools.pairwise(edges):
        if x <= low:
            codes.append(0.0)
        elif x >= high:
            codes.append(1.0)
        else:
            codes.append((x - low) / (high - low))
    return codes + [0.0] * (bins - len(codes))
