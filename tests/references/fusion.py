"""Test-time fusion, one sample and one modality at a time, in float64."""

from __future__ import annotations

import math

import numpy as np


def softmax(z):
    e = [math.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


def log_softmax(z):
    top = max(z)
    log_sum = top + math.log(sum(math.exp(v - top) for v in z))
    return [v - log_sum for v in z]


def entropy(z):
    return -sum(p * math.log(p) for p in softmax(z) if p > 0)


def evidence(
    logits, present, temperatures, prior, counted, joint=None, joint_temperature=1.0, joint_weight=1.0
):
    """Fuse [M, B, C] by evidence into probabilities [B, C] and weights [M, B]; ``counted`` are a_m [M]."""
    modalities, samples, classes = logits.shape
    probabilities, weights = np.zeros((samples, classes)), np.zeros((modalities, samples))
    log_prior = [math.log(p / sum(prior)) for p in prior]
    for b in range(samples):
        total = list(log_prior)
        for m in range(modalities):
            if not present[m, b]:
                continue
            raw = log_softmax([float(v) for v in logits[m, b]])
            known = log_softmax(
                [pi + (v - pi) / float(temperatures[m]) for v, pi in zip(raw, log_prior, strict=True)]
            )
            for c in range(classes):
                total[c] += float(counted[m]) * (known[c] - log_prior[c])
                weights[m, b] += float(counted[m]) * math.exp(known[c]) * (known[c] - log_prior[c])
        if joint is not None and present[:, b].all():
            raw = log_softmax([float(v) for v in joint[b]])
            known = [pi + (v - pi) / joint_temperature for v, pi in zip(raw, log_prior, strict=True)]
            known = log_softmax(known)
            total = [t + joint_weight * (k - pi) for t, k, pi in zip(total, known, log_prior, strict=True)]
        probabilities[b] = softmax(total)
        share = weights[:, b].sum()
        weights[:, b] = weights[:, b] / share if share > 0 else present[:, b] / present[:, b].sum()
    return probabilities, weights


def fuse(logits, present, rule, temperatures=None, fixed_weights=None):
    """Fuse [M, B, C] into logits [B, C], probabilities [B, C] and weights [M, B]."""
    modalities, samples, classes = logits.shape
    fused, probabilities = np.zeros((samples, classes)), np.zeros((samples, classes))
    weights = np.zeros((modalities, samples))
    for b in range(samples):
        has = [m for m in range(modalities) if present[m, b]]
        t = {m: 1.0 if temperatures is None else float(temperatures[m]) for m in has}
        z = {m: [float(v) / t[m] for v in logits[m, b]] for m in has}
        e = {m: entropy(z[m]) for m in has}
        if rule == "entropy":
            share = {m: math.exp(max(e.values()) - e[m]) for m in has}
        elif rule == "product":
            share = {m: max(0.0, math.log(classes) - e[m]) for m in has}
        elif rule == "mean":
            share = dict.fromkeys(has, 1.0)
        else:
            share = {m: 1.0 if fixed_weights is None else float(fixed_weights[m]) for m in has}
        if sum(share.values()) == 0:
            share = dict.fromkeys(has, 1.0)
        for m in has:
            weights[m, b] = share[m] / sum(share.values())
            scores, factor = (log_softmax(z[m]), 1.0) if rule == "product" else (z[m], weights[m, b])
            for c in range(classes):
                fused[b, c] += factor * scores[c]
        probabilities[b] = softmax(fused[b].tolist())
    return fused, probabilities, weights
