"""Find the cells of modalities in records: dicts by modality, or by the columns of a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from altuna.data.formats.numbers import MISSING, NumberFormat
from altuna.data.readers import Reader
from altuna.errors import UserError
from altuna.options import nearest, shown
from altuna.runs.columns import lacked, matched, number_columns
from altuna.text import clipped

WHOLE = (list, tuple, np.ndarray, torch.Tensor)  # what all numbers of a vector come in
NULLS = ("NAType", "NaTType")  # the types of pandas.NA and pandas.NaT


class Use(NamedTuple):
    """What a key of a record has: the cell of a modality or, with ``column``, a part of it.

    Example:
        >>> Use("len", column="len_mm").modality
        'len'
    """

    modality: str
    column: str | None = None


class Fields:
    """The keys that records may have, and how the cells of modalities are made of their values.

    ``notes`` has remarks for the user, each one line, on the records so far.

    Args:
        readers: The reader of each modality.
        columns: The columns of each modality in training; a column of its own name if there are none.
        others: Other keys, which are passed over: further columns of the table of training.
        strict: Raise UserError for keys that are none of these; otherwise they are passed over with a note.
        formats: How the numbers of some columns are written in the training data.

    Example:
        >>> from altuna.data.readers import READERS
        >>> readers = {"note": READERS["text"](("<hoot>",), 1), "len": READERS["vector"](2)}
        >>> fields = Fields(readers, {"len": ("len_cm", "len_mm")}, others=["label"])
        >>> fields.cells({"note": float("nan"), "len_cm": 4.1, "label": "owl"}, "sample 0")
        {'len': [4.1, None]}
        >>> fields.notes
        ["'len' lacks column 'len_mm': imputed"]
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        columns: Mapping[str, Sequence[str]],
        others: Collection[str] = (),
        strict: bool = True,
        formats: Mapping[str, NumberFormat] | None = None,
    ) -> None:
        self.readers, self.strict, self._formats = readers, strict, formats or {}
        self.columns = {name: tuple(columns.get(name) or (name,)) for name in readers}
        known: dict[str, list[Use]] = {name: [] for name in others}
        for name, own in self.columns.items():
            for column in own:
                known[column] = [*known.get(column, []), Use(name, column)]
        self._numeric = number_columns(readers, self.columns)
        self._known = known | {name: [Use(name)] for name in readers}
        self._uses: dict[tuple[Any, ...], dict[Any, list[Use]]] = {}
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> list[str]:
        """Return remarks on the records so far, each one line."""
        return [*self._notes]

    def cells(self, record: Mapping[Any, Any], where: str) -> dict[str, Any]:
        """Return the cell of each modality that a record has, as readers take it.

        Args:
            record: Values by modality or column.
            where: Names the record in messages.

        Raises:
            UserError: An unknown key, a modality that is given twice, or a value that is no number.
        """
        keys = (*record,)
        if keys not in self._uses:
            self._uses[keys] = self._find(keys, where)
        given: dict[str, dict[str | None, Any]] = {}
        for key, uses in self._uses[keys].items():
            for name, column in uses:
                value, own = record[key], self.columns[name]
                if column is None and len(own) > 1 and name in own and not isinstance(value, WHOLE):
                    column = name  # one of several columns has the name of the modality
                given.setdefault(name, {})[column] = value
        found = {}
        for name, values in given.items():
            if None in values and len(values) > 1:
                twice = next(column for column in values if column is not None)
                raise UserError(f"{where}: {name!r} is given twice, as a whole and by its column {twice!r}")
            values = {
                column: self._as_written(name, column, value, where) for column, value in values.items()
            }
            cell = values[None] if None in values else cell_of(self.readers[name], self.columns[name], values)
            if (clean := plain(self.readers[name], cell, f"{where}, {name!r}")) is not None:
                found[name] = clean
        return found

    def _as_written(self, name: str, column: str | None, value: Any, where: str) -> Any:
        """Return a value of a column of numbers as in a table; others, and no numbers, as they are."""
        own = self.columns[name]
        if isinstance(value, Mapping):
            return {key: self._as_written(name, key, part, where) for key, part in value.items()}
        several = isinstance(value, list | tuple) and self._numeric.keys() >= {*own}
        if column is None and several and len(value) == len(own):
            return [self._as_written(name, *pair, where) for pair in zip(own, value, strict=True)]
        column = own[0] if column is None and len(own) == 1 else column
        if column not in self._numeric:
            return value
        format = self._formats.get(column, NumberFormat())
        value = value.total_seconds() if isinstance(value, timedelta) else value
        unit = (format.suffix or format.prefix) if isinstance(value, str) else format.unit
        has_unit = not unit or (isinstance(value, str) and unit in value)
        if isinstance(value, str | int | float) and not is_missing(value) and not has_unit:
            self._notes[f"numbers of {column!r} are read in {unit!r}, as in training"] = None
        if not isinstance(value, str) or not value.strip():
            return None if isinstance(value, int | float) and value in format.missing else value
        if value.strip().lower() in MISSING:
            return None
        text = pa.chunked_array([[value.encode(errors="replace").decode()]], pa.string())
        (found,) = replace(format, missing=()).parse(text).to_pylist()
        if found is None and not format.is_plain:
            cell = f"{shown(value)} is no number like {format.sample!r}, as in training"
            raise UserError(f"{where}, column {column!r}: {cell}")
        return value if found is None else None if found in format.missing else found

    def _find(self, keys: Sequence[Any], where: str) -> dict[Any, list[Use]]:
        """Return the uses of each key; raise UserError for an unknown one."""
        named = matched([*self._known], keys)
        known = {there: name for name, there in named.items()}
        for key in keys:
            hint = clipped(nearest(str(key), self._known)) if key not in known else ""
            if hint and self.strict:
                raise UserError(f"{where}: unknown modality or column {key!r}{hint}")
            if hint:
                self._notes[f"{key!r} is not used{hint}"] = None
            elif known[key] != key:
                self._notes[f"{key!r} is read as {known[key]!r}"] = None
        uses = {key: self._known[name] for key, name in known.items()}
        there = {use for some in uses.values() for use in some}
        for name, own in self.columns.items():
            lacking = [column for column in own if Use(name, column) not in there]
            if len(lacking) < len(own) and lacking and Use(name) not in there:
                self._notes[f"{name!r} lacks {lacked(lacking, ())}: imputed"] = None
        return uses


def cell_of(reader: Reader, columns: Sequence[str], values: Mapping[Any, Any]) -> Any:
    """Return the cell of a modality that is made of the values of its columns, None if all are missing.

    Example:
        >>> from altuna.data.readers import READERS
        >>> cell_of(READERS["vector"](2), ["len_cm", "len_mm"], {"len_mm": 25})
        [None, 25]
    """
    parts = {column: None if is_missing(part := values.get(column)) else part for column in columns}
    return reader.cell_of(parts) if any(part is not None for part in parts.values()) else None


def plain(reader: Reader, cell: Any, where: str) -> Any:
    """Return a cell as its reader takes it, None if it is missing.

    Raises:
        UserError: A text among numbers is no number.

    Example:
        >>> from altuna.data.readers import READERS
        >>> plain(READERS["vector"](2), [float("nan"), "2.5"], "sample 0")
        [None, 2.5]
        >>> plain(READERS["vector"](1), 2.5, "sample 0"), plain(READERS["vector"](1), "2.5", "sample 0")
        ([2.5], [2.5])
        >>> plain(READERS["text"]((), 1), " ", "sample 0") is None
        True
    """
    cell = _content(cell)
    if isinstance(cell, list | tuple):
        parts = map(_content, cell)
        cell = [*parts] if isinstance(cell, list) else tuple(parts)
    if isinstance(cell, Mapping) and reader.kinds([*cell]):
        return {column: value for column, value in cell.items() if not is_missing(value)} or None
    if is_missing(cell):
        return None
    if reader.type != "vector" or isinstance(cell, bytes):
        return cell
    if isinstance(cell, np.ndarray) and cell.ndim:
        return None if cell.size and cell.dtype.kind == "f" and np.isnan(cell).all() else cell
    if isinstance(cell, list | tuple):
        numbers = [number(value, where) for value in cell]
        return None if numbers and all(value is None for value in numbers) else numbers
    if isinstance(cell, int | float | np.number | np.ndarray):
        return [cell]
    return _number_or_path(reader, cell, where)


def _content(value: Any) -> Any:
    """Return the picture or sound of a cell of Hugging Face data sets, the array of a tensor, else itself."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if not isinstance(value, Mapping):
        return value
    if {"array", "sampling_rate"} <= value.keys():
        return _content(value["array"]), value["sampling_rate"]
    if value.keys() <= {"bytes", "path"}:
        return value.get("path") if value.get("bytes") is None else value["bytes"]
    return value


def _number_or_path(reader: Reader, cell: Any, where: str) -> Any:
    """Return a text that is a vector's only number as a list, others (paths of .npy files) as they are."""
    try:
        return [number(cell, where)] if reader.shape == (1,) and isinstance(cell, str) else cell
    except UserError:
        return cell


def number(value: Any, where: str) -> Any:
    """Return a value of a vector as a number, None if it is missing; only texts are converted.

    Raises:
        UserError: It is a text that is no number.

    Example:
        >>> number("2.5", "sample 0"), number("n/a", "sample 0"), number(True, "sample 0")
        (2.5, None, True)
    """
    if is_missing(value) or (isinstance(value, str) and value.strip().lower() in MISSING):
        return None
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise UserError(f"{where}: not a number: {shown(value)}") from None


def is_missing(value: object) -> bool:
    """Return whether a value in Python stands for none: None, NaN, pandas.NA and NaT, and blank texts.

    Example:
        >>> [is_missing(value) for value in (None, float("nan"), " ", 0, "nan")]
        [True, True, True, False, False]
    """
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in NULLS
