"""Read the numbers, categories and dates of a table together, as one modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import filled, is_bytes, is_number
from altuna.data.formats.dates import FORMATS, PARTS, calendar, other_format
from altuna.data.formats.numbers import NumberFormat
from altuna.data.formats.spelling import category_texts
from altuna.data.readers.base import BadCellError, Columns, Note, Reader, check_positive, silent
from altuna.data.readers.vector import origin_of
from altuna.errors import UserError
from altuna.options import shown

SHOWN = 3  # categories in a note


@dataclass(frozen=True)
class TabularReader(Reader):
    """Read columns of a table to float32 [size]: numbers, parts of dates, numbers of categories.

    A missing value is NaN. The number of a category is its place in the list of its column; a category that
    is not listed has the number after the last.

    Args:
        numbers: Name of each column of numbers, and what is subtracted from them in float64 (see
            ``VectorReader``).
        dates: Name of each column of dates, and its format (see ``calendar`` for the parts).
        categories: Name of each column of categories, and the categories.

    Example:
        >>> reader = TabularReader((("age", 0.0),), (), (("colour", ("blue", "red")),))
        >>> reader.read({"age": 3, "colour": "red"}).tolist(), reader.read({"colour": "pink"}).tolist()
        ([3.0, 1.0], [nan, 2.0])
    """

    numbers: tuple[tuple[str, float], ...] = ()
    dates: tuple[tuple[str, str], ...] = ()
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()

    name = "tabular"
    type = "tabular"
    dtype = np.float32

    def __post_init__(self) -> None:
        place: dict[str, str] = {}
        for key in ("numbers", "dates", "categories"):
            for name, value in getattr(self, key):
                if name in place:
                    raise UserError(f"{key}: has the column {shown(name)}, which {place[name]} has too")
                place[name] = key
                if key == "numbers" and not np.isfinite(value):
                    raise UserError(f"{key}: the origin of {shown(name)} must be finite, got {value}")
                if key == "dates" and value not in FORMATS:
                    raise UserError(f"{key}: {shown(name)} has dates of an unknown format, {shown(value)}")
                if key == "categories" and len({*value}) < len(value):
                    (twice, _), *_ = Counter(value).most_common(1)
                    raise UserError(f"{key}: {shown(name)} has the category {shown(twice)} twice")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n_numbers + len(self.categories),)

    @property
    def n_numbers(self) -> int:
        """How many of the first values are numbers or parts of dates; the others are categories."""
        return len(self.numbers) + len(PARTS) * len(self.dates)

    def text_columns(self, columns: Sequence[str] = ()) -> tuple[str, ...]:
        return tuple(name for name, _ in (*self.dates, *self.categories))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in the order of the values."""
        return tuple(name for name, _ in (*self.numbers, *self.dates, *self.categories))

    def cell_of(self, parts: Mapping[str, Any]) -> Any:
        return parts

    def kinds(self, columns: Sequence[str]) -> tuple[str, ...]:
        kinds = dict.fromkeys((name for name, _ in self.numbers), "number") | dict(self.dates)
        return tuple(kinds.get(name, "category") for name in columns)

    def fits(self, columns: Sequence[str]) -> bool:
        return sorted(columns) == sorted(self.columns)

    @classmethod
    def fit(
        cls,
        cells: Sequence[Mapping[str, Any]] | Columns,
        *,
        max_categories: int = 256,
        min_count: int = 2,
    ) -> Self:
        """List the categories of the training cells, and choose what is subtracted from numbers.

        Args:
            cells: Rows of the table, or its columns.
            max_categories: Listed categories of a column, the most frequent ones.
            min_count: How often a listed category occurs at least.
        """
        check_positive(max_categories=max_categories, min_count=min_count)
        if not isinstance(cells, Columns):
            cells = Columns(pa.Table.from_pylist([dict(cell) for cell in cells]))
        table = cells.table
        kinds = cells.kinds or {
            name: "number" if is_number(table[name].type) else "category" for name in table.column_names
        }
        numbers = [name for name, kind in kinds.items() if kind == "number"]
        origin = origin_of(_numbers(table, numbers)) or (0.0,) * len(numbers)
        return cls(
            tuple(zip(numbers, origin, strict=True)),
            tuple((name, kind) for name, kind in kinds.items() if kind not in ("number", "category")),
            tuple(
                (name, _frequent(table, name, max_categories, min_count))
                for name, kind in kinds.items()
                if kind == "category"
            ),
        )

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        if not isinstance(cell, Mapping):
            raise BadCellError(f"must be a mapping from {', '.join(self.columns)} to their values")
        if strange := sorted({*cell} - {*self.columns}):
            raise BadCellError(f"unknown column {strange[0]!r}; the columns are {', '.join(self.columns)}")
        known: dict[str, Any] = {}
        for name in self.columns:
            value, is_text = cell.get(name), name in self.text_columns()
            try:
                known[name] = _column_of(value, is_text)
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                wanted = "a category or a date" if is_text else "a number"
                raise BadCellError(f"column {name!r}: {shown(value)} is not {wanted}") from None
        values, notes = self.encode(pa.table(known))
        for line in notes:
            note(str(line))
        if np.isinf(values).any():
            raise BadCellError("has numbers too large or infinite")
        if np.isnan(values).all():
            raise BadCellError("; ".join(map(str, notes)) or "all its values are empty")
        return np.asarray(values[0])

    def encode(self, table: pa.Table) -> tuple[NDArray[np.float32], list[Note]]:
        """Return the values of rows [rows, size], and notes; a column that the table lacks is empty."""
        numbers = _numbers(table, [name for name, _ in self.numbers])
        notes = [
            Note(f"{name}: missing, as they are no numbers: ", wrong, " cells")
            for i, (name, _) in enumerate(self.numbers)
            if (wrong := int(np.isnan(numbers[:, i]).sum()) - _empty(table, name))
        ]
        with np.errstate(over="ignore"):
            parts = [numbers - [origin for _, origin in self.numbers]]
        for name, format in self.dates:
            values, more = _dates(_texts(table, name), format, _empty(table, name))
            parts.append(values)
            notes += [note._replace(before=f"{name}: {note.before}") for note in more]
        for name, listed in self.categories:
            column = _texts(table, name)
            codes = pc.index_in(column, pa.array(listed, pa.string()))
            unseen = pc.and_(pc.is_null(codes), pc.is_valid(column))
            if count := pc.sum(unseen).as_py():
                notes.append(_unseen(name, table[name].filter(unseen), count))
            if wrong := column.null_count - _empty(table, name):
                notes.append(Note(f"{name}: missing, as they are no categories: ", wrong, " cells"))
            codes = pc.if_else(unseen, len(listed), codes).cast(pa.float64())
            parts.append(np.asarray(pc.fill_null(codes, np.nan))[:, None])
        with np.errstate(over="ignore"):
            return np.concatenate(parts, axis=1).astype(np.float32), notes


def _unseen(name: str, cells: pa.ChunkedArray, count: int) -> Note:
    values = cells.unique().to_pylist()
    some = ", ".join(map(shown, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
    return Note(f"{name}: cells with a rare or new category: ", count, f" ({some})")


def _numbers(table: pa.Table, names: Sequence[str]) -> NDArray[np.float64]:
    """Return columns [rows, columns], NaN where a cell is empty or no number."""
    columns = []
    for name in names:
        column = table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = NumberFormat().parse(column)
        known = is_number(column.type) or pa.types.is_null(column.type)
        column = (
            column.cast(pa.float64(), safe=False)
            if known
            else pa.chunked_array([pa.nulls(len(table), pa.float64())])
        )
        columns.append(pc.fill_null(column, np.nan).to_numpy())
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _dates(column: pa.ChunkedArray, format: str, empty: int) -> tuple[NDArray[np.float64], list[Note]]:
    """Return the parts of dates [rows, 6], and notes on those that are not written as in training."""
    parts = calendar(column, format)
    unread = np.isnan(parts[:, 0])
    if (wrong := int(unread.sum()) - empty) <= 0:
        return parts, []
    first = next((cell.as_py() for cell in column.filter(pa.array(unread)) if cell.is_valid), "")
    other = other_format(column)
    if other and np.isnan(read := calendar(column, other)).sum() < np.isnan(parts).sum():
        return read, [Note(f"dates are read as {other}, unlike in training: ", wrong, f", such as {first!r}")]
    after = f" cells, the first is {first!r}"
    return parts, [Note(f"missing, as they are no dates like {format}: ", wrong, after)]


def _empty(table: pa.Table, name: str) -> int:
    """Return how many rows have no value in a column."""
    return int((~np.asarray(filled(table[name]))).sum()) if name in table.column_names else len(table)


def _texts(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of dates or categories as texts; one that the table lacks is empty."""
    column = table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
    return category_texts(column)


def _frequent(table: pa.Table, name: str, most: int, least: int) -> tuple[str, ...]:
    """Return the most frequent categories, in alphabetical order."""
    counts = pc.value_counts(_texts(table, name).drop_null().combine_chunks()).to_pylist()
    often = sorted((-pair["counts"], pair["values"]) for pair in counts if pair["counts"] >= least)
    return tuple(sorted(value for _, value in often[:most]))


def _column_of(value: Any, is_text: bool) -> pa.Array:
    """Return a value as a column; it is null if it is missing, as NaN and blank texts are.

    Raises:
        ValueError, TypeError, OverflowError, ArrowException: It is no number, or no category and no date.
    """
    if isinstance(value, np.ndarray | np.generic) and not value.shape:
        value = value.item()
    is_blank = isinstance(value, str) and not value.strip()
    is_nan = isinstance(value, float) and value != value
    if value is None or is_blank or is_nan:
        return pa.nulls(1)
    if not is_text and isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("has bytes")  # of which Python would read the digits
    if not is_text:
        return pa.array([float(value)])
    column = pa.array([str(value) if type(value) is int else value])  # an int of any size
    if pa.types.is_nested(column.type) or is_bytes(column.type):
        raise TypeError("has several values, or bytes")
    return column
