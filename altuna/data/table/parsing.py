"""Read CSV and JSONL with Arrow; after a mistake, parse again, more slowly, to name its row."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from altuna.data.formats.dialect import Dialect, dialect_of, format_of, opened
from altuna.errors import UserError

BLOCK = 2**20  # bytes
MAX_BLOCK = 2**31 - 1
NULL_ROW = re.compile(rb"\}\s*null")
MAX_DEPTH = 1000
NOT_UTF8 = "the text is not in UTF-8: convert the table"
SWALLOWED = 3  # lines of a cell that look like rows, at least


def read_csv(path: Path, text: Sequence[str], dialect: Dialect | None = None) -> pa.Table:
    r"""Read a CSV or TSV file, as it is written (``dialect_of`` when None).

    Columns in ``text`` are read as text; the types of the others are inferred from all their values, with
    dates and times as text.

    Raises:
        UserError: A row with another number of columns, or text that is not UTF-8; the message names the row.
        pyarrow.ArrowException, UnicodeError: The file is not a table for another reason.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc\n1,0.5\n2,\n")
        >>> read_csv(path, text=["label"]).to_pydict()
        {'label': ['1', '2'], 'acc': [0.5, None]}
    """
    dialect = dialect or dialect_of(path)
    types = dict.fromkeys([*dialect.raw_names(text), *dialect.codes], pa.string())
    try:
        table = _with_large_blocks(lambda block: _parse_csv(path, dialect, types, block))
    except pa.ArrowInvalid:
        _name_mistake_in_csv(path, dialect, [*types])
        raise
    table = table.rename_columns([name.strip() for name in table.column_names])
    dates = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    if dates:
        return read_csv(path, [*text, *dates], dialect)
    for i, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            name_bad_text(path, field.name, table[i])
    return table


def swallowed_rows(table: pa.Table, separator: str) -> list[str]:
    r"""Return a remark on each column with a cell that holds lines like rows, for want of a quotation mark.

    Example:
        >>> cell = "an owl\na,b,c\nd,e,f\ng,h,i\nlast"
        >>> swallowed_rows(pa.table({"note": ["x", cell], "y": [1, 2], "z": [1, 2]}), ",")
        ["row 2, column 'note': has 3 lines that look like rows: is a quotation mark missing?"]
    """
    remarks = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        for row in np.flatnonzero(pc.match_substring(column, "\n").fill_null(False)):
            lines = column[int(row)].as_py().splitlines()[1:-1]
            alike = sum(line.count(separator) == table.num_columns - 1 for line in lines)
            if alike >= SWALLOWED and alike > len(lines) / 2:
                start = f"row {row + 1}, column {name!r}: has {alike:,} lines that look like rows"
                remarks.append(f"{start}: is a quotation mark missing?")
                break
    return remarks


def read_jsonl(path: Path, text: Sequence[str], decimals: Mapping[str, str] | None = None) -> pa.Table:
    r"""Read a JSONL file; columns in ``text`` are read as text even if their cells are numbers.

    So is a column that has both texts and numbers; ``decimals`` are the decimal marks to write its numbers
    with. A ``.json`` file holds a list of all rows instead.

    Raises:
        UserError: A line that is not a JSON object, or a cell of another type than those before; the message
            names the row.
        pyarrow.ArrowException, UnicodeError: The file is not a table for another reason.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.jsonl")
        >>> _ = path.write_text('{"label": "1", "acc": [0.5, 1.0]}\n{"label": 2, "acc": null}\n')
        >>> read_jsonl(path, text=["label"]).to_pydict()
        {'label': ['1', '2'], 'acc': [[0.5, 1.0], None]}
    """
    whole = format_of(path) == ".json" and not _has_lines(path)
    if not whole and not _can_crash(path):
        try:
            table = _with_large_blocks(lambda block: _parse_jsonl(path, block))
            kinds = [field.type for field in table.schema if field.name in text]
            if not any(pa.types.is_floating(kind) or pa.types.is_nested(kind) for kind in kinds):
                return table
        except (pa.ArrowInvalid, UnicodeError):
            pass
    # Arrow rejects a column of texts and numbers, and loses how a number is written: such cells of ids
    # and labels are converted to text here. Other mistakes that made Arrow fail are found on the way.
    while True:
        rewritten = io.BytesIO()
        try:
            for row in _checked_rows(path, _whole_rows(path) if whole else _rows(path), text, decimals or {}):
                rewritten.write(json.dumps(row).encode() + b"\n")
            break
        except _MixedError as mixed:
            text = [*text, mixed.column]
    if not rewritten.tell():
        return pa.table({})
    return _with_large_blocks(lambda block: _parse_jsonl(io.BytesIO(rewritten.getbuffer()), block))


def name_bad_text(path: Path | str, name: str, column: pa.ChunkedArray, first: int = 0) -> None:
    r"""Raise UserError for the first cell of a column of text that is not UTF-8.

    ``first`` is the number of rows of the file before these.

    Example:
        >>> name_bad_text(Path("owls.csv"), "note", pa.chunked_array([[b"hoot", b"\xff"]]))
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: owls.csv, row 2, column 'note': the text is not in UTF-8: convert the table
    """
    for row, cell in enumerate(column, first):
        try:
            if cell.is_valid:
                str(cell.as_buffer(), "utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path}, row {row + 1}, column {name!r}: {NOT_UTF8}") from None


def _with_large_blocks(parse: Callable[[int], pa.Table]) -> pa.Table:
    """Call ``parse`` with a block size, and with larger ones while Arrow needs them.

    A row must fit into one block; in JSONL, all rows before the first list of a column must, too.
    """
    block = BLOCK
    while True:
        try:
            return parse(block)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error) or block == MAX_BLOCK:
                raise
        except pa.ArrowNotImplementedError:
            if block == MAX_BLOCK:
                raise
        block = min(block * 16, MAX_BLOCK)


def _parse_csv(
    path: Path,
    dialect: Dialect,
    types: dict[str, pa.DataType],
    block: int,
    invalid: Callable[[Any], str] | None = None,
) -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        # The handler gets row numbers only without threads, and cannot get text that is not UTF-8.
        read_options=pyarrow.csv.ReadOptions(
            use_threads=invalid is None,
            block_size=block,
            skip_rows=dialect.skipped,
            encoding="latin-1" if invalid and dialect.encoding == "utf8" else dialect.encoding,
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=dialect.separator,
            newlines_in_values=True,
            invalid_row_handler=invalid,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True
        ),
    )


def _name_mistake_in_csv(path: Path, dialect: Dialect, text: Sequence[str]) -> None:
    invalid = []

    def stop(row: Any) -> str:
        invalid.append(row)
        return "error"

    with suppress(pa.ArrowInvalid):
        _with_large_blocks(lambda block: _parse_csv(path, dialect, {}, block, stop))
    if invalid:
        row = invalid[0]
        encoded = row.text.encode("latin-1", errors="replace")  # UTF-16 is decoded already
        shown = " ".join(encoded.decode(errors="replace").split())[:100]
        where = f"{path}, row {row.number - 1 - dialect.skipped}"
        raise UserError(f"{where}: has {row.actual_columns} columns, not {row.expected_columns}: {shown}")
    table = _with_large_blocks(
        lambda block: _parse_csv(path, dialect, dict.fromkeys(text, pa.binary()), block)
    )
    for i, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            name_bad_text(path, field.name, table[i])


def _parse_jsonl(source: Path | io.BytesIO, block: int) -> pa.Table:
    def read(**options: Any) -> pa.Table:
        if isinstance(source, io.BytesIO):
            source.seek(0)
        return pyarrow.json.read_json(
            source, pyarrow.json.ReadOptions(block_size=block), pyarrow.json.ParseOptions(**options)
        )

    table = read()
    dates = [pa.field(f.name, pa.string()) for f in table.schema if pa.types.is_temporal(f.type)]
    return read(explicit_schema=pa.schema(dates)).select(table.column_names) if dates else table


def _has_lines(path: Path) -> bool:
    """Return whether a file called .json has an object per line, as JSONL."""
    with opened(path) as file:
        first, second = (file.readline(MAX_BLOCK).strip() for _ in range(2))
    return first[:1] == b"{" and first[-1:] == b"}" and second[:1] == b"{"


def _can_crash(path: Path) -> bool:
    """Return whether a JSONL file may crash Arrow's parser: null as a row, or deep nesting."""
    with opened(path) as file:
        for line in file:
            if line[:1] != b"{" and line.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b""):
                return True
            if len(line) > MAX_DEPTH and line.count(b"{") + line.count(b"[") > MAX_DEPTH:
                return True
            if line.find(b"}") < len(line) - 2 and NULL_ROW.search(line):
                return True
    return False


class _MixedError(Exception):
    """A column has both texts and numbers."""

    def __init__(self, column: str) -> None:
        self.column = column


def _rows(path: Path) -> Iterator[Any]:
    """Yield the rows of a JSONL file."""
    row = 0
    with io.TextIOWrapper(opened(path), "utf-8-sig", "surrogateescape") as file:
        for line in file:
            if line.strip():
                row += 1
                yield _parsed(f"{path}, row {row}", line)


def _whole_rows(path: Path) -> Iterator[Any]:
    """Yield the rows of a JSON file that is a list of them."""
    with io.TextIOWrapper(opened(path), "utf-8-sig", "surrogateescape") as file:
        found = _parsed(str(path), file.read())
    if not isinstance(found, list):
        raise UserError(f"{path}: must be a list of objects, one per row (in pandas: orient='records')")
    yield from found


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {' '.join(str(error).split())}") from None


def _checked_rows(
    path: Path, rows: Iterable[Any], text: Sequence[str], decimals: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield rows, checked, with the cells in the columns ``text`` as text.

    Raises:
        _MixedError: A column that is not in ``text`` has texts and numbers.
    """
    kinds: dict[str, str] = {}
    for row, cells in enumerate(rows, 1):
        where = f"{path}, row {row}"
        if not isinstance(cells, dict):
            raise UserError(f"{where}: not a JSON object")
        for name, cell in cells.items():
            if name in text and cell is not None and not isinstance(cell, str):
                cells[name] = cell = json.dumps(cell).replace(".", decimals.get(name, "."))
            for place, kind, value in _kinds(name, cell):
                if kind != kinds.setdefault(place, kind):
                    if place == name and {kind, kinds[place]} == {"text", "number"}:
                        raise _MixedError(name)
                    raise UserError(
                        f"{where}, column {name!r}: has type {kind}, but earlier rows have {kinds[place]}"
                    )
                if kind == "text" and not value.isprintable() and _is_broken(value):
                    raise UserError(f"{where}, column {name!r}: {NOT_UTF8}")
                if kind == "number" and math.isinf(value):
                    raise UserError(
                        f"{where}, column {name!r}: is {value}; leave the cell empty if the value is missing"
                    )
        yield cells


def _kinds(place: str, cell: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the type of a cell, and of everything in it, with its place and value."""
    if isinstance(cell, dict):
        yield place, "object", None
        for name, value in cell.items():
            yield from _kinds(f"{place}.{name}", value)
    elif isinstance(cell, list):
        yield place, "list", None
        for value in cell:
            yield from _kinds(f"{place}[]", value)
    elif cell is not None:
        kind = {bool: "true or false", str: "text"}.get(type(cell), "number")
        yield place, kind, cell


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return cells
