"""Find columns that may tell the label in a way that new samples do not have, for remarks to the user."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import is_number
from altuna.data.formats.dates import calendar, date_format
from altuna.data.table.account import MIN_ROWS

NEARLY_ALL = 0.98  # of the rows: a column that tells the labels of so many is worth a remark
FEW = 10  # rows with each value of such a column, on average
SAMPLE = 1000  # rows that tell whether labels have ranges
MOST_FREQUENT = 0.9  # share of a label from which on any column tells nearly all labels


def leak_remarks(labels: pa.Array, table: pa.Table, columns: Iterable[str]) -> list[str]:
    """Return a remark on each column that alone tells the label.

    It has one value for each label, or nearly every one of its few values has one label, or it is a date or a
    whole number of which each label has a range of its own, as if the rows were written class by class.

    Example:
        >>> table = pa.table({"target": [3, 5] * 10, "acc": [0.1, 0.2, 0.4, 0.5] * 5})
        >>> leak_remarks(pa.array(["cat", "cow"] * 10), table, ["target"])[0][:46]
        "column 'target' has one value for each label: "
    """
    found = []
    for name in columns if len(table) >= MIN_ROWS else ():
        remedy = f"leave it out with --ignore {quote(name)}"
        if share := told_by_values(labels, table[name]):
            some = (
                "has one value for each label" if share is True else f"alone tells {share:.0%} of the labels"
            )
            found.append(f"column {name!r} {some}: if it is a copy of the label, {remedy}")
        elif has_ranges(labels, table[name]):
            start = (
                f"column {name!r} has another range for each label, as if rows were written label by label"
            )
            found.append(f"{start}: if new samples have no such order, {remedy}")
    return found


def told_by_values(labels: pa.Array, column: pa.ChunkedArray) -> float | bool:
    """Return True if each label has one value, or the share of the labels that few values tell, 0 if few.

    Example:
        >>> labels = pa.array(["cat", "cow", "owl"] * 20)
        >>> told_by_values(labels, pa.chunked_array([[True, False, False] * 20]))
        True
        >>> told_by_values(labels, pa.chunked_array([["a", "b", "c", "a", "b", "c2"] * 10]))
        1.0
        >>> told_by_values(labels, pa.chunked_array([["a", "b"] * 30]))
        0.0
    """
    if not (
        is_number(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        return 0.0
    pairs = pa.table({"label": labels, "value": column}).drop_null()
    classes = pc.count_distinct(pairs["label"]).as_py()
    values = pc.count_distinct(pairs["value"]).as_py()
    if min(classes, values) < 2 or len(pairs) < len(labels) / 2:
        return 0.0
    if values > classes and values * FEW > len(pairs):
        return 0.0
    counts = pairs.group_by(["label", "value"]).aggregate([([], "count_all")])
    if len(counts) == classes and len(pairs) == len(labels) - labels.null_count:
        return True
    of_label = pc.max(pairs.group_by("label").aggregate([([], "count_all")])["count_all"]).as_py()
    if values * FEW > len(pairs) or of_label > MOST_FREQUENT * len(pairs):
        return 0.0
    told = pc.sum(counts.group_by("value").aggregate([("count_all", "max")])["count_all_max"]).as_py()
    return float(told / len(pairs)) if told >= NEARLY_ALL * len(pairs) else 0.0


def has_ranges(labels: pa.Array, column: pa.ChunkedArray) -> bool:
    """Return whether each label has a range of its own in a column of dates or whole numbers.

    Half of the values must be different: fewer are a measurement that may tell the label by itself.

    Example:
        >>> has_ranges(pa.array(["cat"] * 10 + ["cow"] * 10), pa.chunked_array([range(100, 160, 3)]))
        True
        >>> has_ranges(pa.array(["cat", "cow"] * 10), pa.chunked_array([range(100, 160, 3)]))
        False
    """
    step = -(-len(column) // SAMPLE) or 1
    some = pa.array(np.arange(0, len(column), step))
    labels, values = labels.take(some), _in_order(column.take(some))
    if values is None:
        return False
    codes = np.asarray(labels.dictionary_encode().indices.fill_null(-1), np.int64)
    known = np.isfinite(values) & (codes >= 0)
    values, codes = values[known], codes[known]
    classes = len(np.unique(codes))
    if classes < 2 or len(codes) < max(MIN_ROWS, len(labels) / 2) or len(np.unique(values)) < len(codes) / 2:
        return False
    runs = 1 + int((np.diff(codes[np.argsort(values, kind="stable")]) != 0).sum())
    return runs == classes


def _in_order(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return whole numbers or dates as numbers; None for other columns."""
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan))
    if pa.types.is_string(column.type) and (found := date_format(column)):
        return calendar(column, found[0])[:, 0]
    return None
