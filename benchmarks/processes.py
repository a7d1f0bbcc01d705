"""How much faster is a training in two processes than in one, a thread each?

    python benchmarks/processes.py [--repeats 3] [--batches 6] [--rows 16] [--data NAME --root DIR]

MLA on the pair of ResNet-18 of ``step.py`` or, with ``--data``, by ``altuna fit`` with default encoders: in
one process, in two of one training with the same global batch, and in two trainings side by side, which shows
what the machine's second core is worth. Medians over repeats and batches (of a data set: epochs), the first
left out. Written to ``benchmarks/results/processes.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mla import HERE
from step import AUTO, CLASSES, SOUND_AND_FRAMES, resnets

import altuna
from altuna.comparison.summary import environment
from altuna.core.batch import Batch
from altuna.core.collectives import processes, rank
from altuna.data.dataset import MultimodalDataset, loader
from altuna.methods.mla import MLA
from altuna.training.distributed import join
from altuna.training.loop import Loop

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


class Timed(Loop):
    """A loop that notes how long each batch took."""

    seconds: list[float]

    def train_batch(self, batch: Batch) -> None:
        start = time.perf_counter()
        super().train_batch(batch)
        self.seconds.append(time.perf_counter() - start)


def samples(rows: int) -> MultimodalDataset:
    random = np.random.default_rng(0)
    arrays = {m: random.normal(size=(rows, *s)).astype(np.float32) for m, s in SOUND_AND_FRAMES.items()}
    return MultimodalDataset(
        arrays, dict.fromkeys(arrays, np.arange(rows)), random.integers(CLASSES, size=rows)
    )


def train_pair(out: Path, rows: int, batches: int) -> None:
    """Train the pair, in as many processes as were started, and write the seconds of each batch."""
    join()
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    method = MLA(altuna.MultimodalClassifier(resnets(), CLASSES))
    loop = Timed(method, optimizer="sgd", precision=AUTO)
    loop.seconds = []
    train, val = (samples(n).shared(rank(), processes()) for n in (rows * batches, 2))
    loop.run(loader(train, rows, 0), loader(val, rows))
    if rank() == 0:
        (out / "seconds.json").write_text(json.dumps(loop.seconds))


def seconds_of(run: Path) -> list[float]:
    """Return the seconds of a run's batches or epochs."""
    if (run / "seconds.json").exists():
        found: list[float] = json.loads((run / "seconds.json").read_text())
        return found
    with (run / "log.csv").open() as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, default=6, help="or epochs, of a data set")
    parser.add_argument("--rows", type=int, default=16, help="of a batch of the pair")
    parser.add_argument("--data", default="")
    parser.add_argument("--root", default="")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "processes.json")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.out:
        train_pair(given.out, given.rows, given.batches)
        return
    if given.data:
        training = ["-m", "altuna", "fit", "--data", given.data, "--epochs", str(given.batches)]
        training += ["--quiet", "--no-report"] + ["--root", given.root] * bool(given.root)
        together = [*training, "--devices", "2"]
    else:
        training = [__file__, "--rows", str(given.rows), "--batches", str(given.batches)]
        together = [*TORCHRUN, *training]
    kinds = {"one": [training], "two": [together], "side by side": [training, training]}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(given.repeats):
            for kind, commands in kinds.items():
                runs = [Path(folder) / f"{kind}-{repeat}-{i}" for i in range(len(commands))]
                started = []
                for command, run in zip(commands, runs, strict=True):
                    whole = [sys.executable, *command, "--out", str(run)]
                    started.append(
                        subprocess.Popen(whole, env=os.environ | THREADS, stdout=subprocess.DEVNULL)
                    )
                if any(process.wait() for process in started):
                    raise SystemExit(f"a training of {kind} failed")
                for run in runs:
                    seconds[kind] += seconds_of(run)[1:]
                print(kind, [round(s, 2) for s in seconds[kind]], flush=True)
    one, two, beside = (median(seconds[kind]) for kind in kinds)
    name = given.data or f"resnet18-{given.rows}"
    figures: dict[str, Any] = {
        "seconds_an_epoch" if given.data else "seconds_a_batch": {
            "one": one,
            "two": two,
            "side by side": beside,
        },
        "repeats": given.repeats,
        "speedup": one / two,
        "of_side_by_side": 2 * one / beside,
        "environment": environment(),
    }
    print(name, json.dumps(figures, indent=2))
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    given.results.write_text(json.dumps(results | {name: figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
