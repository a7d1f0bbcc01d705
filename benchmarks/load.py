"""How much slower is a small training beside other work? Threads of small steps wait for each other.

    python benchmarks/load.py [--others 0 4] [--repeats 3]

Two epochs of six vector modalities, with the threads that altuna chooses (one, for steps this small) and
with two, alone and beside processes that compute all the time. Each training has a process of its own.
Medians of wall-clock seconds and processor seconds of the epochs. ``lost`` is how many times longer it took
than with the better number of threads under the same load: what a wrong choice costs. No choice helps against
the load itself: with equal shares of the cores, a process with one thread takes ``fair`` times as long.
Written to ``benchmarks/results/load.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mla import HERE

from altuna.comparison.summary import environment

MODALITIES, SIZE, ROWS, EPOCHS = 6, 20, 4000, 2
BUSY = "import numpy as np\nx = np.random.rand(200, 200)\nwhile True: x = np.tanh(x @ x / 200)"
TRAIN = """
import json, sys, time, altuna
from altuna.training.loop import Loop
run = Loop.run
def timed(self, *args, **options):
    wall, cpu = time.perf_counter(), time.process_time()
    run(self, *args, **options)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
Loop.run = timed
threads = {"threads": int(sys.argv[3])} if sys.argv[3] != "auto" else {}
given = {"epochs": int(sys.argv[4]), "quiet": True, "report": False, "logger": "none", **threads}
altuna.fit(sys.argv[1], out=sys.argv[2], **given)
"""


def write_table(path: Path) -> None:
    draws = np.random.default_rng(0)
    labels = draws.integers(5, size=ROWS)
    columns = {
        f"{'abcdef'[m]}.{i}": draws.normal(size=ROWS) + labels for m in range(MODALITIES) for i in range(SIZE)
    }
    lines = zip(*columns.values(), strict=True)
    rows = (
        f"c{label},{','.join(f'{v:.3f}' for v in line)}" for label, line in zip(labels, lines, strict=True)
    )
    path.write_text("\n".join([f"label,{','.join(columns)}", *rows]) + "\n")


@contextmanager
def beside(others: int) -> Iterator[None]:
    """Let so many other processes compute."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    busy = [subprocess.Popen([sys.executable, "-c", BUSY], env=alone) for _ in range(others)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--others", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "load.json")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(table)
        for others in given.others:
            measured: dict[str, dict[str, float]] = {}
            with beside(others):
                for threads in ("auto", "2"):
                    times = []
                    for number in range(given.repeats):
                        out = Path(folder) / f"run-{others}-{threads}-{number}"
                        command = [sys.executable, "-c", TRAIN, str(table), str(out), threads, str(EPOCHS)]
                        done = subprocess.run(command, check=True, capture_output=True, text=True)
                        times.append(json.loads(done.stdout.splitlines()[-1]))
                    wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
                    fair = max(1.0, (others + 1) / cores)
                    measured[f"{others} others, threads {threads}"] = {"wall": wall, "cpu": cpu, "fair": fair}
            for name, of in measured.items():
                of["lost"] = of["wall"] / min(one["wall"] for one in measured.values())
                print(f"{name}: {of['wall']:.2f} s, processor {of['cpu']:.2f} s, lost {of['lost']:.2f} times")
            found |= measured
    given.results.write_text(json.dumps({"results": found, "environment": environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
