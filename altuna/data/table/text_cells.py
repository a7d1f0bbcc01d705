"""Read the cells of a table as what they are: numbers and lists that are written as text, empty numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import is_number
from altuna.data.formats.lists import read_lists
from altuna.data.formats.numbers import NumberFormat, Numbers, read_known, read_numbers, without
from altuna.data.formats.sentinels import find_sentinels
from altuna.options import shown

SHOWN = 4  # columns in a remark


class Understood(NamedTuple):
    """A table after ``understand``: how the numbers of its columns are written, and remarks for the user."""

    table: pa.Table
    formats: dict[str, NumberFormat]
    notes: tuple[str, ...]


@dataclass
class _Remarks:
    """Remarks on columns, of which those of one kind become one line."""

    written: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lines(self, path: Path) -> tuple[str, ...]:
        starts = {
            "read as numbers: ": self.written,
            "numbers without a unit, read in that of training: ": self.units,
            "read as missing: ": self.missing,
            "empty these cells if they stand for a missing number: ": self.doubtful,
        }
        lines = [f"{path}: {start}{_joined(names)}" for start, names in starts.items() if names]
        return (*lines, *(f"{path}, {problem}" for problem in self.problems))


def understand(
    path: Path,
    table: pa.Table,
    text: Collection[str],
    known: Mapping[str, NumberFormat],
    decimal: str | None = None,
) -> Understood:
    """Return a table in which columns of texts that are numbers, or lists of them, are such.

    Args:
        path: The file, for remarks.
        table: Its content.
        text: Columns that stay as they are.
        known: How the numbers of some columns are written, as in the training data.
        decimal: The decimal mark that is likely from how the file is written.

    Example:
        >>> table = pa.table({"price": ["$3", "$4.5", "NA"], "acc": ["[1, 2]", "[3, 4]", ""]})
        >>> found = understand(Path("owls.csv"), table, [], {})
        >>> found.table.to_pydict()
        {'price': [3.0, 4.5, None], 'acc': [[1.0, 2.0], [3.0, 4.0], None]}
        >>> found.notes
        ("owls.csv: read as numbers: price ('$3' is 3)", "owls.csv: read as missing: 'NA' in price (1)")
    """
    remarks, formats = _Remarks(), dict[str, NumberFormat]()
    texts = {
        name: table[name]
        for name in table.column_names
        if name not in text and (table[name].type in (pa.string(), pa.large_string()))
    }
    numbers = _numbers(texts, known, decimal)
    for place, name in enumerate(table.column_names):
        if name in text:
            continue
        column, format = table[name], known.get(name, NumberFormat())
        if name in numbers:
            column, format = _remark(name, numbers[name], format, remarks)
        elif is_number(column.type) and format.unit:
            remarks.units.append(f"{name} ({format.unit})")
        if is_number(column.type):
            column, format = _without_sentinels(name, column, format, name in known, remarks)
            if format != NumberFormat():
                formats[name] = format
        elif name in texts:
            lists = read_lists(column)
            column = lists.column
            if lists.problem:
                remarks.problems.append(f"column {name!r}: {lists.problem}")
        if column is not table[name]:
            table = table.set_column(place, name, column)
    return Understood(table, formats, remarks.lines(path))


def _numbers(
    texts: Mapping[str, pa.ChunkedArray], known: Mapping[str, NumberFormat], decimal: str | None
) -> dict[str, Numbers]:
    """Read columns of texts; where 1,234 has thousands or decimals is told by the other columns."""
    numbers = {
        name: read_known(column, known[name]) if name in known else read_numbers(column, decimal)
        for name, column in texts.items()
    }
    formats = [read.format for read in numbers.values() if read.format]
    if decimal is None and any(format.decimal == "," for format in formats):
        for name, read in numbers.items():
            if read.format and read.format.groups == "," and name not in known:
                numbers[name] = read_numbers(texts[name], ",")
    return numbers


def _remark(
    name: str, read: Numbers, format: NumberFormat, remarks: _Remarks
) -> tuple[pa.ChunkedArray, NumberFormat]:
    if read.example:
        remarks.written.append(f"{name} ({read.example})")
    remarks.missing += [
        f"{shown(word)} in {name} ({count:,})" for word, count in read.words.items() if read.format
    ]
    if read.problem:
        remarks.problems.append(f"column {name!r}: {read.problem}")
    return read.column, read.format or format


def _without_sentinels(
    name: str, column: pa.ChunkedArray, format: NumberFormat, known: bool, remarks: _Remarks
) -> tuple[pa.ChunkedArray, NumberFormat]:
    """Return numbers of which NaN and those that stand for a missing number are empty."""
    if pa.types.is_floating(column.type) and (nan := pc.sum(pc.is_nan(column)).as_py()):
        column = pc.if_else(pc.is_nan(column), None, column)
        remarks.missing.append(f"NaN in {name} ({nan:,})")
    if pa.types.is_boolean(column.type):
        return column, format
    if known:  # what was a number in training is one, but is worth a remark
        column = without(column, format.missing)
        remarks.doubtful += [f"{v:.15g} in {name} ({n:,})" for v, n in find_sentinels(column).missing.items()]
        return column, format
    found = find_sentinels(column)
    remarks.missing += [f"{number:.15g} in {name} ({n:,})" for number, n in found.missing.items()]
    remarks.doubtful += [f"{number:.15g} in {name} ({n:,})" for number, n in found.doubtful.items()]
    return without(column, found.missing), replace(format, missing=(*found.missing,))


def _joined(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more
