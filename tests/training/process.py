"""Trainings for test_distributed.py; as a script, one of the processes that torchrun starts."""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "methods"))  # as a script
from test_contract import CLASSES, EXPERTS, data, method_for

import altuna
from altuna.core.collectives import processes, rank
from altuna.data.dataset import loader
from altuna.reporting import SILENT, Reporter, TrainingReporter
from altuna.training import loggers
from altuna.training.checkpoints import Checkpoints
from altuna.training.distributed import join
from altuna.training.loop import Loop

EPOCHS, BATCH = 4, 18
# One of each kind: turns, several losses, a memory, teachers, running means, random draws before and after
# encoders run, losses that are held out, and what looks at encoders' weights and gradients.
CASES = {
    **{name: {} for name in ("mla", "late_fusion", "concat", "mmpareto", "qmf", "umt")},
    **{name: {} for name in ("modality_dropout", "mmin", "g_blending", "relearning", "reconboost", "ogm_ge")},
    **{name: {} for name in EXPERTS},  # with a joint expert
    "concat mean": {"impute": "mean"},
    "mla parts": {"micro_batch": 3},
}


def rare():
    """Samples with missing cells; so few have the last modality that batches have one such cell, or none."""
    dataset = data(3, missing=True)
    dataset.position["m2"][6:] = -1
    return dataset.masked(np.ones((3, len(dataset)), dtype=bool))


class Stop(Reporter):
    """Ends a training after two epochs, as Ctrl-C would."""

    def training(self):
        reporter = TrainingReporter()

        def epoch_ends(epoch, metrics):
            if epoch == 1:
                raise KeyboardInterrupt

        reporter.epoch_ends = epoch_ends
        return reporter


def train(folder, method, dataset, before=None, stop=False, micro_batch=None):
    """Train, from the checkpoints of the folder ``before`` if there is one."""
    join()
    method.model.micro_batch = micro_batch
    # Adam would hide a gradient of the wrong size.
    loop = Loop(method, optimizer="sgd", lr=0.1, epochs=EPOCHS)
    folder.mkdir(parents=True, exist_ok=True)
    if before is not None:
        assert Checkpoints(before).resume(loop)
    part = dataset.shared(rank(), processes())
    curves = loggers.build(["tensorboard"], folder, {}, quiet=True)
    with suppress(KeyboardInterrupt):
        loop.run(
            loader(part, BATCH, 0),
            loader(part, BATCH),
            checkpoints=Checkpoints(folder),
            loggers=curves,
            reporter=Stop() if stop else SILENT,
        )
    for logger in curves:
        logger.close(failed=False)
    torch.save(loop.trained_weights(), folder / f"state{rank()}.pt")
    torch.save(loop.progress.history, folder / f"history{rank()}.pt")


def case(folder, case):
    options = dict(CASES[case])
    micro_batch = options.pop("micro_batch", None)
    name = case if case in EXPERTS else case.split()[0]
    method = method_for(name, rare(), **options)
    train(folder / case, method, rare(), micro_batch=micro_batch)


def interrupted(folder, before=None):
    """Train for half the epochs, or the other half."""
    train(folder, method_for("qmf", rare()), rare(), before, before is None)


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


if __name__ == "__main__":
    alone, here = map(Path, sys.argv[1:])
    for name in CASES:
        case(here, name)
    normalised(here / "normalised")
    interrupted(here / "first half")
    interrupted(here / "second half", alone / "first half")
