"""Does fusion fall below the best modality? All rules on real tables, and on tables made difficult.

    python benchmarks/fusion.py [--data htad watch ...] [--seeds 10] [--icons TABLE]
    python benchmarks/fusion.py --folds 5 --results benchmarks/results/fusion_folds.json

Every training is one by ``late_fusion`` with default options; all rules fuse the same networks. Beside the
built-in sets: HTAD with the accelerometer and 12 single columns of the audio, with 10 columns of noise, with
the accelerometer twice, with 30 % of the cells missing, and with its classes thinned to 100 : 1. A finished
training is not repeated. Written to ``benchmarks/results/fusion.json``; the tables are printed at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.recipes.built_in import find_manifest

RULES = ("evidence", "calibrated_product", "calibrated_entropy", "calibrated_mean")
METRICS = ("accuracy", "macro_f1", "nll", "ece")
SINGLE = 12  # columns of the audio that become modalities of their own
NOISE = 10  # columns of noise


def vectors(table: pa.Table, prefix: str) -> list[str]:
    return [name for name in table.column_names if name.startswith(f"{prefix}.")]


def renamed(table: pa.Table, columns: list[str], name: Callable[[int], str]) -> dict[str, pa.ChunkedArray]:
    return {name(i): table[column] for i, column in enumerate(columns)}


def with_columns(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, values if isinstance(values, pa.ChunkedArray) else pa.array(values))
    return table


def letter(i: int) -> str:
    return chr(ord("a") + i)


def single_numbers(table: pa.Table) -> pa.Table:
    audio = vectors(table, "audio")
    alone = renamed(table, audio[:SINGLE], lambda i: f"number{letter(i)}.x")
    return with_columns(table.drop_columns(audio), alone)


def junk(table: pa.Table) -> pa.Table:
    draws = np.random.default_rng(0).normal(size=(NOISE, len(table)))
    noise = {f"noise{letter(i)}.x": values for i, values in enumerate(draws)}
    return with_columns(table.drop_columns(vectors(table, "audio")), noise)


def twice(table: pa.Table) -> pa.Table:
    columns = vectors(table, "accelerometer")
    return with_columns(table, renamed(table, columns, lambda i: f"again.{i}"))


def missing(table: pa.Table) -> pa.Table:
    gone = np.random.default_rng(0).random((2, len(table))) < 0.3
    gone[1] &= ~gone[0]
    for which, prefix in zip(gone, ("accelerometer", "audio"), strict=True):
        for name in vectors(table, prefix):
            cells = pa.array(table[name].to_numpy(), mask=which)
            table = table.set_column(table.column_names.index(name), name, cells)
    return table


def rare(table: pa.Table) -> pa.Table:
    """Keep the most frequent class whole and, of its rows, one in a hundred of each other class."""
    labels = np.array(table["label"].to_pylist())
    splits = np.array(table["split"].to_pylist())
    names, counts = np.unique(labels[splits == "train"], return_counts=True)
    keep = labels == names[counts.argmax()]
    for split in ("train", "val", "test"):
        most = int((keep & (splits == split)).sum())
        for name in names[names != names[counts.argmax()]]:
            rows = np.flatnonzero((labels == name) & (splits == split))
            keep[rows[: max(2, round(most / 100))]] = True
    return table.filter(pa.array(keep))


VARIANTS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "htad, 12 single numbers": single_numbers,
    "htad, 10 columns of noise": junk,
    "htad, accelerometer twice": twice,
    "htad, 30 % missing": missing,
    "htad, classes 100 : 1": rare,
}
BUILT_IN = ("htad", "htad-sessions", "watch")


def data_of(name: str, folder: Path, icons: Path | None) -> Path:
    if name == "icons":
        assert icons is not None
        return icons
    if name in BUILT_IN:
        return find_manifest(name)
    path = folder / f"{name.replace(' ', '-').replace(',', '').replace(':', '')}.csv"
    pyarrow.csv.write_csv(VARIANTS[name](pyarrow.csv.read_csv(find_manifest("htad"))), path)
    return path


def result(run: Path) -> dict[str, Any]:
    metrics = json.loads((run / "metrics.json").read_text())
    return {
        "n": metrics["n"],
        "modalities": metrics["modalities"],
        "rules": {rule: metrics["fusion"]["rules"][rule] for rule in RULES},
        "weights": metrics["fusion"]["weights"],
        "ece_of_subsets": {name: scores["ece"] for name, scores in metrics["subsets"].items()},
        "val": metrics["val"]["fused"],
        "warnings": metrics["warnings"],
    }


def table(results: dict[str, Any]) -> str:
    """Return Markdown: means over seeds; the gain is evidence minus the modality best in the mean."""
    head = [
        "data",
        "seeds",
        "best alone",
        *RULES,
        "gain",
        "± (2 s.e.)",
        "NLL evidence",
        "NLL product",
        "F1 gain",
    ]
    lines = [head, ["---"] * len(head)]
    for data, runs in results.items():
        scores = [*runs.values()]
        names = [*scores[0]["modalities"]]

        def alone(metric: str, scores: list[Any] = scores, names: list[str] = names) -> list[float]:
            of = {name: [run["modalities"][name][metric] for run in scores] for name in names}
            return max(of.values(), key=mean)

        def fused(rule: str, metric: str, scores: list[Any] = scores) -> list[float]:
            return [run["rules"][rule][metric] for run in scores]

        gains = [a - b for a, b in zip(fused("evidence", "accuracy"), alone("accuracy"), strict=True)]
        error = 2 * stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        f1 = mean(fused("evidence", "macro_f1")) - mean(alone("macro_f1"))
        lines.append(
            [
                data,
                str(len(scores)),
                *(
                    f"{100 * mean(values):.1f}"
                    for values in (alone("accuracy"), *(fused(r, "accuracy") for r in RULES))
                ),
                f"{100 * mean(gains):+.1f}",
                f"{100 * error:.1f}",
                *(f"{mean(fused(rule, 'nll')):.3f}" for rule in RULES[:2]),
                f"{100 * f1:+.1f}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", nargs="+", default=[*BUILT_IN, *VARIANTS], choices=[*BUILT_IN, *VARIANTS, "icons"]
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--icons", type=Path, help="the table that `altuna prepare icons` wrote")
    parser.add_argument("--folds", type=int, help="train this many models on folds")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "fusion.json")
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.results.read_text()) if given.results.exists() else {"results": {}}
    )
    for seed in range(given.seeds):
        for name in given.data:
            done = found["results"].setdefault(name, {})
            if str(seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = data_of(name, Path(folder), given.icons)
                options = {"quiet": True, "report": False, "logger": "none", "threads": 1}
                options |= {"folds": given.folds}
                run = altuna.fit(path, method="late_fusion", seed=seed, out=Path(folder) / "run", **options)
                done[str(seed)] = result(run)
            found["environment"] = environment()
            given.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["results"]))


if __name__ == "__main__":
    main()
