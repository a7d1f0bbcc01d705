"""Does a missing cell cost anything? An epoch with half of the cells missing against a complete one.

    python benchmarks/missing.py

Emoji (picture and name), MLA, default encoders: one epoch of each in turn, in one process, five times.
CPM-Nets masks leave every sample one of its two modalities. Written to ``benchmarks/results/missing.json``.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

import torch
from mla import HERE

from altuna.comparison.summary import environment
from altuna.data.dataset import loader
from altuna.data.missing.patterns import missing_mask
from altuna.recipes.built_in import find_manifest
from altuna.training.config import FitConfig
from altuna.training.loop import Loop
from altuna.training.setup import prepare

ROUNDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(FitConfig(), find_manifest("emoji"), Path(folder))
        train, val = (prepared.splits[split].dataset for split in ("train", "val"))
        data = {
            "complete": (train, val),
            "half missing": tuple(d.masked(missing_mask(d.present, 0.5)) for d in (train, val)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in data}
        for _ in range(ROUNDS):
            for name, (some, few) in data.items():
                loop = Loop(prepared.method, epochs=2)  # the first warms up
                loop.run(loader(some, 64, 0), loader(few, 64))
                seconds[name].append(loop.progress.history[-1]["seconds"])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = median["half missing"] / median["complete"]
    cells = {name: int(some.present.sum()) for name, (some, _) in data.items()}
    print(f"{median}, cells {cells}, ratio {ratio:.2f}")
    results = {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "seconds": seconds,
        "cells": cells,
        "ratio_of_medians": ratio,
    }
    (HERE / "results" / "missing.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
