"""MLA with linear encoders and plain gradient descent, in float64, gradients by hand."""

from __future__ import annotations

import numpy as np

from references.projector import step


class MLA:
    """Encoders ``h = A x + a`` a modality, a shared head ``z = W h + b``, a projector P."""

    def __init__(self, encoders, head, lr):
        self.encoders = {m: (a.copy(), c.copy()) for m, (a, c) in encoders.items()}
        self.weight, self.bias = head[0].copy(), head[1].copy()
        self.lr = lr
        self.p = np.eye(self.weight.shape[1])

    def turn(self, modality, x, labels, alpha, project=True):
        a, c = self.encoders[modality]
        h = x @ a.T + c
        z = h @ self.weight.T + self.bias
        e = np.exp(z - z.max(1, keepdims=True))
        dz = e / e.sum(1, keepdims=True)
        dz[np.arange(len(x)), labels] -= 1
        dz /= len(x)
        dh = dz @ self.weight
        gradient = dz.T @ h
        self.weight = self.weight - self.lr * (gradient @ self.p if project else gradient)
        self.bias = self.bias - self.lr * dz.sum(0)
        self.encoders[modality] = (a - self.lr * dh.T @ x, c - self.lr * dh.sum(0))
        if project:
            self.p = step(self.p, h.mean(0), alpha)
