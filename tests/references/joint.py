"""Joint heads on linear encoders, one sample at a time, in float64; gradients by central differences."""

from __future__ import annotations

import numpy as np


def arrays(module):
    """The parameters of a module by name."""
    return {n: np.asarray(p.detach(), np.float64).copy() for n, p in module.named_parameters()}


def samples(inputs, rows, size, modalities):
    """One sample a row: modality number to what it has of it."""
    found = [{} for _ in range(size)]
    for i, m in enumerate(modalities):
        if m in inputs:
            for x, row in zip(np.asarray(inputs[m], np.float64), np.asarray(rows[m]), strict=True):
                found[row][i] = x
    return found


def log_softmax(z):
    z = z - z.max()
    return z - np.log(np.exp(z).sum())


def cross_entropy(logits, labels):
    """Mean over rows of two lists."""
    return -np.mean([log_softmax(z)[y] for z, y in zip(logits, labels, strict=True)])


def linear(p, name, x):
    return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0.0)


def encode(p, sample):
    return {i: linear(p, f"encoders.{i}", x) for i, x in sample.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cosine(p, i, h):
    weight = p[f"head.linears.{i}.weight"]
    return 10 * np.array([w @ h / np.linalg.norm(w) / np.linalg.norm(h) for w in weight])


def joint(head, p, h, modalities):
    """Joint logits [C] from the features {number: [d]} of a sample that has some of so many modalities."""
    bias = p.get("head.linear.bias")
    if head in ("concat", "multitask"):
        return p["head.linear.weight"] @ _filled(p, h, modalities) + bias
    if head in ("film", "gated"):
        total = np.zeros_like(p["encoders.0.bias"])
        for i, mine in h.items():
            others = sum((v for k, v in h.items() if k != i), np.zeros_like(mine))
            if head == "film":
                both = linear(p, f"head.films.{i}", mine)
                total = total + both[: len(mine)] * others + both[len(mine) :]
            else:
                total = total + sigmoid(linear(p, f"head.gates.{i}", mine)) * linear(
                    p, f"head.values.{i}", others
                )
        return p["head.linear.weight"] @ (total / modalities) + bias
    own = {i: unimodal(head, p, i, v, modalities) for i, v in h.items()}
    if head == "confidence":
        return sum(np.log(np.exp(z).sum()) / 10 * z for z in own.values())
    return sum(own.values())


def unimodal(head, p, i, h, modalities):
    """A modality's own logits [C]."""
    if head == "concat":
        d = len(h)
        return p["head.linear.weight"][:, i * d : (i + 1) * d] @ h + p["head.linear.bias"] / modalities
    if head in ("film", "gated"):
        return joint(head, p, {i: h}, modalities)
    return cosine(p, i, h) if head == "cosine" else linear(p, f"head.linears.{i}", h)


def _filled(p, h, modalities):
    return np.concatenate([h.get(i, np.zeros_like(p[f"encoders.{i}.bias"])) for i in range(modalities)])


def loss(head, p, batch, labels, modalities):
    """Cross-entropy of the joint logits."""
    return cross_entropy([joint(head, p, encode(p, s), modalities) for s in batch], labels)


def gradient(value, p, step=1e-5):
    """Central differences of ``value(p)`` for every parameter."""
    found = {}
    for name, array in p.items():
        found[name] = np.zeros_like(array)
        for k in np.ndindex(array.shape):
            kept = array[k]
            array[k] = kept + step
            above = value(p)
            array[k] = kept - step
            found[name][k] = (above - value(p)) / (2 * step)
            array[k] = kept
    return found


def assert_same(got, want, tolerance=1e-5):
    """Of arrays by name, one that is not there being 0, relative to the largest entry."""
    top = max(np.abs(v).max() for v in want.values())
    for name, value in want.items():
        mine = np.asarray(got[name]) if name in got else 0.0
        assert np.abs(mine - value).max() <= tolerance * top, name
