"""Between the toy methods of ``driver`` and their float64 references."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from methods.driver import SIZES, batch_of
from references.samples import arrays, numeric_gradients

from altuna.core.heads import ConcatHead

cases = pytest.mark.parametrize(
    ("modalities", "keep"),
    [(2, 1.0), (2, 0.6), (3, 1.0), (3, 0.6)],
    ids=["two", "two-missing", "three", "three-missing"],
)


def names(number):
    return tuple(SIZES)[:number]


def numbers(tensor):
    return tensor.detach().double().numpy().copy()


def parameters_of(method):
    """The encoders' and the head's parameters: a concat head's as one (W, b), others' by modality."""
    model = method.model
    encoders = {
        m: (numbers(e.weight), numbers(e.bias)) for m, e in zip(model.modalities, model.encoders, strict=True)
    }
    if isinstance(model.head, ConcatHead):
        return {"encoders": encoders, "head": tuple(numbers(p) for p in model.head.linear.parameters())}
    linears = zip(model.modalities, model.head.linears, strict=True)
    return {"encoders": encoders, "head": {m: tuple(numbers(p) for p in e.parameters()) for m, e in linears}}


def arrays_of(batch):
    return {
        "x": {m: numbers(x) for m, x in batch.inputs.items()},
        "rows": {m: r.numpy() for m, r in batch.rows.items()},
        "y": batch.labels.numpy(),
        "indices": batch.indices.numpy(),
    }


def batch_for(modalities, keep, seed=3, size=8):
    batch = batch_of(seed, size, names(modalities), keep)
    assert (keep == 1.0) == all(len(r) == size for r in batch.rows.values())
    return batch


def assert_same(got, want, tolerance=1e-5):
    """Two lists of arrays agree, relative to the largest entry of all."""
    scale = max(np.abs(w).max() for w in want)
    assert scale > 0
    for g, w in zip(got, want, strict=True):
        assert np.abs(np.asarray(g, dtype=float) - w).max() <= tolerance * scale


def loss_of(method, batch):
    """The loss of the batch's first turn."""
    losses = method.loss(next(iter(method.turns(batch))), batch)
    return sum(losses.values()) if isinstance(losses, dict) else losses


def assert_agrees(method, batch, reference):
    """The loss and its gradients are those of ``reference(parameters, batch, constants)``.

    ``constants`` are the parameters from which what is held constant is computed.
    """
    parameters, inputs = parameters_of(method), arrays_of(batch)
    constants = copy.deepcopy(parameters)
    want = numeric_gradients(lambda: reference(parameters, inputs, constants), parameters)
    loss = loss_of(method, batch)
    method.zero_grad()
    loss.backward()
    assert_same([loss.item()], [np.array(reference(parameters, inputs, constants))])
    encoders = [p for e in method.model.encoders for p in e.parameters()]
    got = [p.grad for p in (*encoders, *method.model.head.parameters())]
    assert len(got) == len(arrays(parameters))
    assert_same([np.zeros(w.shape) if g is None else g.numpy() for g, w in zip(got, want, strict=True)], want)
