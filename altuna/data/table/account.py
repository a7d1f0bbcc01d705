"""What each column of a table is used as, or why it is left out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import filled, is_empty
from altuna.data.table.column_types import column_type
from altuna.data.table.ids import are_ids, counts_rows, names_splits
from altuna.data.table.modalities import Modality

MIN_ROWS = 20  # in a smaller table the values of a column tell too little about it
EMPTY = "is empty in all training rows"
DOUBTFUL = "doubtful: "
SHOWN = 8  # names of columns in a line


class Column(NamedTuple):
    """A column of a table: what it is used as, or, if that is empty, why it is left out.

    The reason of a column that is used tells why its use is doubtful, if it is.

    Example:
        >>> Column("Unnamed: 0", "", "numbers the rows").used_as
        ''
    """

    column: str
    used_as: str
    reason: str


def reasons(table: pa.Table, columns: Iterable[str], *, by_value: bool = True) -> dict[str, str]:
    """Return why columns that nobody has asked for are no modality, by column; others are not in it.

    Args:
        table: The table.
        columns: The columns.
        by_value: Leave out those that number the rows, have one value or name splits, too; not if the table
            has fewer than ``MIN_ROWS`` rows, or where no column would be left.

    Example:
        >>> columns = {"row": range(20), "fold": [1, 2] * 10, "kind": ["a"] * 20, "acc": [0.1, 0.2] * 10}
        >>> table = pa.table({name: [*values] for name, values in columns.items()})
        >>> reasons(table, table.column_names)
        {'row': 'numbers the rows', 'fold': 'names splits or folds', 'kind': 'has only one value'}
    """
    found = {name: _of_no_use(name, table[name]) for name in columns}
    if by_value and len(table) >= MIN_ROWS:
        by_values = {n: _tells_nothing(n, table[n]) for n, reason in found.items() if not reason}
        if not all(by_values.values()):
            found |= by_values
    return {name: reason for name, reason in found.items() if reason}


def _of_no_use(name: str, column: pa.ChunkedArray) -> str:
    if not name.strip() or name.startswith("__index_level_"):
        return "has the row numbers of pandas"
    if column_type(column) is None:
        return "is empty" if is_empty(column) else f"has cells of the type {column.type}"
    return ""


def _tells_nothing(name: str, column: pa.ChunkedArray) -> str:
    if column_type(column) not in ("number", "text"):  # of files, the same one in all rows is a mistake
        return ""
    if counts_rows(name, column):
        return "numbers the rows"
    whole = pa.types.is_integer(column.type)
    distinct = pc.count_distinct(column, mode="all").as_py()
    if distinct == 1 and len(column) > 1:
        return "has only one value"
    if whole and distinct == len(column) and re.fullmatch(r"Unnamed: \d+(\.\d+)?", name):
        return "has the row numbers of pandas"
    if names_splits(name, column, distinct):
        return "names splits or folds"
    if distinct == len(column) and are_ids(name, column):
        return "has another id in each row"
    return ""


def account(
    table: pa.Table,
    roles: Mapping[str, str],
    modalities: Mapping[str, Modality],
    left_out: Mapping[str, str],
    doubts: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Column, ...]:
    """Return what each column of a table is used as, in the table's order.

    Args:
        table: The table.
        roles: From ``id``, ``split``, ``label`` and ``group`` to their columns.
        modalities: The modalities.
        left_out: Column to the reason.
        doubts: Column to why its use is doubtful.

    Example:
        >>> table = pa.table({"class": ["a"], "acc": [1.0], "memo": ["x"]})
        >>> acc = {"acc": Modality("vector", ("acc",))}
        >>> [(c.column, c.used_as or c.reason) for c in account(table, {"label": "class"}, acc, {})]
        [('class', 'label'), ('acc', 'acc (vector)'), ('memo', 'is in none of the modalities')]
    """
    uses: dict[str, list[str]] = {}
    for role, column in roles.items():
        uses.setdefault(column, []).append(role)
    for name, modality in modalities.items():
        for column in modality.columns:
            uses.setdefault(column, []).append(f"{name} ({modality.use_of(column)})")
    return tuple(
        Column(name, ", ".join(uses[name]), f"{DOUBTFUL}{doubts[name]}" if name in doubts else "")
        if name in uses
        else Column(name, "", left_out.get(name, "is in none of the modalities"))
        for name in table.column_names
    )


def without_cells(
    columns: Sequence[Column], table: pa.Table, modalities: Mapping[str, Modality], rows: NDArray[np.int64]
) -> tuple[Column, ...]:
    """Return an account in which columns without a cell in the training rows are left out.

    They are those of modalities with several columns, which may have others instead; the front ends make them
    0. A modality without any cell is an error elsewhere.

    Example:
        >>> table = pa.table({"age": [1.0, 2.0], "size": [None, 2.0]})
        >>> body = {"body": Modality("vector", ("age", "size"))}
        >>> columns = account(table, {}, body, {})
        >>> [column.reason for column in without_cells(columns, table, body, rows=np.array([0]))]
        ['', 'is empty in all training rows']
    """
    several = [name for m in modalities.values() if len(m.columns) > 1 for name in m.columns]
    empty = {name for name in several if not np.asarray(filled(table[name]))[rows].any()}
    return tuple(Column(c.column, "", EMPTY) if c.column in empty else c for c in columns)


def described(columns: Sequence[Column]) -> list[str]:
    """Return an account as a line on the columns that are used, one on those left out, and one on doubts.

    A column is named only where its use has another name.

    Example:
        >>> acc = [Column(f"acc_{i}", "acc (vector)", "") for i in range(3)]
        >>> described([Column("row", "", "numbers the rows"), *acc])
        ['columns: acc (vector) from acc_0, acc_1, acc_2', 'left out: row (numbers the rows)']
    """

    def names(some: Iterable[Column]) -> str:
        shown = [c.column if c.column.strip() else "a column without a name" for c in some]
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        return ", ".join(shown[:SHOWN]) + more

    uses: dict[str, list[Column]] = {}
    for column in columns:
        if column.used_as:
            uses.setdefault(column.used_as, []).append(column)
    used = [
        use if [c.column for c in same] in ([use], [use.rpartition(" (")[0]]) else f"{use} from {names(same)}"
        for use, same in uses.items()
    ]
    unused = sorted((c for c in columns if not c.used_as), key=lambda c: c.reason)
    left = [f"{names(same)} ({reason})" for reason, same in groupby(unused, key=lambda c: c.reason)]
    doubts = [f"{c.column} ({c.reason.removeprefix(DOUBTFUL)})" for c in columns if c.used_as and c.reason]
    more = f" and {len(doubts) - SHOWN} more, see columns.csv" if len(doubts) > SHOWN else ""
    return [
        f"columns: {'; '.join(used)}",
        *([f"left out: {'; '.join(left)}"] if left else []),
        *([f"{DOUBTFUL}{'; '.join(doubts[:SHOWN])}{more}"] if doubts else []),
    ]


def from_csv(text: str) -> list[Column]:
    r"""Return the account that ``columns.csv`` holds; rows of another form are left out.

    Example:
        >>> from_csv("column,used_as,reason\nrow,,numbers the rows\n")
        [Column(column='row', used_as='', reason='numbers the rows')]
    """
    rows = [*csv.reader(io.StringIO(text))]
    return [Column(*row) for row in rows[1:] if len(row) == len(Column._fields)]


def to_csv(columns: Sequence[Column]) -> str:
    r"""Return the content of ``columns.csv``.

    Example:
        >>> to_csv([Column("row", "", "numbers the rows")])
        'column,used_as,reason\nrow,,numbers the rows\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Column._fields)
    writer.writerows(columns)
    return text.getvalue()
