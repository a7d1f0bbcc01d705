"""How much faster is an epoch in two processes than in one, a thread each?

    python benchmarks/processes.py [--repeats 3] [--epochs 3] [--data emoji] [--root DIR]

Epochs of ``altuna.fit`` (MLA, default encoders, one global batch) in one process, in two of one training,
and in two trainings side by side, which shows what the machine's second core is worth. Each has one thread a
process; medians over repeats of all epochs but the first. Written to ``benchmarks/results/processes.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mla import HERE, environment


def start(options: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Start a training of one thread a process."""
    command = [sys.executable, "-m", "altuna", "fit", *options, "--out", str(out), "--quiet", "--no-report"]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=os.environ | threads, stdout=subprocess.DEVNULL)


def epochs(runs: list[Path]) -> list[float]:
    """Return the seconds of all epochs but the first."""
    found = []
    for run in runs:
        with (run / "log.csv").open() as file:
            found += [float(row["seconds"]) for row in csv.DictReader(file)][1:]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--data", default="emoji")
    parser.add_argument("--root")
    given = parser.parse_args()
    options = ["--data", given.data, "--epochs", str(given.epochs)]
    options += ["--root", given.root] if given.root else []
    kinds = {"one": [[]], "two": [["--devices", "2"]], "side by side": [[], []]}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(given.repeats):
            for kind, trainings in kinds.items():
                runs = [Path(folder) / f"{kind}-{repeat}-{i}" for i in range(len(trainings))]
                started = [start(options + more, run) for more, run in zip(trainings, runs, strict=True)]
                if any(process.wait() for process in started):
                    raise SystemExit(f"a training of {kind} failed")
                seconds[kind] += epochs(runs)
    one, two, beside = (median(seconds[kind]) for kind in kinds)
    figures: dict[str, Any] = {
        "data": given.data,
        "seconds_an_epoch": {"one": one, "two": two, "side by side": beside},
        "speedup": one / two,
        "of_side_by_side": 2 * one / beside,
        "environment": environment(),
    }
    print(json.dumps(figures, indent=2))
    path = HERE / "results" / "processes.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(results | {given.data: figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
