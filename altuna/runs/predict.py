"""Predict the samples of a manifest and write them to a file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from altuna.errors import UserError
from altuna.files import atomic_write
from altuna.recipes.built_in import find_manifest
from altuna.reporting import SILENT, Reporter
from altuna.runs.predictor import Predictor
from altuna.runs.remarks import report_problems

WRITERS = {".parquet": pyarrow.parquet.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}


def predict_to_file(
    run: Path, data: str, out: Path, *, store: Path | None = None, reporter: Reporter = SILENT
) -> int:
    r"""Predict a manifest's samples into a file, all of them or nothing, and return how many there are.

    Args:
        run: The run directory.
        data: A name or a manifest; labels are not needed.
        out: The file to write, .parquet or .csv.
        store: Folder for decoded data.
        reporter: Reports the reading of cells, and the first of those that cannot be read.

    Raises:
        UserError: Not a run, a file that cannot be written, or data of which nothing can be read.

    Example:
        >>> _ = Path("new.csv").write_text("text\nslice of pizza\ncat face\n")
        >>> predict_to_file(Path("runs/first"), "new.csv", out=Path("predictions.csv"))
        2
    """
    _check_out(out, run, data)
    predictor = Predictor(run)
    manifest = predictor.open(find_manifest(data), columns=predictor.roles)
    parts = predictor.predictions(manifest, store, reporter=reporter)
    first = next(parts)
    writer_of = WRITERS[out.suffix.lower()]
    with atomic_write(out) as unfinished, writer_of(str(unfinished), first.schema) as writer:
        for part in chain([first], parts):
            writer.write_table(part)
    report_problems(manifest, predictor.problems, reporter)
    return len(manifest)


def _check_out(out: Path, run: Path, data: str) -> None:
    """Raise UserError for a file that cannot be written, or that is read."""
    if out.suffix.lower() not in WRITERS:
        raise UserError(f"{out}: give a name that ends in {' or '.join(WRITERS)}")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    if out.is_dir():
        raise UserError(f"{out}: is a folder")
    for kept, what in ((Path(data), "the data"), (run / "predictions.parquet", "the run's own predictions")):
        if out.resolve() == kept.resolve():
            raise UserError(f"{out}: is {what}; give another name")
