"""A modality's pooled opinion, and an ensemble of trees, one sample at a time in float64."""

from __future__ import annotations

import math

import numpy as np

from references.fusion import log_softmax, softmax


def pooled(experts, temperatures, weights, prior):
    """Return log-probabilities [n, C] from what the experts say [E, n, C]."""
    found = []
    log_prior = [math.log(p) for p in prior]
    for b in range(len(experts[0])):
        total = list(log_prior)
        for said, temperature, weight in zip(experts, temperatures, weights, strict=True):
            raw = log_softmax([float(v) for v in said[b]])
            known = log_softmax([pi + (v - pi) / temperature for v, pi in zip(raw, log_prior, strict=True)])
            total = [t + weight * (k - pi) for t, k, pi in zip(total, known, log_prior, strict=True)]
        found.append([math.log(p) for p in softmax(total)])
    return np.array(found)


def forest(roots, feature, threshold, right, value, vector):
    """Return probabilities [C] of a vector: walk down each tree until a node leads to itself."""
    total = np.zeros(value.shape[1])
    for root in roots:
        node = int(root)
        while right[node] != node:
            node = node + 1 if vector[feature[node]] <= threshold[node] else int(right[node])
        total += value[node]
    return total / len(roots)
