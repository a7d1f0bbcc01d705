"""Accuracy with cells missing in training and test alike: MLA against the baselines.

    python benchmarks/robustness.py --runs FOLDER [--data htad emoji av-digits-hard] [--root AV_DIGITS]
        [--rates 0 0.1 0.2 0.3 0.4 0.5] [--seeds 5] [--jobs 2]

One ``altuna compare`` a data set and rate, sizes and epochs as in ``grid.py``. Started again with the same
folder it goes on. For each rate: every method's test accuracies, its validation at the epoch that was kept,
and whether MLA is the best or within one standard error of the best (of their difference over seeds).
Written to ``benchmarks/results/robustness.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from grid import DATA
from mla import HERE

import altuna
from altuna.comparison.paper import MLA as PAPERS
from altuna.comparison.summary import environment
from altuna.runs.directory import read_json

METHODS: list[Any] = [
    "mla",
    PAPERS,
    "late_fusion",
    "concat",
    {"name": "concat", "impute": "mean"},
    "qmf",
    "modality_dropout",
    "cra",
    "mmin",
]


def figures(out: Path) -> dict[str, dict[str, Any]]:
    """Return each method's fused accuracy by seed, and the mean of what validation said of it.

    Seeds of which any method failed are left out of all.
    """
    found: dict[str, dict[int, tuple[float, ...]]] = {}
    for run in json.loads((out / "compare.json").read_text())["runs"]:
        if run["status"] == "finished":
            accuracy = read_json(out / run["folder"], "metrics.json")["fused"]["accuracy"]
            with (out / run["folder"] / "log.csv").open(newline="") as file:
                kept = min(csv.DictReader(file), key=lambda row: float(row["val/nll/fused"]))
            said = (float(kept[f"val/{figure}/fused"]) for figure in ("nll", "accuracy"))
            found.setdefault(run["method"], {})[run["seed"]] = (accuracy, *said)
    shared = sorted(set.intersection(*(set(of) for of in found.values())))
    return {
        method: {
            "mean": mean(a for a, _, _ in some),
            "seeds": [a for a, _, _ in some],
            "validation": {"nll": mean(n for _, n, _ in some), "accuracy": mean(a for _, _, a in some)},
        }
        for method, of in found.items()
        for some in [[of[seed] for seed in shared]]
    }


def verdict(scores: dict[str, list[float]]) -> dict[str, Any]:
    """Compare MLA with the best method, seed by seed."""
    best = max(scores, key=lambda method: mean(scores[method]))
    behind = [100 * (b - m) for b, m in zip(scores[best], scores["mla"], strict=True)]
    error = stdev(behind) / len(behind) ** 0.5 if len(behind) > 1 else None
    return {
        "best": best,
        "behind": mean(behind),
        "standard_error": error,
        "within_one": best == "mla" or (error is not None and mean(behind) <= error),
    }


def relative_loss(rates: dict[str, Any]) -> dict[str, float]:
    """Return the share of its accuracy that each method loses from no missing cells to the highest rate."""
    if "0.0" not in rates:
        return {}
    low, high = (list(rates.values())[i]["accuracy"] for i in (0, -1))
    return {method: 1 - high[method]["mean"] / low[method]["mean"] for method in low if method in high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["htad"], choices=[*DATA])
    parser.add_argument("--root", type=Path, help="raw files of AV-Digits")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    path = HERE / "results" / "robustness.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in given.data:
        options = DATA[name] | ({"root": given.root} if name.startswith("av-") else {})
        found = results.setdefault(name, {"seeds": given.seeds, "options": DATA[name], "rates": {}})
        for rate in given.rates:
            out = given.runs / f"{name}-{rate}"
            altuna.compare(
                name, methods=METHODS, seeds=given.seeds, jobs=given.jobs, threads=1, missing_rate=rate,
                out=out, quiet=True, **options,
            )  # fmt: skip
            scores = figures(out)
            found["rates"][str(rate)] = {
                "accuracy": scores,
                "mla": verdict({method: of["seeds"] for method, of in scores.items()}),
                "environment": environment(),
            }
            found["rates"] = dict(sorted(found["rates"].items()))
            found["relative_loss"] = relative_loss(found["rates"])
            print(name, rate, found["rates"][str(rate)]["mla"], found["relative_loss"], flush=True)
            path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
