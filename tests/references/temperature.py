"""Temperature scaling by brute force, in float64."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp


def nll(logits, labels, temperature, pseudo_count=0):
    """Mean over the rows and ``pseudo_count`` more, an average row whose label is each class equally."""
    z = np.asarray(logits, np.float64) / temperature
    log = z - logsumexp(z, axis=1, keepdims=True)
    own = log[np.arange(len(z)), labels].sum()
    return float(-(own + pseudo_count * log.mean()) / (len(z) + pseudo_count))


def best_temperature(logits, labels, low=0.05, high=1e4, pseudo_count=0):
    """A grid over log T, then a bounded search between the neighbours of its best point."""
    grid = np.linspace(np.log(low), np.log(high), 400)
    values = [nll(logits, labels, np.exp(t), pseudo_count) for t in grid]
    i = int(np.argmin(values))
    bounds = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    found = minimize_scalar(
        lambda t: nll(logits, labels, np.exp(t), pseudo_count),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))
