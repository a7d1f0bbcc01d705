"""Methods driven by hand as the loop drives them, on a toy problem."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from altuna import Batch, MultimodalClassifier, methods
from altuna.data.dataset import MultimodalDataset, loader
from altuna.training.loop import Loop

SIZES = {"sound": 5, "picture": 7, "words": 4}
DIM, CLASSES = 6, 3


def model_of(name, modalities=("sound", "picture"), seed=0):
    """A classifier with linear encoders and the method's head."""
    torch.manual_seed(seed)
    encoders = {m: nn.Linear(SIZES[m], DIM) for m in modalities}
    return classifier(methods.get(name), encoders)


def classifier(kind, encoders):
    """The model that a method needs."""
    return MultimodalClassifier(
        encoders, CLASSES, head=kind.head, expert=None if kind.expert == "off" else {}
    )


def method_of(name, modalities=("sound", "picture"), seed=0, **options):
    """The method on such a classifier."""
    return methods.get(name)(model_of(name, modalities, seed), **options)


def batch_of(seed, size=8, modalities=("sound", "picture"), keep=1.0):
    """A batch; with keep < 1 cells are missing."""
    g = torch.Generator().manual_seed(seed)
    inputs, rows = {}, {}
    for m in modalities:
        chosen = (torch.rand(size, generator=g) < keep).nonzero().flatten()
        if len(chosen):
            inputs[m], rows[m] = torch.randn(len(chosen), SIZES[m], generator=g) + 0.5, chosen
    return Batch(inputs, rows, torch.randint(CLASSES, (size,), generator=g), torch.arange(size))


def covered(keep, modalities=("sound", "picture"), size=8):
    """The first batch of ``batch_of`` in which every sample has something, as data sets promise."""
    batches = (batch_of(seed, size, modalities, keep) for seed in range(999))
    return next(b for b in batches if len(torch.cat([*b.rows.values()]).unique()) == size)


def sgd(method, lr=0.1):
    return torch.optim.SGD(method.parameters(), lr)


def step(method, batch, optimizer):
    """What the loop does with a batch; returns the turns taken."""
    loop = Loop(method)
    taken = []
    for turn in method.turns(batch):
        optimizer.zero_grad()
        turn.log["loss"] = loop._backward(turn, batch)
        method.modify_gradients(turn, batch)
        optimizer.step()
        method.after_step(turn, batch)
        taken.append(turn)
    return taken


def gradients(method, batch):
    """The gradients by parameter name, as ``modify_gradients`` of a batch's first turn leaves them."""
    loop = Loop(method)
    method.zero_grad()
    turn = next(iter(method.turns(batch)))
    loop._backward(turn, batch)
    method.modify_gradients(turn, batch)
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


def converged(name, epochs=15, modalities=2, seed=0, **options):
    """Test accuracy of a method, trained by the real loop on informative modalities drawn by the seed."""
    rng = np.random.default_rng(seed)

    def data(n):
        labels = rng.integers(CLASSES, size=n)
        names = list(SIZES)[:modalities]
        arrays = {
            m: (rng.normal(size=(n, SIZES[m])) + 2.5 * np.eye(CLASSES, SIZES[m])[labels]).astype(np.float32)
            for m in names
        }
        return MultimodalDataset(arrays, {m: np.arange(n) for m in names}, labels)

    train, val, test = data(240), data(120), data(400)
    torch.manual_seed(seed)
    encoders = {m: nn.Sequential(nn.Linear(SIZES[m], 16), nn.ReLU()) for m in train.arrays}
    kind = methods.get(name)
    method = kind(classifier(kind, encoders), **options)
    Loop(method, lr=0.01, epochs=epochs).run(loader(train, 32, 0), loader(val, 64))
    model = method.model.eval()
    batch = test[range(len(test))]
    with torch.no_grad():
        predicted = model(batch.inputs).logits.argmax(1)
    return (predicted == batch.labels).float().mean().item()
