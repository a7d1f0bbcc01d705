"""Load the steps of a series: from lists, arrays, and .npy, .npz, CSV, Parquet and Feather files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from numpy.typing import NDArray

from altuna.data.formats.dialect import dialect_of, format_of
from altuna.data.readers.base import BadCellError, InconsistentError, check_file
from altuna.data.readers.vector import MAX_SIZE, read_npy
from altuna.options import shown

TIMES = ("time", "t", "timestamp", "seconds")  # names of a column that is no channel, in lower case
RATE = "rate"  # an entry of an .npz
EMPTY = ("", "NA", "N/A", "na", "n/a", "NULL", "null", "None", "none", "?", "-")  # words in CSV files


class Steps(NamedTuple):
    """The steps of a series.

    Attributes:
        values: [T, C] float64, NaN where missing, and where somebody wrote NaN.
        missing: [T, C] bool.
        rate: Steps per second, None if unknown.
        fixed: Whether it is known which axis is that of time: of tables, channels with names, and [T].

    Example:
        >>> steps = load_steps([1.0, None])
        >>> steps.values.tolist(), steps.missing.tolist(), steps.rate
        ([[1.0], [nan]], [[False], [True]], None)
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]
    rate: float | None = None
    fixed: bool = False


def load_steps(cell: Any, *, channels_first: bool = False) -> Steps:
    """Return the steps of a cell: a path or bytes, a list, an array, a pair of steps and rate, or channels.

    A list has numbers (one channel) or lists of one length (a step each). Channels are a mapping from names
    to lists of one length. A missing number is None in lists, NaN in arrays, and an empty cell in tables.

    Args:
        cell: The cell.
        channels_first: Lists of lists and arrays are [C, T].

    Raises:
        BadCellError: It is not a series.

    Example:
        >>> load_steps([[1, 2, 3], [4, 5, 6]], channels_first=True).values.shape
        (3, 2)
        >>> load_steps([[1, 2], [3, 4], [5, 6]]).values.shape
        (3, 2)
        >>> load_steps({"x": [1, 2, 3], "y": [4, 5, 6]}).values.shape
        (3, 2)
    """
    steps = _loaded(cell)
    if not channels_first or steps.fixed:
        return steps
    return turned(steps)


def turned(steps: Steps) -> Steps:
    """Return steps of which the axes of time and channels are exchanged.

    Example:
        >>> turned(load_steps([[1, 2, 3], [4, 5, 6]])).values.shape
        (3, 2)
    """
    return steps._replace(values=steps.values.T.copy(), missing=steps.missing.T.copy())


def _loaded(cell: Any) -> Steps:
    try:
        if isinstance(cell, str | Path):
            return _of_file(Path(cell))
        if isinstance(cell, bytes):
            return _of_bytes(io.BytesIO(cell))
        if isinstance(cell, Mapping):
            return _of_channels(cell)
        if isinstance(cell, tuple) and len(cell) == 2 and np.ndim(cell[0]) and not np.ndim(cell[1]):
            return _loaded(cell[0])._replace(rate=_rate(cell[1]))
        if isinstance(cell, np.ndarray):
            return _of_array(cell, may_miss=True)
        return _of_list(cell)
    except BadCellError:
        raise
    except Exception as error:  # NumPy, Arrow and zipfile raise exceptions of many types
        raise BadCellError(f"not a series: {' '.join(str(error).split())}") from None


def _of_array(array: NDArray[Any], *, may_miss: bool) -> Steps:
    if array.dtype.kind not in "biuf":
        raise BadCellError(f"not a series: its numbers are {array.dtype}")
    if array.ndim not in (1, 2):
        raise BadCellError(f"not a series [T] or [T, C]: has the shape {[*array.shape]}")
    with np.errstate(invalid="ignore", over="ignore"):  # of long doubles; what is not finite is refused
        values = np.asarray(array, dtype=np.float64).reshape(len(array), -1 if array.size else 1)
    missing = np.isnan(values) if may_miss else np.zeros(values.shape, dtype=bool)
    return Steps(values, missing, fixed=array.ndim == 1)


def _of_list(cell: Any) -> Steps:
    steps = [*cell]
    nested = [isinstance(step, list | tuple | np.ndarray) for step in steps]
    known = [step is not None for step in steps]
    if not any(nested):
        steps = [[step] for step in steps]
    elif (odd := next((i for i, step in enumerate(steps) if known[i] and not nested[i]), None)) is not None:
        raise BadCellError(f"not a series: step {odd + 1} is {shown(steps[odd])}, others are lists")
    widths = [len(step) for step in steps if step is not None]
    channels = widths[0] if widths else 1
    rows: list[list[Any]] = []
    for i, step in enumerate(steps):
        row = [None] * channels if step is None else [*step]
        if len(row) != channels:
            raise BadCellError(f"not a series: step {i + 1} has {len(row)} numbers, the first has {channels}")
        for number in row:
            if not isinstance(number, int | float | np.number | np.bool_ | None):
                raise BadCellError(f"not a series: step {i + 1} has {shown(number)} in place of a number")
        rows.append(row)
    missing = np.array([[number is None for number in row] for row in rows], dtype=bool)
    values = np.array([[np.nan if n is None else n for n in row] for row in rows], dtype=np.float64)
    shape = (len(rows), channels)
    return Steps(values.reshape(shape), missing.reshape(shape), fixed=not any(nested))


def _of_channels(cell: Mapping[str, Any]) -> Steps:
    """Return the steps of lists of one length; a channel that is None is missing."""
    given = {name: load_steps(list_) for name, list_ in cell.items() if list_ is not None}
    if not given:
        raise BadCellError("an empty series (0 steps)")
    (first, one), *_ = given.items()
    for name, steps in given.items():
        if steps.values.shape[1] != 1:
            raise BadCellError(f"not a series: {name!r} is no list of numbers")
        if len(steps.values) != len(one.values):
            raise InconsistentError(
                f"has {len(steps.values)} steps in {name!r}, but {len(one.values)} in {first!r}"
            )
    empty = Steps(np.full(one.values.shape, np.nan), np.ones(one.missing.shape, dtype=bool))
    each = [given.get(name, empty) for name in cell]
    values, missing = np.hstack([s.values for s in each]), np.hstack([s.missing for s in each])
    return Steps(values, missing, one.rate, fixed=True)


def _of_file(path: Path) -> Steps:
    check_file(path)
    kind = format_of(path)
    if kind in (".csv", ".tsv"):
        return _of_table(_read_csv(path))
    if kind in (".feather", ".arrow"):
        return _of_table(pyarrow.feather.read_table(path))
    with path.open("rb") as file:
        return _of_bytes(file)


def _of_bytes(file: BinaryIO) -> Steps:
    """Return the steps of an .npy, .npz or Parquet file, told apart by how it begins."""
    magic = file.read(4)
    file.seek(0)
    if magic == b"PAR1":
        return _of_table(pyarrow.parquet.read_table(file))
    if magic == b"PK\x03\x04":
        return _of_npz(file)
    return _of_array(read_npy(file), may_miss=False)


def _of_npz(file: BinaryIO) -> Steps:
    """Return the one array of an .npz, which may have its ``rate`` beside it."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = read_npy(member)  # type: ignore[arg-type]
    rate = _rate(arrays.pop(RATE)) if RATE in arrays else None
    if len(arrays) != 1:
        raise BadCellError(
            f"not a series: must have one array, beside {RATE!r}; has {', '.join(arrays) or None}"
        )
    return _of_array(arrays.popitem()[1], may_miss=False)._replace(rate=rate)


def _read_csv(path: Path) -> pa.Table:
    """Read a CSV file; its first line is a header unless all of it are numbers."""
    dialect = dialect_of(path)
    try:
        header = not [float(name or "nan") for name in dialect.names]
    except ValueError:
        header = True
    return pyarrow.csv.read_csv(
        path,
        pyarrow.csv.ReadOptions(
            use_threads=False, autogenerate_column_names=not header, encoding=dialect.encoding
        ),
        # A blank line of a single column is a missing number.
        pyarrow.csv.ParseOptions(delimiter=dialect.separator, ignore_empty_lines=len(dialect.names) > 1),
        pyarrow.csv.ConvertOptions(null_values=EMPTY),
    )


def _of_table(table: pa.Table) -> Steps:
    """Return the steps of a table of numbers, a column a channel; one of times gives the rate."""
    if table.num_rows * table.num_columns > MAX_SIZE:
        raise BadCellError(f"refused, too large: {[table.num_rows, table.num_columns]}")
    rate, values = None, []
    for name in table.column_names:
        kind = table[name].type
        if name.strip().lower() in TIMES:
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                rate = _rate_of(table[name].to_numpy())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise BadCellError(f"not a series: its column {name!r} has cells that are not numbers")
        else:
            values.append(table[name])
    if not values:
        raise BadCellError("not a series: has no column of numbers besides the times")
    missing = np.stack([np.asarray(column.is_null()) for column in values], axis=1)
    floats = [column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy() for column in values]
    return Steps(np.stack(floats, axis=1), missing, rate, fixed=True)


def _rate_of(times: NDArray[Any]) -> float | None:
    """Return the mean rate of times in seconds; None if they do not ascend."""
    if len(times) < 2 or not (np.diff(times) > 0).all():
        return None
    return float((len(times) - 1) / (times[-1] - times[0]))


def _rate(rate: Any) -> float:
    known = float(np.asarray(rate).reshape(()))
    if not 0 < known < np.inf:
        raise BadCellError(f"its rate must be more than 0, is {known}")
    return known
