"""The command a newcomer types, `altuna fit`, with five seeds: how long it takes and what it reaches.

    python benchmarks/emoji.py

Each run is a process of its own with an empty cache, so its seconds are all that a person waits: imports,
decoding, training, testing, the report. Written to ``benchmarks/results/emoji.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mla import HERE

from altuna.comparison.summary import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "emoji.json")
    arguments = parser.parse_args()
    runs = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            command = [sys.executable, "-m", "altuna", "fit", "--seed", str(seed), "--out", str(out)]
            started = time.perf_counter()
            subprocess.run(
                command,
                check=True,
                env={**os.environ, "ALTUNA_CACHE": folder},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            seconds = round(time.perf_counter() - started, 1)
            metrics = json.loads((out / "metrics.json").read_text())
        runs.append({"seed": seed, "seconds": seconds, "metrics": metrics})
        single = {name: round(m["accuracy"], 3) for name, m in metrics["modalities"].items()}
        fused = metrics["fused"]["accuracy"]
        print(f"seed {seed}: {seconds} s, {single}, fused {fused:.3f}", flush=True)
    results = {"environment": environment(), "runs": runs}
    arguments.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
