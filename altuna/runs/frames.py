"""Tables that other libraries hold in memory: pandas and polars frames, Arrow tables."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import is_list
from altuna.errors import UserError
from altuna.options import shown
from altuna.text import one_line

TEXTS = ("Interval", "Period", "UUID")  # types of Python and pandas whose values are taken as texts


def is_frame(data: object) -> bool:
    """Return whether an object is a table in memory, by what pandas, polars and Arrow agreed on.

    Example:
        >>> is_frame(pa.table({"note": ["hoot"]})), is_frame([{"note": "hoot"}])
        (True, False)
    """
    return any(hasattr(data, name) for name in ("__arrow_c_stream__", "__dataframe__"))


def table_of(frame: Any) -> pa.Table | None:
    """Return a frame as an Arrow table, in which NaN has no value; None if Arrow cannot hold it so.

    Raises:
        UserError: Two of its columns have the same name.

    Example:
        >>> table_of(pa.table({"acc": [0.5, float("nan")]})).to_pydict()
        {'acc': [0.5, None]}
    """
    names = getattr(frame, "column_names", getattr(frame, "columns", ()))  # of Arrow, else pandas and polars
    _check_names(map(str, names), type(frame).__name__)
    try:
        if "Object" in map(str, getattr(frame, "dtypes", ())):  # of polars, which gives addresses to Arrow
            return None
        # The views of polars' own types have fewer functions in Arrow than what ``to_arrow`` gives.
        table = pa.table(frame.to_arrow() if hasattr(frame, "to_arrow") else frame)
    except (pa.ArrowException, TypeError, ValueError):
        return None
    for i, field in enumerate(table.schema):
        if "extension<" in str(field.type):  # such as periods, of which Arrow has the numbers alone
            return None
        if is_list(field.type) and pa.types.is_floating(field.type.value_type):
            if pc.any(pc.is_nan(pc.list_flatten(table[i]))).as_py():
                return None
        elif pa.types.is_floating(field.type):
            table = table.set_column(i, field.name, pc.if_else(pc.is_nan(table[i]), None, table[i]))
    return table


def records_of(data: Any) -> list[Mapping[Any, Any]]:
    """Return the rows of a frame as dicts by names of columns, or the dicts of a list.

    Raises:
        UserError: It is neither, or a row has two values of one name.

    Example:
        >>> records_of(pa.table({"note": ["hoot", None]})), records_of(iter([{"note": "hoot"}]))
        ([{'note': 'hoot'}, {'note': None}], [{'note': 'hoot'}])
    """
    ways = {"to_dicts": (), "to_pylist": (), "to_dict": ("records",)}  # of polars, Arrow and pandas
    name = next((name for name in ways if is_frame(data) and hasattr(data, name)), None)
    try:
        if any(name is not None for name in getattr(getattr(data, "index", None), "names", ())):
            data = data.reset_index()  # an index of pandas with a name is a column
        records = [*(getattr(data, name)(*ways[name]) if name else data)]
    except Exception as error:  # of any library
        raise UserError(f"{type(data).__name__}: cannot be read as a table: {one_line(error)}") from None
    if all(isinstance(record, Mapping) for record in records):
        return [_plain(record) for record in records]
    raise UserError(
        "give the path of a manifest, a frame of pandas or polars, or a list of dicts that map names of "
        "modalities to values"
    )


def _plain(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a record whose keys are texts, and paths and the like, too."""
    _check_names(map(str, record), "data")
    return {
        str(name): str(value) if isinstance(value, os.PathLike) or type(value).__name__ in TEXTS else value
        for name, value in record.items()
    }


def _check_names(names: Iterable[str], where: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise UserError(f"{where}: column {shown(name)} occurs twice")
