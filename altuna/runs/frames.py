"""Tables that other libraries hold in memory: pandas and polars frames, Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import is_list
from altuna.errors import UserError
from altuna.text import one_line


def is_frame(data: object) -> bool:
    """Return whether an object is a table in memory, by what pandas, polars and Arrow agreed on.

    Example:
        >>> is_frame(pa.table({"note": ["hoot"]})), is_frame([{"note": "hoot"}])
        (True, False)
    """
    return any(hasattr(data, name) for name in ("__arrow_c_stream__", "__dataframe__"))


def table_of(frame: Any) -> pa.Table | None:
    """Return a frame as an Arrow table, in which NaN has no value; None if Arrow cannot hold it so.

    Example:
        >>> table_of(pa.table({"acc": [0.5, float("nan")]})).to_pydict()
        {'acc': [0.5, None]}
    """
    try:
        # The views of polars' own types have fewer functions in Arrow than what ``to_arrow`` gives.
        table = pa.table(frame.to_arrow() if hasattr(frame, "to_arrow") else frame)
    except (pa.ArrowException, TypeError, ValueError):
        return None
    for i, field in enumerate(table.schema):
        if is_list(field.type) and pa.types.is_floating(field.type.value_type):
            if pc.any(pc.is_nan(pc.list_flatten(table[i]))).as_py():
                return None
        elif pa.types.is_floating(field.type):
            table = table.set_column(i, field.name, pc.if_else(pc.is_nan(table[i]), None, table[i]))
    return table


def records_of(data: Any) -> list[Mapping[Any, Any]]:
    """Return the rows of a frame as dicts, or the dicts of a list.

    Raises:
        UserError: It is neither.

    Example:
        >>> records_of(pa.table({"note": ["hoot", None]})), records_of(iter([{"note": "hoot"}]))
        ([{'note': 'hoot'}, {'note': None}], [{'note': 'hoot'}])
    """
    ways = {"to_dicts": (), "to_pylist": (), "to_dict": ("records",)}  # of polars, Arrow and pandas
    name = next((name for name in ways if is_frame(data) and hasattr(data, name)), None)
    try:
        records = [*(getattr(data, name)(*ways[name]) if name else data)]
    except Exception as error:  # of any library
        raise UserError(f"{type(data).__name__}: cannot be read as a table: {one_line(error)}") from None
    if all(isinstance(record, Mapping) for record in records):
        return records
    raise UserError(
        "give the path of a manifest, a frame of pandas or polars, or a list of dicts that map names of "
        "modalities to values"
    )
