"""Keep a table in memory as a file, so that a run can find its data again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from altuna.data.readers.base import BadCellError
from altuna.data.readers.image import encoded, is_picture
from altuna.data.table.column_types import are_files, column_type
from altuna.errors import UserError
from altuna.files import atomic_write, cache_folder
from altuna.runs.frames import is_frame, records_of, table_of
from altuna.runs.records import is_missing


def path_of(data: Any) -> str | Path:
    """Return a path as it is, and of a frame (pandas, polars, Arrow) or list of dicts the path of its copy.

    The copy is a Parquet file in the cache folder; its name is a hash of its content. Paths of media files
    in its cells, which are relative to the working folder, become absolute.

    Raises:
        UserError: The data are neither a path nor a table.

    Example:
        >>> path_of("owls.csv"), path_of(pa.table({"label": ["owl"]})).suffix
        ('owls.csv', '.parquet')
    """
    if isinstance(data, str | Path):
        return data
    if not is_frame(data) and not isinstance(data, list):
        raise UserError(f"data must be a path, a frame or a list of dicts, not {type(data).__name__}")
    table = table_of(data) if is_frame(data) else None
    table = _with_whole_paths(_from_records(data) if table is None else table)
    content = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, content)
    buffer = content.getvalue()
    path = cache_folder() / "frames" / f"{hashlib.sha256(buffer).hexdigest()[:24]}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(buffer)
    return path


def _from_records(data: Any) -> pa.Table:
    """Return records as a table: pictures become files, arrays lists, a column of texts and numbers text.

    Raises:
        UserError: A value is none of these; the message names row and column.
    """
    records = records_of(data)
    names = [*dict.fromkeys(name for record in records for name in record)]
    columns = {}
    for name in names:
        values = [_value(record.get(name), name, row) for row, record in enumerate(records)]
        if {str, bytes} <= {*map(type, values)}:  # paths beside pictures
            values = [_file(value) for value in values]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError):
            columns[name] = _mixed(name, values)
    return pa.table(columns)


def _value(value: Any, name: str, row: int) -> Any:
    """Return a value for a table: None if it is missing, the content of a file if it is a picture."""
    if is_missing(value):
        return None
    try:
        if is_picture(value):
            return encoded(value)
        if isinstance(value, list | tuple) and any(map(is_picture, value)):
            return [_value(part, name, row) for part in value]
    except BadCellError as error:
        raise UserError(f"data, row {row + 1}, column {name!r}: {error}") from None
    return value


def _file(value: Any) -> Any:
    """Return a path or a content as a cell that has both, as in Hugging Face data sets."""
    if isinstance(value, str):
        return {"bytes": None, "path": _whole(value)}
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


def _mixed(name: str, values: list[Any]) -> pa.Array:
    """Return values that Arrow cannot hold as they are: arrays as lists, texts and numbers as texts."""
    if all(value is None or hasattr(value, "tolist") or isinstance(value, list | tuple) for value in values):
        with suppress(pa.ArrowException, TypeError, ValueError):
            return pa.array([value.tolist() if hasattr(value, "tolist") else value for value in values])
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str | bool | int | float | np.generic | date):
            kind = type(value).__name__
            raise UserError(f"data, row {row + 1}, column {name!r}: {kind} cannot be kept in a table")
    return pa.array([None if value is None else str(value) for value in values])


def _with_whole_paths(table: pa.Table) -> pa.Table:
    for i, name in enumerate(table.column_names):
        column = table[i]
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        if are_files(column, column_type(column, None, Path()) or "text"):
            cells = [None if cell is None else _whole(cell) for cell in column.to_pylist()]
            table = table.set_column(i, name, pa.array(cells, column.type))
    return table


def _whole(cell: str) -> str:
    return str(Path.cwd() / cell) if len(cell) < 4096 and Path(cell.split("#")[0]).is_file() else cell
