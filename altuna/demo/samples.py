"""Draw samples of the test split for the example button."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet

from altuna.data.readers import BadCellError
from altuna.data.readers.base import silent
from altuna.data.readers.steps import load_steps
from altuna.data.readers.text import text_of
from altuna.data.table.cells import Cells
from altuna.data.table.splits import split_rows
from altuna.demo.answer import has_formats
from altuna.errors import UserError
from altuna.recipes.built_in import find_manifest
from altuna.runs.directory import read_config
from altuna.runs.predictor import Predictor

Sampler = Callable[[], tuple[str, dict[str, Any], list[str]]]
MAX_FILES = 50  # that are kept


def sampler(predictor: Predictor, run: str, folder: str) -> Sampler | None:
    """Return a function that draws a sample of the run's test split; None if the data cannot be opened.

    The function returns the sample's class, its cells as inputs of the page, and the modalities that are left
    out because they cannot be read or are part of a longer file.

    Args:
        predictor: The run's model with its readers.
        run: The run directory.
        folder: Folder for copies of images and sounds: the page may only show files there.
    """
    try:
        config = read_config(Path(run))
        root = Path(config["root"]) if config.get("root") else None
        manifest = predictor.open(
            find_manifest(config["data"], root), config["modalities"], config.get("columns"), lenient=False
        )
        rows = split_rows(manifest, config["seed"])["test"]
    except (UserError, OSError):  # the data are gone
        return None
    if not len(rows):
        return None
    cells = {name: Cells(manifest, name) for name in manifest.modalities}
    written: list[Path] = []

    def write(cell: Any) -> str:
        content, suffix = _file_of(cell)
        written.append(Path(folder) / f"example-{uuid4().hex}{suffix}")
        written[-1].write_bytes(content)
        return str(written[-1])

    def draw() -> tuple[str, dict[str, Any], list[str]]:
        row = int(random.choice(rows))
        given: dict[str, Any] = {}
        left_out = []
        for name, modality in manifest.modalities.items():
            cell = cells[name][row]
            if cell is None:
                continue
            try:
                read = predictor.description.readers[name].read(cell)
                if modality.type == "tabular":
                    given[name] = json.dumps({c: v for c, v in cell.items() if v is not None})
                elif modality.type == "vector" and has_formats(predictor, name):
                    given[name] = json.dumps([None if x != x else float(f"{x:g}") for x in read])
                elif modality.type == "vector":
                    given[name] = ", ".join("" if x != x else f"{x:g}" for x in read)
                elif modality.type == "text":
                    given[name] = text_of(cell, silent)
                elif modality.type == "image_list":
                    given[name] = [write(part) for part in cell]
                else:
                    given[name] = write(cell)
            except (BadCellError, OSError):  # the latter of a part of a file, which is no file itself
                left_out.append(name)
        while len(written) > MAX_FILES:
            written.pop(0).unlink(missing_ok=True)
        return str(manifest.labels[row].as_py()), given, left_out

    return draw


def _file_of(cell: Any) -> tuple[bytes, str]:
    """Return the content of a cell's file, and its suffix; a series in the table becomes a Parquet file."""
    if isinstance(cell, Path):
        return cell.read_bytes(), cell.suffix
    if isinstance(cell, bytes):
        return cell, ""
    columns = {f"channel {i}": numbers for i, numbers in enumerate(load_steps(cell).values.T, 1)}
    content = io.BytesIO()
    pyarrow.parquet.write_table(
        pa.table({n: pa.array(c, from_pandas=True) for n, c in columns.items()}), content
    )
    return content.getvalue(), ".parquet"
