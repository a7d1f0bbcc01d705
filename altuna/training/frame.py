"""Keep a table in memory as a file, so that a run can find its data again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

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
    """Return records as a table; a column of several types becomes text."""
    records = records_of(data)
    names = [*dict.fromkeys(str(name) for record in records for name in record)]
    columns = {}
    for name in names:
        values = [None if is_missing(value := record.get(name)) else value for record in records]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError):
            columns[name] = pa.array([None if value is None else str(value) for value in values])
    return pa.table(columns)


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
