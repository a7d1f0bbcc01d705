"""Does a modality of pure noise harm? Each data set with and without sixteen columns of noise.

    python benchmarks/noise.py [--data htad emoji av-digits av-digits-hard] [--root AV_DIGITS] [--seeds N]

MLA with sizes and epochs as in ``grid.py``; fused accuracy by calibrated product, by plain entropy fusion,
and that of the noise alone. A finished run is not repeated. Written to ``benchmarks/results/noise.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from grid import DATA
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.data.table.manifest import read_manifest
from altuna.recipes.built_in import find_manifest

COLUMNS = 16
OPTIONS = DATA | {"av-digits": DATA["av-digits-hard"]}


def noisy(name: str, root: Path | None, folder: Path) -> Path:
    """Write the data set's manifest again, with columns of Gaussian noise; return its path."""
    manifest = read_manifest(find_manifest(name, root))
    table, here = manifest.table, manifest.path.parent.absolute()
    for modality in manifest.modalities.values():
        for column in modality.columns if modality.files else ():
            paths = [str(here / cell) if cell else None for cell in table[column].to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(paths))
    noise = np.random.default_rng(0).normal(size=(COLUMNS, len(table))).astype(np.float32)
    for i, values in enumerate(noise):
        table = table.append_column(f"noise_{i}", pa.array(values))
    pyarrow.parquet.write_table(table, folder / f"{name}-noise.parquet")
    return folder / f"{name}-noise.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["htad", "emoji"], choices=[*OPTIONS])
    parser.add_argument("--root", type=Path, help="raw files of av-digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "altuna-noise")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    path = HERE / "results" / "noise.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in given.data:
        found: dict[str, list[dict[str, float]]] = {"clean": [], "noisy": []}
        for kind, data in (("clean", name), ("noisy", noisy(name, given.root, given.runs))):
            for seed in range(given.seeds):
                run = given.runs / f"{name}-{kind}-{seed}"
                if not (run / "metrics.json").exists():
                    options = {"root": given.root if kind == "clean" else None, **OPTIONS[name]}
                    altuna.fit(data, seed=seed, out=run, resume=True, quiet=True, report=False, **options)
                metrics = json.loads((run / "metrics.json").read_text())
                rules = metrics["fusion"]["rules"]
                figures = {r: rules[r]["accuracy"] for r in ("calibrated_product", "entropy")}
                if kind == "noisy":
                    figures["noise alone"] = metrics["modalities"]["noise"]["accuracy"]
                found[kind].append(figures)
                print(name, kind, seed, {k: round(100 * v, 1) for k, v in figures.items()}, flush=True)
        summary = {
            kind: {k: {"mean": mean(v := [f[k] for f in some]), "sd": stdev(v)} for k in some[0]}
            for kind, some in found.items()
        }
        lost = {
            rule: 100 * (summary["clean"][rule]["mean"] - summary["noisy"][rule]["mean"])
            for rule in summary["clean"]
        }
        print(name, "points lost:", {rule: round(value, 2) for rule, value in lost.items()}, flush=True)
        results[name] = {
            "options": OPTIONS[name],
            "points_lost": lost,
            **summary,
            "runs": found,
            "environment": environment(),
        }
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
