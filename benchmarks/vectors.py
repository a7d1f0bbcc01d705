"""Standardise vectors or encode them piecewise linearly? Late fusion, and forests for comparison.

    python benchmarks/vectors.py --runs FOLDER [--data htad watch digits-views=TABLE ...] [--seeds 5]

Accuracy and NLL on the test split of each modality and of their fusion, validation NLL of the best epoch and
seconds of a fit, with default options. ``NAME=TABLE`` is a table of your own. ``12 numbers`` is HTAD with
twelve of its coefficients as modalities of one number each. scikit-learn's forests see the same vectors, and
their probabilities are fused by calibrated product. Runs in FOLDER are not repeated. Written to
``benchmarks/results/vectors.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet
from mla import HERE
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

import altuna
from altuna.comparison.summary import environment
from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.recipes.built_in import find_manifest

ENCODERS = {
    front_end: {"name": "mlp", "front_end": front_end} for front_end in ("standardise", "piecewise_linear")
}
FORESTS = {
    "extra trees": lambda seed: ExtraTreesClassifier(300, random_state=seed),
    "gradient boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
}
TWELVE = "12 numbers"
Figures = dict[str, dict[str, float]]


def twelve_numbers(folder: Path) -> Path:
    """Write HTAD with the first coefficients of sound as modalities; return the table's path."""
    manifest = read_manifest(find_manifest("htad", None))
    table, (first, *_) = manifest.table, manifest.modalities.values()
    columns = list(first.columns)
    names = [f"sound{chr(97 + i)}.x" if c in columns[:12] else c for i, c in enumerate(columns)]
    table = table.rename_columns(dict(zip(columns, names, strict=True))).drop_columns(columns[12:])
    pyarrow.parquet.write_table(table, folder / "twelve.parquet")
    return folder / "twelve.parquet"


def network(data: str, types: list[str], name: str, seed: int, run: Path) -> tuple[Figures, dict[str, float]]:
    """Return a fit's metrics by modality, and its validation NLL and seconds."""
    if not (run / "metrics.json").exists():
        encoders = dict.fromkeys(types, ENCODERS[name])
        options: dict[str, Any] = {"seed": seed, "out": run, "quiet": True, "report": False}
        altuna.fit(data, method="late_fusion", encoders=encoders, **options)
    metrics = json.loads((run / "metrics.json").read_text())
    log = np.genfromtxt(run / "log.csv", delimiter=",", names=True, deletechars="")
    found = {**metrics["modalities"], "fused": metrics["fused"]}
    return found, {"validation": float(log["val/nll/fused"].min()), "seconds": metrics["cost"]["seconds"]}


def measure(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    at = probabilities[range(len(labels)), labels]
    return {"accuracy": float((probabilities.argmax(1) == labels).mean()), "nll": float(-np.log(at).mean())}


def power(logs: NDArray[Any], exponent: float) -> NDArray[Any]:
    """Return normalised powers of probabilities, given their logarithms."""
    scaled = np.exp(exponent * (logs - logs.max(1, keepdims=True)))
    return np.asarray(scaled / scaled.sum(1, keepdims=True))


def calibrated(logs: dict[str, NDArray[Any]], labels: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return log probabilities with the exponent of the lowest validation NLL."""
    exponents = np.geomspace(0.05, 20, 100)
    best = min(exponents, key=lambda e: measure(power(logs["val"], e), labels["val"])["nll"])
    return {split: np.log(power(some, best).clip(1e-9)) for split, some in logs.items()}


def forest(
    vectors: dict[str, NDArray[Any]], labels: NDArray[Any], rows: dict[str, Any], name: str, seed: int
) -> tuple[Figures, dict[str, float]]:
    """Return a forest's metrics by modality, and its validation NLL and seconds."""
    start, found, opinions = time.perf_counter(), {}, []
    truth = {split: labels[rows[split]] for split in ("val", "test")}
    for modality, x in vectors.items():
        trees = FORESTS[name](seed).fit(x[rows["train"]], labels[rows["train"]])
        logs = {split: np.log(trees.predict_proba(x[rows[split]]).clip(1e-3)) for split in truth}
        opinions.append(calibrated(logs, truth))
        found[modality] = measure(power(opinions[-1]["test"], 1), truth["test"])
    fused = calibrated({split: sum(o[split] for o in opinions) for split in truth}, truth)  # type: ignore[misc]
    found["fused"] = measure(power(fused["test"], 1), truth["test"])
    validation = measure(power(fused["val"], 1), truth["val"])["nll"]
    return found, {"validation": validation, "seconds": time.perf_counter() - start}


def summary(seeds: list[tuple[Figures, dict[str, float]]]) -> dict[str, Any]:
    """Return means over seeds, and the standard deviations of accuracies."""
    modalities = {
        m: {
            "accuracy": mean(f[m]["accuracy"] for f, _ in seeds),
            "sd": stdev(f[m]["accuracy"] for f, _ in seeds) if len(seeds) > 1 else 0.0,
            "nll": mean(f[m]["nll"] for f, _ in seeds),
        }
        for m in seeds[0][0]
    }
    return {**{key: mean(cost[key] for _, cost in seeds) for key in seeds[0][1]}, "modalities": modalities}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["htad", TWELVE, "htad-sessions", "watch"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    path = HERE / "results" / "vectors.json"
    for stated in given.data:
        name, _, data = stated.partition("=")
        data = data or (str(twelve_numbers(given.runs)) if name == TWELVE else name)
        manifest = read_manifest(find_manifest(data, None))
        rows = split_rows(manifest)
        labels = np.asarray(manifest.labels.dictionary_encode().indices)
        vectors = {
            modality: np.stack([manifest.table[c].to_numpy() for c in some.columns], 1).astype(np.float32)
            for modality, some in manifest.modalities.items()
        }
        found = {}
        for encoder in [*ENCODERS, *FORESTS]:
            seeds = []
            for seed in range(1 if encoder == "gradient boosting" else given.seeds):  # that has no randomness
                run = given.runs / f"{name}-{encoder}-{seed}"
                if encoder in ENCODERS:
                    seeds.append(network(data, [*vectors], encoder, seed, run))
                else:
                    seeds.append(forest(vectors, labels, rows, encoder, seed))
            found[encoder] = summary(seeds)
            print(name, encoder, json.dumps(found[encoder]), flush=True)
        results = json.loads(path.read_text()) if path.exists() else {}
        results[name] = {"seeds": given.seeds, "encoders": found, "environment": environment()}
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
