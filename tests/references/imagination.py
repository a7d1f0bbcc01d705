"""CRA (Tran et al., 2017) and MMIN (Zhao et al., 2021) on linear encoders, in float64, sample by sample."""

from __future__ import annotations

import numpy as np

from references.joint import cross_entropy, linear


def thinned(cells, lots, rate):
    """What is left of samples {modality: input} without the cells whose lots[modality][sample] are low."""
    found = []
    for b, sample in enumerate(cells):
        left = {i: x for i, x in sample.items() if lots[i][b] >= rate}
        luckiest = max(sample, key=lambda i: lots[i][b])
        found.append(left or {luckiest: sample[luckiest]})
    return found


def network(p, name, x):
    for k in (0, 2, 4):
        x = linear(p, f"{name}.{k}", x)
        x = np.maximum(x, 0) if k < 4 else x
    return x


def cascade(p, name, x, blocks):
    """What a cascade makes of [d], and its latent vectors."""
    latents = []
    for k in range(blocks):
        latents.append(network(p, f"{name}.encoders.{k}", x))
        x = x + network(p, f"{name}.decoders.{k}", latents[-1])
    return x, np.concatenate(latents)


def loss(p, constants, cells, seen, labels, modalities, weight, cycle=None):
    """CRA's loss, or MMIN's if ``cycle`` is given. What is to be found comes from ``constants``."""
    logits, found, back = [], [], []
    for sample, some in zip(cells, seen, strict=True):
        d = len(p["model.encoders.0.bias"])
        h = {i: linear(p, f"model.encoders.{i}", x) for i, x in some.items()}
        truth = {i: linear(constants, f"model.encoders.{i}", x) for i, x in sample.items()}
        given = np.concatenate([h.get(i, np.zeros(d)) for i in range(modalities)])
        imagined, latents = cascade(p, "model.head.cascade", given, 3 if cycle is None else 5)
        parts = dict(enumerate(imagined.reshape(modalities, d)))
        found += [(parts[i] - truth[i]) ** 2 for i in sample if i not in some]
        if cycle is None:
            code = np.concatenate([h.get(i, parts[i]) for i in range(modalities)])
        else:
            code = latents
            others = [parts[i] if i not in some else np.zeros(d) for i in range(modalities)]
            again = cascade(p, "back", np.concatenate(others), 5)[0].reshape(modalities, d)
            back += [(again[i] - truth[i]) ** 2 for i in some if len(some) < modalities]
        logits.append(linear(p, "model.head.linear", code))
    total = cross_entropy(logits, labels) + weight * (np.mean(found) if found else 0)
    return total + (cycle * np.mean(back) if back else 0)
