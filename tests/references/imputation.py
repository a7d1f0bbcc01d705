"""Running means of features, in float64."""

from __future__ import annotations

import numpy as np


def running_mean(batches, window):
    """Of rows [n, d], batch after batch: exact until ``window`` rows were met, then exponential."""
    mean, met = np.zeros(batches[0].shape[1]), 0
    for rows in batches:
        met += len(rows)
        share = min(1.0, len(rows) / min(met, window))
        mean = mean + share * (rows.mean(0) - mean)
    return mean


def completed(h, means, modalities):
    """A sample's features {number: [d]} with means where there are none."""
    return {i: h.get(i, means[i]) for i in range(modalities)}
