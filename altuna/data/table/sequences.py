"""Tell series, whose length differs by row, from vectors of a fixed size: in lists, files and columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import holds_files
from altuna.data.readers.vector import npy_header

MIN_SHARE = 0.95  # of cells that have one length: then the others are mistakes in vectors
MAX_FILES = 50  # whose headers are read
AXES = {"x", "y", "z"}
PREFIX = re.compile(r"[._\d]")  # what ends the prefix of a column's name


def list_type(column: pa.ChunkedArray) -> str:
    """Return the type of a column of lists: ``series`` if their lengths differ, or lists of several lists.

    Lists of which all but a few have one length are vectors: the reader names the others.

    Example:
        >>> list_type(pa.chunked_array([[[1, 2], [3]]])), list_type(pa.chunked_array([[[1, 2], [3, 4]]]))
        ('series', 'vector')
        >>> list_type(pa.chunked_array([[[[1, 2], [3, 4]]]]))
        'series'
    """
    depth = depth_of(column.type)
    if depth != 1:
        several = depth == 2 and ((_lengths(column) > 1).any() or _differ(_lengths(_flat(column))))
        return "series" if several else "vector"
    return "series" if _differ(_lengths(column)) else "vector"


def depth_of(kind: pa.DataType) -> int:
    """Return how many lists an Arrow type has within each other.

    Example:
        >>> depth_of(pa.list_(pa.list_(pa.float32()))), depth_of(pa.float32())
        (2, 0)
    """
    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth


def array_type(folder: Path, column: pa.ChunkedArray) -> str:
    """Return the type of a column of ``.npy`` files or their bytes, by the shapes of the first ones.

    Arrays [T, C] with T > 1 for most of them, and arrays [T] of different T, are series.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "walk.npy", np.zeros((50, 3)))
        >>> array_type(folder, pa.chunked_array([["walk.npy"]]))
        'series'
    """
    shapes = []
    for cell in _first(column, MAX_FILES):
        with suppress(Exception):  # the reader names the files that cannot be read
            shapes.append(_shape(folder, cell))
    flat = [shape[-1] for shape in shapes if len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)]
    tall = sum(len(shape) == 2 and shape[0] > 1 for shape in shapes)
    return "series" if tall > len(shapes) / 2 or _differ(np.array(flat, np.int64)) else "vector"


def channel_groups(table: pa.Table, columns: Iterable[str]) -> dict[str, list[str]]:
    """Return the columns of lists that are the channels of one series, by the prefix of their names.

    They share the prefix, and most rows have lists of one length in all of them. Lists that have one length
    in all rows too may be unrelated vectors: they are channels only if their names end in x, y and z.

    Example:
        >>> table = pa.table({"imu_x": [[1, 2], [3]], "imu_y": [[4, 5], [6]], "tail": [[1], [2, 3]]})
        >>> channel_groups(table, table.column_names)
        {'imu': ['imu_x', 'imu_y']}
    """
    groups: dict[str, list[str]] = {}
    for name in columns:
        if depth_of(table[name].type) == 1 and not holds_files(table[name].type):
            groups.setdefault(PREFIX.split(name, maxsplit=1)[0] or name, []).append(name)
    return {prefix: names for prefix, names in groups.items() if _are_channels(table, prefix, names)}


def _are_channels(table: pa.Table, prefix: str, names: Sequence[str]) -> bool:
    if len(names) < 2:
        return False
    axes = all(name[len(prefix) :].strip("._").lower() in AXES for name in names)
    if not axes and any(list_type(table[name]) == "vector" for name in names):
        return False
    lengths = [pc.list_value_length(table[name]) for name in names]
    same = [pc.equal(lengths[0], other) for other in lengths[1:]]
    return all((pc.mean(equal.cast(pa.float64())).as_py() or 0) > 0.5 for equal in same)


def numbers_of(scalar: pa.Scalar) -> Any:
    """Return a cell of lists as an array [T] or [T, C], or as lists if it is irregular or not all finite.

    Example:
        >>> numbers_of(pa.scalar([[1, 2], [3, 4], [5, 6]])).shape, numbers_of(pa.scalar([1, None]))
        ((3, 2), [1, None])
    """
    if not scalar.is_valid or not depth_of(scalar.type):
        return scalar.as_py()
    values, shape = scalar.values, [len(scalar.values)]
    while depth_of(values.type):
        widths = np.unique(np.asarray(pc.list_value_length(values)))
        if values.null_count or len(widths) != 1:
            return scalar.as_py()
        values, shape = values.flatten(), [*shape, int(widths[0])]
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return scalar.as_py()
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape) if np.isfinite(numbers).all() else scalar.as_py()


def _lengths(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.drop_null(pc.list_value_length(column)), dtype=np.int64)


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)


def _differ(lengths: NDArray[np.int64]) -> bool:
    """Return whether the lengths of cells differ, other than for a few mistakes among many cells."""
    counts = np.unique(lengths[lengths > 0], return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() < MIN_SHARE * counts.sum())


def _first(column: pa.ChunkedArray, number: int) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(column), number):
        found += [cell for cell in column.slice(start, number).to_pylist() if cell]
        if len(found) >= number:
            break
    return found[:number]


def _shape(folder: Path, cell: Any) -> tuple[int, ...]:
    if isinstance(cell, dict):  # {"bytes", "path"}, as in Hugging Face data sets
        cell = cell.get("bytes") or cell["path"]
    if isinstance(cell, bytes):
        return npy_header(io.BytesIO(cell))[0]
    with (folder / cell.strip()).open("rb") as file:
        return npy_header(file)[0]
