"""Read vectors: numeric columns, cells of lists, or .npy files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.readers.base import (
    BadCellError,
    Columns,
    Note,
    NotFiniteError,
    Reader,
    check_file,
    check_positive,
    sample,
    silent,
)
from altuna.errors import UserError
from altuna.options import shown

MAX_SIZE = 1 << 24  # numbers of a vector
MANY = 10_000  # rows from which the origin is chosen
MIDDLE = (0.1, 0.9)  # quantiles between which numbers have their spread
FAR = 2**10  # times their spread: of the 24 bits of float32, at least 13 are left for the spread


@dataclass(frozen=True)
class VectorReader(Reader):
    """Read float32 [size]: the encoder standardises it, and imputes missing numbers (NaN here).

    A missing number is an empty one in numeric columns, NaN in arrays, and None in lists.

    Args:
        size: Number of numbers.
        origin: What is subtracted from each number, in float64; nothing where it is empty. Numbers such as
            Unix times are so far from 0 that float32 would lose what tells them apart.

    Example:
        >>> notes = []
        >>> VectorReader(3).read([1, None, 2.5], notes.append).tolist()
        [1.0, nan, 2.5]
        >>> notes
        ['1 of 3 numbers are empty: imputed by the training means']
    """

    size: int
    origin: tuple[float, ...] = ()

    name = "vector"
    type = "vector"
    dtype = np.float32
    decodes_files = True

    def __post_init__(self) -> None:
        check_origin(self.origin, self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @classmethod
    def fit(cls, cells: Sequence[Any] | Columns, *, size: int | None = None) -> Self:
        """Choose the most frequent length, and the origin."""
        check_positive(size=size)
        if isinstance(cells, Columns):
            numbers = _stacked(cells.table.slice(0, MANY))
            return cls(size or numbers.shape[1], origin_of(numbers))
        vectors = []
        for cell in sample(cells):
            with suppress(Exception):
                vectors.append(_load(cell)[0])
        if size is None:
            sizes = Counter(vector.size for vector in vectors)
            size = sizes.most_common(1)[0][0] if sizes else 1
        return cls(size, origin_of(np.array([vector for vector in vectors if vector.size == size])))

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        vector, missing = _load(cell)
        if vector.size != self.size:
            raise BadCellError(f"a vector of {vector.size} numbers, the others have {self.size}")
        moved = self.moved(vector)
        if not np.isfinite(moved[~missing]).all():
            unknown = int(np.isnan(vector[~missing]).sum())
            raise NotFiniteError(
                f"has {unknown} NaN numbers" if unknown else "has numbers too large or infinite"
            )
        if missing.all():
            raise BadCellError("all its numbers are empty")
        if missing.any():
            note(f"{int(missing.sum())} of {self.size} numbers are empty: imputed by the training means")
        return moved

    def text_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        return ()

    def encode(self, table: pa.Table) -> tuple[NDArray[Any], list[Note]]:
        if table.num_columns != self.size:
            there = f"{table.num_columns} column{'s' * (table.num_columns != 1)}"
            raise BadCellError(f"size is {self.size}, not that of the {there}")
        numbers = _stacked(table)
        missing = np.isnan(numbers)
        empty = int((missing & ~missing.all(axis=1, keepdims=True)).sum())
        note = Note("empty numbers in rows with others, imputed by the training means: ", empty)
        return self.moved(numbers), [note] * bool(empty)

    def moved(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return numbers [..., size] relative to the origin; those too large for float32 become infinite.

        Example:
            >>> VectorReader(1, origin=(1.7e9,)).moved(np.array([[1700000001.0], [1700000002.0]])).tolist()
            [[1.0], [2.0]]
        """
        with np.errstate(over="ignore"):
            return (numbers - self.origin if self.origin else numbers).astype(np.float32)


def _stacked(table: pa.Table) -> NDArray[np.float64]:
    """Return the numbers of columns [rows, columns], NaN where a cell is empty."""
    floats = (pc.fill_null(column.cast(pa.float64(), safe=False), np.nan) for column in table.columns)
    return np.stack([column.to_numpy() for column in floats], axis=1)


def origin_of(vectors: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the medians of numbers that are far from 0 for their spread, 0 for others; () if all are 0.

    The spread is that of the middle 80 %, so that a few zeros among Unix times do not count.

    Example:
        >>> origin_of(np.array([[1.7e9, 1.0], [1.7e9 + 1, 2.0]]))
        (1700000000.5, 0.0)
    """
    origin = []
    for column in vectors.T if vectors.ndim == 2 else ():
        known = column[np.isfinite(column)]
        middle = float(np.median(known)) if len(known) else 0.0
        low, high = np.quantile(known, MIDDLE, method="nearest") if len(known) else (0.0, 0.0)
        spread = float(high - low) or (float(np.ptp(known)) if len(known) else 0.0)
        origin.append(middle if 0 < spread < abs(middle) / FAR else 0.0)
    return tuple(origin) if any(origin) else ()


def check_origin(origin: Sequence[float], size: int) -> None:
    """Raise UserError for an origin that is not empty, and not of as many finite numbers as a vector has.

    Example:
        >>> check_origin((1.7e9, 0.0), 2)
        >>> check_origin((1.7e9,), 2)
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: origin must be 2 finite numbers, got (1700000000.0,)
    """
    if origin and (len(origin) != size or not np.isfinite(origin).all()):
        raise UserError(f"origin must be {size} finite numbers, got {shown(origin)}")


def _load(cell: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers [n] of a .npy (path or bytes), an array or a sequence, and which are missing."""
    try:
        if isinstance(cell, str | Path):
            with check_file(cell).open("rb") as file:
                return _numbers(read_npy(file), may_miss=False)
        if isinstance(cell, bytes):
            return _numbers(read_npy(io.BytesIO(cell)), may_miss=False)
        if isinstance(cell, np.ndarray):
            return _numbers(cell, may_miss=True)
        numbers = [np.nan if number is None else number for number in cell]
        vector, missing = _numbers(np.asarray(numbers), may_miss=False)
        empty = [number is None for number in cell]
        return vector, np.array(empty) if any(empty) else missing
    except BadCellError:
        raise
    except Exception as error:  # NumPy parses headers as Python, with exceptions of many types
        raise BadCellError(f"not a vector: {' '.join(str(error).split())}") from None


def _numbers(array: NDArray[Any], may_miss: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if array.dtype.kind not in "biuf":
        raise BadCellError(f"not a vector: its numbers are {array.dtype}")
    vector = np.asarray(array, dtype=np.float64).ravel()
    return vector, np.isnan(vector) if may_miss else np.zeros(vector.size, dtype=bool)


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype that the header of a ``.npy`` file states.

    Raises:
        BadCellError: It is not such a file, or states more than fits into memory.

    Example:
        >>> content = io.BytesIO()
        >>> np.save(content, np.zeros((50, 3), np.float32))
        >>> _ = content.seek(0)
        >>> npy_header(content)
        ((50, 3), dtype('float32'))
    """
    if file.read(6) != b"\x93NUMPY":
        raise BadCellError("not a .npy file")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise BadCellError(f"a .npy file of version {version[0]}.{version[1]}")
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    size = 1
    for side in shape:
        size *= side
    if size > MAX_SIZE or dtype.itemsize > 16:
        raise BadCellError(f"refused, too large: {list(shape)} {dtype}")
    return shape, dtype


def read_npy(file: BinaryIO) -> NDArray[Any]:
    """Read a ``.npy`` after checking its header, which may claim more than fits into memory.

    Example:
        >>> content = io.BytesIO()
        >>> np.save(content, np.array([1, 2]))
        >>> _ = content.seek(0)
        >>> read_npy(content).tolist()
        [1, 2]
    """
    npy_header(file)
    file.seek(0)
    array: NDArray[Any] = np.load(file, allow_pickle=False)
    return array
