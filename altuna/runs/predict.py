"""Predict the samples of a manifest and write them to a file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from altuna.errors import UserError
from altuna.files import atomic_write
from altuna.recipes import find_manifest
from altuna.reporting import SILENT
from altuna.runs.directory import read_config
from altuna.runs.predictor import Predictor
from altuna.terminal import console


def predict_to_file(
    run: Path, data: str, out: Path, *, store: Path | None = None, quiet: bool = False
) -> None:
    """Predict a manifest's samples into ``out`` (.parquet or .csv), all of it or nothing."""
    suffix = out.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: give a name that ends in .parquet or .csv")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    if out.is_dir():
        raise UserError(f"{out}: is a folder")
    for kept, what in ((Path(data), "the data"), (run / "predictions.parquet", "the run's own predictions")):
        if out.resolve() == kept.resolve():
            raise UserError(f"{out}: is {what}; give another name")
    predictor = Predictor(run)
    # Models of the hub and exported ones have no options of a training.
    columns = read_config(run).get("columns") if (run / "config.yaml").exists() else None
    manifest = predictor.open(find_manifest(data), columns=columns)
    reporter = SILENT if quiet else console.TerminalReporter()
    parts = predictor.predictions(manifest, store, reporter=reporter)
    first = next(parts)
    open_ = pyarrow.csv.CSVWriter if suffix == ".csv" else pyarrow.parquet.ParquetWriter
    with atomic_write(out) as unfinished, open_(str(unfinished), first.schema) as writer:
        for part in chain([first], parts):
            writer.write_table(part)
    if not quiet:
        for problem in predictor.problems[:5]:
            console.err.print(f"{manifest.path}, {problem}", markup=False)
        if len(predictor.problems) > 5:
            console.err.print(f"... and {len(predictor.problems) - 5} more problems")
        console.out.print(f"{len(manifest):,} predictions in {out}")
