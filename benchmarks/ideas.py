"""Is there a training that beats separate heads, by more than chance?

    python benchmarks/ideas.py [--data htad watch ...] [--ideas mla folds ...] [--seeds 10]

Separate heads is ``late_fusion`` with default options, fused by ``calibrated_product``. Each idea is another
training of the same encoders, fused by the rule that altuna chooses for it. The splits that the tables state
are not used: each seed draws its own by group, so that over the seeds every group is tested. Differences are
tested by groups and seeds, with Holm's correction over the ideas of a data set. A finished training is not
repeated. Written to ``benchmarks/results/ideas.json``; the tables are printed at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
from mla import HERE
from numpy.typing import NDArray

import altuna
from altuna.comparison.summary import environment
from altuna.evaluation.significance import compare_means, holm
from altuna.recipes.built_in import find_manifest

BASE, PRODUCT = "separate heads", "calibrated_product"
IDEAS: dict[str, dict[str, Any]] = {
    BASE: {},
    "mla, the paper's": {"method": {"name": "mla", "reset": "never", "order": "given"}},
    "mla, default": {"method": "mla"},
    "concat": {"method": "concat"},
    "joint expert, detached": {"joint_expert": "detached"},
    "joint expert, turn": {"joint_expert": "turn"},
    "joint expert, apart": {"joint_expert": "apart"},
    "trees and logistic": {"estimators": "extra_trees,logistic"},
    "5 folds": {"folds": 5},
    "5 folds, joint expert, trees": {
        "folds": 5,
        "joint_expert": "apart",
        "estimators": "extra_trees,logistic",
    },
}
DATA = ("htad", "watch", "digits-views")


def table_of(data: str, folder: Path) -> Path:
    """Write the table without its splits; return its path."""
    path = folder / f"{data}.parquet"
    if not path.exists():
        source = find_manifest(data)
        read = pyarrow.csv.read_csv if source.suffix == ".csv" else pyarrow.parquet.read_table
        pyarrow.parquet.write_table(read(source).drop_columns("split"), path)
    return path


def groups_of(path: Path) -> dict[str, str]:
    """Return the group of each sample, or the sample itself."""
    table = pyarrow.parquet.read_table(path)
    ids = table["id"].to_pylist()
    return dict(zip(ids, table["group"].to_pylist() if "group" in table.column_names else ids, strict=True))


def right(run: Path, ids: Iterable[str]) -> str:
    """Return a character for each sample: whether its prediction is right, or a dot if it is not in test."""
    found = pyarrow.parquet.read_table(run / "predictions.parquet", columns=["id", "label", "prediction"])
    tested = {row["id"]: "01"[row["label"] == row["prediction"]] for row in found.to_pylist()}
    return "".join(tested.get(one, ".") for one in ids)


def train(data: Path, idea: str, seed: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is kept of a training, for each name in the tables."""
    options: dict[str, Any] = {"method": "late_fusion", "seed": seed, "quiet": True, "report": False}
    options |= {"logger": "none", "threads": 1, **IDEAS[idea]}
    rules = (PRODUCT, None) if idea == BASE else (None,)
    kept = {}
    for rule in rules:
        run = folder / f"run-{rule}"
        altuna.fit(data, out=run, **options, **({"fusion": rule} if rule else {}))
        metrics = json.loads((run / "metrics.json").read_text())
        kept[idea if rule or idea != BASE else f"{idea}, evidence"] = {
            "right": right(run, groups_of(data)),
            "nll": metrics["fused"]["nll"],
            "seconds": metrics["cost"]["seconds"],
        }
    return kept


def matrix(runs: dict[str, Any]) -> NDArray[np.float64]:
    """Return whether each sample was right [seeds, samples], NaN where a seed does not test it."""
    value = {"0": 0.0, "1": 1.0, ".": np.nan}
    return np.array([[value[one] for one in run["right"]] for run in runs.values()])


def report(found: dict[str, Any], groups: dict[str, str]) -> str:
    """Return a Markdown table: each training against separate heads."""
    base, codes = matrix(found[BASE]), [*groups.values()]
    names = [name for name in found if name != BASE and [*found[name]] == [*found[BASE]]]
    against = {name: compare_means(matrix(found[name]), base, groups=codes) for name in names}
    adjusted = dict(zip(names, holm([found.p for found in against.values()]), strict=True))
    head = [
        "training",
        "seeds",
        "accuracy",
        "difference",
        "95 %",
        "p",
        "p, Holm",
        "detectable",
        "NLL",
        "seconds",
    ]
    lines = [head, ["---"] * len(head)]
    for name, runs in found.items():
        scores = f"{100 * np.nanmean(matrix(runs)):.1f}"
        nll, seconds = (np.mean([run[key] for run in runs.values()]) for key in ("nll", "seconds"))
        versus = [""] * 5
        if name in against:
            d = against[name]
            interval = f"{100 * d.low:+.2f} to {100 * d.high:+.2f}"
            versus = [f"{100 * d.mean:+.2f}", interval, f"{d.p:.4f}", f"{adjusted[name]:.4f}"]
            versus.append(f"{100 * d.detectable:.2f}")
        lines.append([name, str(len(runs)), scores, *versus, f"{nll:.3f}", f"{seconds:.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=DATA)
    parser.add_argument("--ideas", nargs="+", default=[*IDEAS], choices=[*IDEAS])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "ideas.json")
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.results.read_text()) if given.results.exists() else {"results": {}}
    )
    with tempfile.TemporaryDirectory() as temporary:
        tables = {data: table_of(data, Path(temporary)) for data in given.data}
        for seed in range(given.seeds):
            for data, path in tables.items():
                done = found["results"].setdefault(data, {})
                for idea in given.ideas:
                    if str(seed) in done.get(idea, {}):
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        for name, kept in train(path, idea, seed, Path(folder)).items():
                            done.setdefault(name, {})[str(seed)] = kept
                    found["environment"] = environment()
                    given.results.write_text(json.dumps(found) + "\n")
        for data, path in tables.items():
            groups = groups_of(path)
            tested = len(set(groups.values()))
            print(f"\n{data}: {len(groups)} samples in {tested} groups\n")
            print(report(found["results"][data], groups))


if __name__ == "__main__":
    main()
