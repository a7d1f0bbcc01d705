"""A joint expert ``z = V2 relu(V1 [h_1 .. h_M] + v1) + v2``: plain gradient descent in float64, by hand."""

from __future__ import annotations

import numpy as np


class JointExpert:
    """``network`` is (V1, v1, V2, v2)."""

    def __init__(self, network, lr):
        self.network, self.lr = tuple(a.copy() for a in network), lr

    def step(self, features, labels):
        """Take a step; return the gradients of the features.

        ``features``: modality, in order, to [n, d] of the samples that have everything.
        """
        first, a, second, b = self.network
        h = np.concatenate([*features.values()], axis=1)
        u = h @ first.T + a
        r = np.maximum(0, u)
        z = r @ second.T + b
        e = np.exp(z - z.max(1, keepdims=True))
        dz = e / e.sum(1, keepdims=True)
        dz[np.arange(len(z)), labels] -= 1
        dz /= len(z)
        du = (dz @ second) * (u > 0)
        self.network = (
            first - self.lr * du.T @ h,
            a - self.lr * du.sum(0),
            second - self.lr * dz.T @ r,
            b - self.lr * dz.sum(0),
        )
        sizes = np.cumsum([f.shape[1] for f in features.values()])[:-1]
        return dict(zip(features, np.split(du @ first, sizes, axis=1), strict=True))


def encode(encoders, inputs):
    """Features by linear encoders, (A, a) a modality."""
    return {m: inputs[m] @ encoders[m][0].T + encoders[m][1] for m in encoders}


def descend(encoders, inputs, gradients, lr):
    """Encoders after a step along the gradients of their features."""
    return {
        m: (w - lr * gradients[m].T @ inputs[m], c - lr * gradients[m].sum(0))
        for m, (w, c) in encoders.items()
    }
