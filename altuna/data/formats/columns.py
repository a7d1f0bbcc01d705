"""What the columns of an Arrow table hold: numbers, lists, texts, and which cells are filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIRST = 100  # values from which a type is inferred
HEAD = 32  # bytes of a content that tell its type


def first_values(column: pa.ChunkedArray) -> list[str | bytes]:
    """Return up to 100 values of a column of strings, bytes or {bytes, path}; of bytes, only the first ones.

    The value of a cell {bytes, path} without bytes is its path.

    Example:
        >>> first_values(pa.chunked_array([["owl.jpg", None, "cat.jpg"]]))
        ['owl.jpg', 'cat.jpg']
    """
    found: list[str | bytes] = []
    step = 1000  # the table may be larger than the memory: stop when there are enough
    for start in range(0, len(column), step):
        part = column.slice(start, step)
        rows = np.flatnonzero(filled(part))[: FIRST - len(found)]
        if len(rows):
            cells = zip(*(_beginnings(cells, rows) for cells in _contents(part)), strict=True)
            found += [next(value for value in cell if value is not None) for cell in cells]
        if len(found) == FIRST:
            break
    return found


def _contents(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Return the column itself, or the parts ``bytes`` and ``path`` of one that has them."""
    if not pa.types.is_struct(column.type):
        return [column]
    names = {field.name for field in column.type}
    return [pc.struct_field(column, name) for name in ("bytes", "path") if name in names]


def _beginnings(cells: pa.ChunkedArray, rows: np.ndarray[Any, Any]) -> list[str | bytes | None]:
    if is_bytes(cells.type):
        cells = pc.binary_slice(cells, 0, HEAD)
    return list(cells.take(pa.array(rows)).to_pylist())


def filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which cells have a value (bool); a blank text and an empty {bytes, path} have none.

    Example:
        >>> filled(pa.chunked_array([["hoot", " ", None]])).to_pylist()
        [True, False, False]
    """
    kind = column.type
    valid = column.is_valid()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # By chunks: a copy of all texts may not fit in memory.
        chunks = [pc.not_equal(pc.utf8_trim_whitespace(c), "").fill_null(False) for c in column.chunks]
        valid = pa.chunked_array(chunks, pa.bool_())
    elif pa.types.is_struct(kind) and not is_of_no_use(kind):
        parts = [filled(part) for part in _contents(column)]
        valid = pc.and_(valid, pc.or_(parts[0], parts[-1]))
    return valid


def is_empty(column: pa.ChunkedArray) -> bool:
    """Return whether no cell of a column has a value.

    Example:
        >>> is_empty(pa.chunked_array([[" ", None]])), is_empty(pa.chunked_array([[0.0, None]]))
        (True, False)
    """
    return not pc.any(filled(column)).as_py()


def filled_cells(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether any of the columns has a value in each row, [rows] bool.

    Example:
        >>> filled_cells(pa.table({"x": [1.0, None], "y": [2.0, None]}), ["x", "y"]).tolist()
        [True, False]
    """
    found = np.zeros(table.num_rows, dtype=bool)
    for name in columns:
        found |= np.asarray(filled(table[name]))
    return found


def is_number(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are numbers.

    Example:
        >>> is_number(pa.int8()), is_number(pa.bool_()), is_number(pa.string())
        (True, True, False)
    """
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are lists.

    Example:
        >>> is_list(pa.list_(pa.float32())), is_list(pa.float32())
        (True, False)
    """
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are bytes.

    Example:
        >>> is_bytes(pa.binary()), is_bytes(pa.string())
        (True, False)
    """
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def holds_files(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are lists of texts, bytes or {bytes, path}.

    Example:
        >>> holds_files(pa.list_(pa.string())), holds_files(pa.list_(pa.float32()))
        (True, False)
    """
    if not is_list(kind):
        return False
    kind = kind.value_type
    known = is_list(kind) or is_number(kind) or pa.types.is_null(kind)
    return not (known or is_of_no_use(kind))


def first_files(column: pa.ChunkedArray) -> list[str | bytes]:
    """Return up to 100 values of the lists of a column, see ``holds_files``; of bytes, only the first ones.

    Example:
        >>> first_files(pa.chunked_array([[["owl.png", None], [], ["cat.png"]]]))
        ['owl.png', 'cat.png']
    """
    found: list[str | bytes] = []
    for start in range(0, len(column), FIRST):
        found += first_values(pc.list_flatten(column.slice(start, FIRST)))
        if len(found) >= FIRST:
            break
    return found[:FIRST]


def is_of_no_use(kind: pa.DataType) -> bool:
    """Return whether no reader accepts an Arrow type, such as lists of texts, maps and most structs.

    Example:
        >>> is_of_no_use(pa.list_(pa.string())), is_of_no_use(pa.list_(pa.float32()))
        (True, False)
    """
    while is_list(kind):
        kind = kind.value_type
        if not (is_list(kind) or is_number(kind) or pa.types.is_null(kind)):
            return True
    if pa.types.is_struct(kind):
        names = {field.name: field.type for field in kind}
        texts = [names[n] for n in ("bytes", "path") if n in names]
        return not texts or not all(map(_is_plain, texts))
    return not (is_number(kind) or _is_plain(kind))


def _is_plain(kind: pa.DataType) -> bool:
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or is_bytes(kind) or pa.types.is_null(kind))
