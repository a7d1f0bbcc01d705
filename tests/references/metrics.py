"""Accuracy, macro-F1, negative log-likelihood and expected calibration error, sample by sample."""

from __future__ import annotations

import math


def classification_metrics(probabilities, labels, bins=15):
    n, classes = len(labels), len(probabilities[0])
    predicted = [max(range(classes), key=lambda c, p=p: p[c]) for p in probabilities]
    f1 = []
    for c in range(classes):
        true = sum(p == c and y == c for p, y in zip(predicted, labels, strict=True))
        found, existing = predicted.count(c), list(labels).count(c)
        if found + existing:
            f1.append(2 * true / (found + existing))
    ece = 0.0
    for k in range(bins):
        inside = [i for i in range(n) if min(int(max(probabilities[i]) * bins), bins - 1) == k]
        if inside:
            right = sum(predicted[i] == labels[i] for i in inside) / len(inside)
            confidence = sum(max(probabilities[i]) for i in inside) / len(inside)
            ece += len(inside) / n * abs(right - confidence)
    return {
        "accuracy": sum(p == y for p, y in zip(predicted, labels, strict=True)) / n,
        "macro_f1": sum(f1) / len(f1),
        "nll": -sum(math.log(p[y]) for p, y in zip(probabilities, labels, strict=True)) / n,
        "ece": ece,
    }
