"""The projector of head gradient modification, in float64."""

from __future__ import annotations

import numpy as np


def step(p, r, alpha):
    """One recursive-least-squares step on a mean feature r [d], element by element."""
    d = len(r)
    pr = [sum(p[i, j] * r[j] for j in range(d)) for i in range(d)]
    denominator = alpha + sum(r[i] * pr[i] for i in range(d))
    q = [v / denominator for v in pr]
    rp = [sum(r[i] * p[i, j] for i in range(d)) for j in range(d)]
    return np.array([[p[i, j] - q[i] * rp[j] for j in range(d)] for i in range(d)])


def closed_form(means, alphas, dim):
    """What the steps amount to (Sherman and Morrison): the inverse of I + sum r r' / alpha."""
    inverse = np.eye(dim)
    for r, alpha in zip(means, alphas, strict=True):
        inverse = inverse + np.outer(r, r) / alpha
    return np.linalg.inv(inverse)
