"""What is each form of the joint expert worth, on a combination of modalities and on real data?

    python benchmarks/joint_expert.py [--data parity htad ...] [--seeds 3]

``parity``: two modalities, each one of ten prototypes with noise; the label is whether the sum of the two
digits is odd. Default options, fits one after the other. Means over seeds, and every seed's metrics, are
written to ``benchmarks/results/joint_expert.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from mla import HERE

import altuna
from altuna.comparison.summary import environment

METHODS = ("late_fusion", "mla")
FORMS = ("off", "detached", "turn", "apart")
PARITY = "parity"
ROWS = {"train": 1000, "val": 300, "test": 700}
SIZE, NOISE = 16, 0.5


def write_parity(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(2, 10, SIZE))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{m}_{i}" for m in ("left", "right") for i in range(SIZE)]
        writer.writerow(["id", "split", "label", *names])
        for split, rows in ROWS.items():
            for i in range(rows):
                digits = rng.integers(10, size=2)
                x = prototypes[[0, 1], digits] + NOISE * rng.normal(size=(2, SIZE))
                writer.writerow([f"{split}{i}", split, ("even", "odd")[digits.sum() % 2], *x.flatten()])


def fit(data: str, method: str, form: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return the metrics of a fit that the results keep."""
    if data == PARITY:
        data = str(folder / f"parity-{seed}.csv")
        if not Path(data).exists():
            write_parity(Path(data), seed)
    options: dict[str, Any] = {"seed": seed, "quiet": True, "report": False, "logger": "none"}
    run = altuna.fit(
        data, method=method, joint_expert=form, out=folder / f"{method}-{form}-{seed}", **options
    )
    metrics = json.loads((run / "metrics.json").read_text())
    rules, fusion = metrics["fusion"]["rules"], metrics["fusion"]
    return {
        "accuracy": metrics["fused"]["accuracy"],
        "nll": metrics["fused"]["nll"],
        "alone": {m: scores["accuracy"] for m, scores in metrics["modalities"].items()},
        "joint": rules["joint"]["accuracy"] if form != "off" else None,
        "weights": fusion["weights"],
        "joint_weight": fusion["joint_weight"],
        "seconds": metrics["cost"]["seconds"],
        "epochs": metrics["cost"]["epochs"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[PARITY, "htad"])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    path = HERE / "results" / "joint_expert.json"
    for data in given.data:
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            runs = {
                (method, form): [fit(data, method, form, seed, Path(folder)) for seed in range(given.seeds)]
                for method in METHODS
                for form in FORMS
            }
        for (method, form), seeds in runs.items():
            means = {key: mean(one[key] for one in seeds) for key in ("accuracy", "nll", "seconds")}
            spread = stdev(one["accuracy"] for one in seeds) if len(seeds) > 1 else 0.0
            found.setdefault(method, {})[form] = {**means, "sd": spread, "seeds": seeds}
            shown = f"{100 * means['accuracy']:.1f} ± {100 * spread:.1f}, NLL {means['nll']:.3f}"
            alone = mean(one["joint"] or 0 for one in seeds)
            print(data, method, form, shown, f"{means['seconds']:.1f} s, expert alone {100 * alone:.1f}")
        results = json.loads(path.read_text()) if path.exists() else {}
        results[data] = {"methods": found, "environment": environment()}
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
