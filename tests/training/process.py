"""Trainings for test_distributed.py; as a script, one of the processes that torchrun starts."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pytorch_lightning import Callback
from test_contract import CLASSES, data, method_for

import altuna
from altuna.core.collectives import rank
from altuna.training import loggers
from altuna.training.config import FitConfig
from altuna.training.loop import Training
from altuna.training.processes import join
from altuna.training.stages import _fit, _trainer, calm

EPOCHS, BATCH = 4, 18
# One of each kind: turns, several losses, a memory, teachers, running means, random draws before and after
# encoders run, losses that are held out, and what looks at encoders' weights and gradients.
CASES = {
    **{name: {} for name in ("mla", "late_fusion", "concat", "mmpareto", "qmf", "umt")},
    **{name: {} for name in ("modality_dropout", "mmin", "g_blending", "relearning", "reconboost", "ogm_ge")},
    "concat mean": {"impute": "mean"},
    "mla parts": {"micro_batch": 3},
}
# Those trained with split encoders as well: turns, a joint head, a memory, teachers, several losses.
SPLIT = ("mla", "concat mean", "qmf", "umt", "g_blending")


def rare():
    """Samples with missing cells; so few have the last modality that batches have one such cell, or none."""
    dataset = data(3, missing=True)
    dataset.position["m2"][6:] = -1
    return dataset.masked(np.ones((3, len(dataset)), dtype=bool))


class Halves(Callback):
    """Note the share of the encoders' numbers that this process has, in weights, gradients and momentum."""

    def on_train_end(self, trainer, training):
        (optimizer,) = trainer.optimizers
        self.shares = []
        for p in (p for p in training.method.model.encoders.parameters() if p.requires_grad):
            tensors = [t for t in (p, p.grad, optimizer.state[p].get("momentum_buffer")) if t is not None]
            self.shares += [t.to_local().numel() / t.numel() for t in tensors]


class Stop(Callback):
    def on_train_epoch_end(self, trainer, training):
        trainer.should_stop = trainer.current_epoch == 1


def train(folder, method, dataset, checkpoint=None, stop=False, micro_batch=None, strategy="ddp"):
    calm()
    join()
    options = FitConfig(
        epochs=EPOCHS, precision="32-true", accelerator="cpu", batch_size=BATCH, micro_batch=micro_batch
    )
    method.model.micro_batch = micro_batch
    # Adam would hide a gradient of the wrong size.
    training = Training(method, optimizer="sgd", lr=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = _trainer(folder, options, quiet=True)
    trainer.callbacks += [Stop()] * stop
    halves = Halves()
    trainer.callbacks += [halves] * (strategy == "fsdp")
    trainer.loggers = loggers.build(["tensorboard", "csv"], folder, {}, quiet=True)
    split = SimpleNamespace(dataset=dataset)
    _fit(
        trainer,
        training,
        SimpleNamespace(splits={"train": split, "val": split}, stream=None),
        options,
        checkpoint,
        strategy=strategy,
    )
    if strategy == "fsdp":
        torch.save(halves.shares, folder / f"shares{rank()}.pt")
    torch.save(training.state_dict(), folder / f"state{rank()}.pt")
    torch.save(training.history, folder / f"history{rank()}.pt")


def case(folder, case, strategy="ddp"):
    options = dict(CASES[case])
    micro_batch = options.pop("micro_batch", None)
    method = method_for(case.split()[0], rare(), **options)
    train(folder / case, method, rare(), micro_batch=micro_batch, strategy=strategy)


def interrupted(folder, checkpoint=None, strategy="ddp"):
    """Train for half the epochs, or the other half."""
    train(folder, method_for("qmf", rare()), rare(), checkpoint, checkpoint is None, strategy=strategy)


def normalised(folder):
    """Train what draws in its encoders, and normalises in them; and a layer that is left out at random."""

    class Sometimes(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) if torch.rand(()) < 0.5 else x

    dataset = data(2, missing=True)
    torch.manual_seed(0)
    encoders = {
        m: torch.nn.Sequential(
            torch.nn.Linear(a.shape[1], 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), Sometimes(8, 8)
        )
        for m, a in dataset.arrays.items()
    }
    # Which draws numbers after its encoders did, differently many in each process.
    model = altuna.MultimodalClassifier(encoders, CLASSES, head="mmin")
    train(folder, altuna.methods.get("mmin")(model), dataset)


class Stack(torch.nn.Module):
    """Layers as a transformer has them, and a buffer that no state has."""

    def __init__(self, size):
        super().__init__()
        self.first, self.out_features = torch.nn.Linear(size, 6), 6
        self.layers = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(3))
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = x + self.scale * layer(x).tanh()
        return x


def stacked(folder, strategy="ddp"):
    """A stack, the same frozen, and an encoder without parameters."""
    dataset = rare()
    sizes = {m: a.shape[1] for m, a in dataset.arrays.items()}
    torch.manual_seed(0)
    kinds = [Stack(sizes["m0"]), Stack(sizes["m1"]).requires_grad_(False), torch.nn.Identity()]
    encoders = dict(zip(sizes, kinds, strict=True))
    model = altuna.MultimodalClassifier(encoders, CLASSES, feature_sizes=sizes | {"m0": 6, "m1": 6})
    train(folder, altuna.methods.get("mla")(model), dataset, strategy=strategy)


if __name__ == "__main__":
    alone, here = map(Path, sys.argv[1:])
    for name in CASES:
        case(here, name)
    normalised(here / "normalised")
    interrupted(here / "first half")
    interrupted(here / "second half", alone / "first half" / "checkpoints" / "last.ckpt")
    for name in SPLIT:
        case(here / "split", name, "fsdp")
    stacked(here / "split" / "stacked", "fsdp")
    interrupted(here / "split" / "first half", strategy="fsdp")
    interrupted(here / "split" / "second half", alone / "first half" / "checkpoints" / "last.ckpt", "fsdp")
