"""Is every subset of the modalities calibrated? The ECE, and what a calibrated model would show.

    python benchmarks/calibration.py [--data htad watch ...] [--seeds 10] [--folds 5]

The ECE of few samples is above 0 even if all probabilities are right. Beside each ECE is the mean ECE of
labels that are drawn from the predicted probabilities themselves (``ECE if calibrated``). The method is
``late_fusion``. Data are tested with the splits that their tables state, and with splits that each seed draws
by group (``drawn``). A finished training is not repeated. Written to ``benchmarks/results/calibration.json``;
the table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from ideas import table_of
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.core.subsets import subsets
from altuna.evaluation.metrics import classification_metrics
from altuna.runs.data import open_split
from altuna.runs.directory import read_config

DATA = ("htad", "htad, drawn", "watch", "watch, drawn", "digits-views", "digits-views, drawn")
DRAWS = 20


@torch.no_grad()
def calibration(run: Path) -> dict[str, dict[str, float]]:
    """Return the ECE of each subset of modalities on the test split, and what it would be if calibrated."""
    predictor = altuna.load(run, "cpu")
    samples = open_split(predictor.description, read_config(run), split="test").samples
    features = predictor.features(samples.dataset)
    rng = torch.Generator().manual_seed(0)
    found = {}
    for subset in subsets(predictor.modalities):
        here = features.present(subset).all(0)
        some, _ = features.restricted(subset, here.expand(len(subset), -1))
        outputs = predictor.model.outputs_of(some.of, some.rows, len(some.labels))
        probabilities = predictor.model.fuse(outputs).probabilities.double()
        drawn = torch.multinomial(probabilities, DRAWS, replacement=True, generator=rng).T
        found["+".join(subset)] = {
            "ece": classification_metrics(probabilities, some.labels)["ece"],
            "ece_if_calibrated": mean(classification_metrics(probabilities, y)["ece"] for y in drawn),
            "samples": len(some.labels),
        }
    return found


def table(results: dict[str, Any]) -> str:
    """Return Markdown: the subset of each data set with the largest ECE, in the mean over seeds."""
    head = ["data", "seeds", "test samples", "largest ECE", "ECE if calibrated", "of", "subsets above 0.05"]
    lines = [head, ["---"] * len(head)]
    for data, runs in results.items():
        names = [*runs["0"]]
        means = {
            name: {
                key: mean(run[name][key] for run in runs.values() if name in run) for key in runs["0"][name]
            }
            for name in names
        }
        worst = max(names, key=lambda name: means[name]["ece"])
        above = sum(one["ece"] > 0.05 for one in means.values())
        cells = [
            f"{means[worst]['samples']:.0f}",
            *(f"{means[worst][k]:.3f}" for k in ("ece", "ece_if_calibrated")),
        ]
        lines.append([data, str(len(runs)), *cells, worst, f"{above} of {len(names)}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folds", type=int, help="train this many models on folds")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "calibration.json")
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.results.read_text()) if given.results.exists() else {"results": {}}
    )
    for seed in range(given.seeds):
        for name in given.data:
            key = name + (f", {given.folds} folds" if given.folds else "")
            done = found["results"].setdefault(key, {})
            if str(seed) in done:
                continue
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                data, *drawn = name.split(", ")
                path = table_of(data, folder) if drawn else data
                options: dict[str, Any] = {"quiet": True, "report": False, "logger": "none", "threads": 1}
                options |= {"folds": given.folds, "seed": seed}
                done[str(seed)] = calibration(
                    altuna.fit(path, method="late_fusion", out=folder / "run", **options)
                )
            found["environment"] = environment()
            given.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["results"]))


if __name__ == "__main__":
    main()
