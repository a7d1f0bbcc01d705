"""ReconBoost's losses of linear learners, in float64 (arXiv 2405.09321)."""

from __future__ import annotations

import numpy as np

from references.linear import cross_entropy, linear, log_softmax


def learner(p, i, x):
    return linear(p, f"model.head.linears.{i}", linear(p, f"model.encoders.{i}", x))


def boosting(p, frozen, inputs, labels, modality, members, before, agreement, consolidation):
    """A sample at a time; ``frozen`` are the parameters as they were, which the others keep."""
    x, rows = inputs[modality]
    z = learner(p, modality, x)
    reconcilement, distance = [], []
    for at, row in enumerate(rows):
        log_p, others = log_softmax(z[at : at + 1])[0], {}
        for i in members:
            if i != modality and i in inputs and row in inputs[i][1]:
                mine = inputs[i][0][inputs[i][1] == row]
                others[i] = learner(frozen, i, mine)
        if others:
            log_q = log_softmax(sum(others.values()))[0]
            y = labels[row]
            reconcilement.append(np.exp(log_q[y]) * (log_q[y] - log_p[y]))
        if before in others:
            distance.append(((np.exp(log_p) - np.exp(log_softmax(others[before])[0])) ** 2).mean())
    total = cross_entropy(z, labels[rows])
    total -= agreement * np.mean(reconcilement) if reconcilement else 0
    return total + (consolidation * np.mean(distance) if distance else 0)


def rectification(p, inputs, labels, members):
    """Over the samples that have one of the members."""
    z, known = np.zeros((len(labels), len(p["model.head.linears.0.bias"]))), np.zeros(len(labels), bool)
    for i in members:
        if i in inputs:
            x, rows = inputs[i]
            z[rows] += learner(p, i, x)
            known[rows] = True
    return cross_entropy(z[known], labels[known])
