"""Temperature scaling by brute force, in float64."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp


def nll(logits, labels, temperature, pseudo_count=0, prior=None):
    """Mean over the rows and ``pseudo_count`` more, an average row whose label is drawn from the prior."""
    z = np.asarray(logits, np.float64)
    pi = np.full(z.shape[1], 1 / z.shape[1]) if prior is None else np.asarray(prior, np.float64)
    z = np.log(pi) + (z - logsumexp(z, axis=1, keepdims=True) - np.log(pi)) / temperature
    log = z - logsumexp(z, axis=1, keepdims=True)
    own = log[np.arange(len(z)), labels].sum()
    return float(-(own + pseudo_count * (log @ pi).mean()) / (len(z) + pseudo_count))


def best_temperature(logits, labels, low=0.05, high=1e4, pseudo_count=0, prior=None):
    """A grid over log T, then a bounded search between the neighbours of its best point."""
    grid = np.linspace(np.log(low), np.log(high), 400)
    values = [nll(logits, labels, np.exp(t), pseudo_count, prior) for t in grid]
    i = int(np.argmin(values))
    bounds = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    found = minimize_scalar(
        lambda t: nll(logits, labels, np.exp(t), pseudo_count, prior),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))


def best_scale_and_bias(logits, labels, prior, frequencies, strength):
    """The scale and the bias [1 + C] of one strength, by a general optimiser."""
    z, labels = np.asarray(logits, np.float64), np.asarray(labels)
    beyond = z - logsumexp(z, axis=1, keepdims=True) - np.log(prior)

    def loss(found):
        log = np.log(frequencies) + found[0] * beyond + found[1:]
        log = log - logsumexp(log, axis=1, keepdims=True)
        own = log[np.arange(len(z)), labels].sum() + (log @ frequencies).mean()
        return strength / 2 * (found[1:] ** 2).sum() - own

    start = np.array([1.0, *np.zeros(z.shape[1])])
    bounds = [(1e-4, 20.0), *[(None, None)] * z.shape[1]]
    return minimize(loss, start, bounds=bounds, options={"maxiter": 1000, "ftol": 1e-15}).x
