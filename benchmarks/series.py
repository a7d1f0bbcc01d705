"""Which encoder of series? The four of altuna, and feature vectors of the same series for comparison.

    pip install --no-deps aeon
    python benchmarks/series.py --runs FOLDER [--data watch vowels] [--encoders inception gru ...] [--seeds 3]

``watch``: windows of 100 steps of an accelerometer and a gyroscope, split by person (built-in data; the
vectors are statistics and band energies). ``vowels``: Japanese Vowels (Kudo et al., 1999), 7 to 29 steps of
12 channels, 9 speakers, its published test rows and a fifth of its training rows for validation; the package
``aeon`` carries it. Its vectors are the mean, standard deviation, minimum and maximum of each channel.

Accuracy and NLL on the test split of late fusion with default options, validation NLL of the best epoch, and
seconds of a fit with one thread, beside other work. Runs in FOLDER are not repeated. Written to
``benchmarks/results/series.json``.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import distribution
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from mla import HERE

import altuna
from altuna.comparison.summary import environment

RESULT = HERE / "results" / "series.json"
ENCODERS: dict[str, dict[str, Any]] = {
    "inception": {"name": "inception"},
    "inception, 6 blocks": {"name": "inception", "depth": 6},
    "inception, no transforms": {"name": "inception"},
    "gru": {"name": "gru"},
    "transformer": {"name": "transformer"},
    "random_convolutions": {"name": "random_convolutions"},
}
VECTORS = "feature vectors"
TRANSFORMS: dict[str, dict[str, Any]] = {"inception, no transforms": {}}  # of others: the defaults
MODALITIES = {"watch": ("accelerometer", "gyroscope"), "vowels": ("cepstrum",)}


def vowels(folder: Path) -> tuple[Path, Path]:
    """Write Japanese Vowels as series and as vectors; return the paths of both tables."""
    rows: list[tuple[str, str, np.ndarray[Any, Any]]] = []
    for split in ("train", "test"):
        name = f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{split.upper()}.ts"
        text = Path(str(distribution("aeon").locate_file(name))).read_text()
        for i, line in enumerate(text.partition("@data\n")[2].splitlines()):
            *channels, label = line.split(":")
            part = "val" if split == "train" and i % 5 == 0 else split
            rows.append((part, label, np.array([[*map(float, c.split(","))] for c in channels]).T))
    common = {"split": [s for s, _, _ in rows], "label": [label for _, label, _ in rows]}
    series = pa.array([steps.tolist() for _, _, steps in rows])
    vectors = [np.concatenate([f(x, axis=0) for f in (np.mean, np.std, np.min, np.max)]) for _, _, x in rows]
    paths = folder / "vowels.parquet", folder / "vowels-vectors.parquet"
    for path, cells in zip(paths, (series, pa.array([v.tolist() for v in vectors])), strict=True):
        pyarrow.parquet.write_table(pa.table({**common, "cepstrum": cells}), path)
    return paths


def measured(data: str, name: str, modalities: tuple[str, ...], seed: int, run: Path):
    """Return test accuracy and NLL by modality and fused, validation NLL and seconds of a fit."""
    if not (run / "metrics.json").exists():
        options: dict[str, Any] = {"seed": seed, "out": run, "quiet": True, "report": False, "threads": 1}
        if name in ENCODERS:
            options["encoders"] = dict.fromkeys(modalities, ENCODERS[name])
        if name in TRANSFORMS:
            options["transforms"] = dict.fromkeys(modalities, TRANSFORMS[name])
        altuna.fit(data, method="late_fusion", **options)
    metrics = json.loads((run / "metrics.json").read_text())
    log = np.genfromtxt(run / "log.csv", delimiter=",", names=True, deletechars="")
    found = {m: {k: s[k] for k in ("accuracy", "nll")} for m, s in metrics["modalities"].items()}
    found["fused"] = {k: metrics["fused"][k] for k in ("accuracy", "nll")}
    validation = float(np.nanmin(log["val/nll/fused"]))
    return found, {"validation_nll": validation, "seconds": metrics["cost"]["seconds"]}


def summary(seeds: list[tuple[dict[str, Any], dict[str, float]]]) -> dict[str, Any]:
    """Return means over seeds, and the standard deviations of accuracies."""
    found: dict[str, Any] = {key: round(mean(c[key] for _, c in seeds), 4) for key in seeds[0][1]}
    for m in seeds[0][0]:
        accuracies = [f[m]["accuracy"] for f, _ in seeds]
        found[m] = {
            "accuracy": round(mean(accuracies), 4),
            "sd": round(stdev(accuracies), 4) if len(seeds) > 1 else 0.0,
            "nll": round(mean(f[m]["nll"] for f, _ in seeds), 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[*MODALITIES], choices=[*MODALITIES])
    parser.add_argument("--encoders", nargs="+", default=[*ENCODERS, VECTORS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    for name in given.data:
        series, vectors = ("watch-series", "watch") if name == "watch" else map(str, vowels(given.runs))
        for encoder in given.encoders:
            data = vectors if encoder == VECTORS else series
            runs = [given.runs / f"{name}-{encoder}-{seed}".replace(" ", "_") for seed in range(given.seeds)]
            found = [measured(data, encoder, MODALITIES[name], seed, run) for seed, run in enumerate(runs)]
            results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
            results.setdefault(name, {})[encoder] = {"seeds": given.seeds, **summary(found)}
            results["environment"] = environment()
            RESULT.write_text(json.dumps(results, indent=2) + "\n")
            print(name, encoder, json.dumps(results[name][encoder]), flush=True)


if __name__ == "__main__":
    main()
