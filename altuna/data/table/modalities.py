"""Find the modalities of a table: their columns and types, stated or inferred."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from altuna.data.table.column_types import NUMERIC, TYPES, are_files, column_type, is_list, is_of_no_use
from altuna.data.table.sequences import array_type, channel_groups
from altuna.errors import UserError
from altuna.options import check_options, nearest


@dataclass(frozen=True)
class Modality:
    """The type and the columns of a modality (several columns only for vectors and series).

    ``files`` is True if the cells are paths of files, not the contents themselves.
    """

    type: str
    columns: tuple[str, ...]
    files: bool = False


def modality_of(table: pa.Table, type: str, columns: Sequence[str]) -> Modality:
    """Return a modality of a type in some columns, after finding out whether its cells are paths.

    Example:
        >>> modality_of(pa.table({"photo": ["a.jpg", None]}), "image", ["photo"])
        Modality(type='image', columns=('photo',), files=True)
    """
    return Modality(type, (*columns,), len(columns) == 1 and are_files(table[columns[0]], type))


def find_modalities(
    path: Path,
    table: pa.Table,
    stated: Mapping[str, Mapping[str, Any]] | None,
    reserved: Sequence[str],
    left_out: Collection[str],
    declared: Mapping[str, str],
) -> dict[str, Modality]:
    """Return the modalities: those stated, or else those inferred from the columns of the table.

    Args:
        path: Path of the manifest, for errors.
        table: The manifest.
        stated: ``modalities`` of ``read_manifest``, or None to infer them.
        reserved: The columns of id, split, label and group, which no modality can use.
        left_out: Other columns that are a modality only if that is stated.
        declared: Column to the type that the file itself states for it.

    Example:
        >>> table = pa.table({"label": ["a"], "acc_x": [1.0], "acc_y": [2.0], "photo": ["owl.jpg"]})
        >>> found = find_modalities(Path("owls.csv"), table, None, ["label"], left_out=[], declared={})
        >>> {name: (modality.type, modality.columns) for name, modality in found.items()}
        {'photo': ('image', ('photo',)), 'acc': ('vector', ('acc_x', 'acc_y'))}
    """
    columns = [name for name in table.column_names if name not in reserved]
    if stated is not None and not stated:
        raise UserError(f"{path}: modalities is empty: list at least one modality, or remove this key")
    if stated is None:
        found = _infer(path.parent, table, [name for name in columns if name not in left_out], declared)
    else:
        found = {name: _state(path, table, columns, name, spec, declared) for name, spec in stated.items()}
    if not found:
        raise UserError(f"{path}: no modality: no column besides {', '.join(reserved)} can be used as one")
    return found


def stated_texts(stated: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
    """Check the options in ``modalities``; return the columns that they state to be no numbers.

    Example:
        >>> stated_texts({"room": {"type": "text"}, "acc": {"prefix": "acc_"}})
        ['room']
    """
    columns: list[str] = []
    for name, spec in (stated or {}).items():
        if not isinstance(name, str):
            raise UserError(f"modalities.{name}: the name of a modality must be text")
        check_options(spec, _place, f"modalities.{name}")
        if spec.get("type", "vector") not in NUMERIC and "prefix" not in spec:
            columns += spec.get("columns") or [spec.get("column", name)]
    return columns


def _place(type: str, column: str, columns: Sequence[str], prefix: str) -> None:
    """Define the keys of a modality in ``modalities``, by which they are checked."""


def _infer(
    folder: Path, table: pa.Table, columns: list[str], declared: Mapping[str, str]
) -> dict[str, Modality]:
    """Return a modality per column; numeric columns with one prefix (``acc_x``, ``acc_y``) share one.

    So do columns of lists that are the channels of one series.
    """
    vectors: dict[str, list[str]] = {}
    series = channel_groups(table, columns)
    channels = {name for names in series.values() for name in names}
    found = {}
    for name in columns:
        if name in channels:
            continue
        kind = _type_of(folder, table[name], declared.get(name))
        if kind == "number":
            vectors.setdefault(re.split(r"[._\d]", name, maxsplit=1)[0] or name, []).append(name)
        elif kind in TYPES:
            if kind == "video" and name.lower() == "audio":
                kind = "audio"  # the sound of clips
            found[name] = modality_of(table, kind, [name])
    for prefix, names in series.items():
        found[f"{prefix}_series" if prefix in found else prefix] = Modality("series", (*names,))
    for prefix, names in vectors.items():
        # A column of another type may already have the prefix as its name.
        found[f"{prefix}_numbers" if prefix in found else prefix] = Modality("vector", (*names,))
    return found


def _type_of(folder: Path, column: pa.ChunkedArray, declared: str | None) -> str | None:
    """Return the type of a column; of arrays in files, by the shapes of the first ones."""
    kind = column_type(column, declared)
    return array_type(folder, column) if kind == "vector" and not is_list(column.type) else kind


def _state(
    path: Path,
    table: pa.Table,
    columns: list[str],
    name: str,
    spec: Mapping[str, Any],
    declared: Mapping[str, str],
) -> Modality:
    if len({"prefix", "columns", "column"} & {*spec}) > 1:
        raise UserError(f"{path}: modality {name!r}: give only one of column, columns and prefix")
    if "prefix" in spec:
        names = [c for c in columns if c.startswith(spec["prefix"])]
        if not names:
            raise UserError(f"{path}: modality {name!r}: no column starts with {spec['prefix']!r}")
    else:
        names = [*(spec.get("columns") or [spec.get("column", name)])]
    for column in names:
        if column not in columns:
            raise UserError(f"{path}: modality {name!r}: no column {column!r}{nearest(str(column), columns)}")
        if is_of_no_use(table[column].type):
            raise UserError(f"{path}, column {column!r}: {table[column].type} cannot be a modality")
    kind = spec.get("type") or _type_of(path.parent, table[names[0]], declared.get(names[0])) or "text"
    if len(names) > 1 and is_list(table[names[0]].type):
        kind = spec.get("type") or "series"  # whose channels may be of one length in all rows
    kind = {"number": "vector", "class": "text"}.get(kind, kind)
    if kind not in TYPES:
        raise UserError(f"{path}: modality {name!r}: unknown type {kind!r}{nearest(kind, TYPES)}")
    if len(names) > 1 and kind not in NUMERIC:
        raise UserError(
            f"{path}: modality {name!r}: several columns must be of type vector or series, not {kind}"
        )
    check_numbers(path, table, names, kind)
    return modality_of(table, kind, names)


def check_numbers(path: Path, table: pa.Table, columns: Sequence[str], type: str = "vector") -> None:
    """Raise UserError if one of several columns has no numbers for a vector, no lists for a series.

    Example:
        >>> check_numbers(Path("owls.csv"), pa.table({"x": [1.0], "y": ["high"]}), ["x", "y"])
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: owls.csv, column 'y': has cells that are not numbers
    """
    for column in columns if len(columns) > 1 else ():
        kind = column_type(table[column])
        if type == "series" and not (kind is None or is_list(table[column].type)):
            raise UserError(f"{path}, column {column!r}: has cells that are not lists of numbers")
        if type != "series" and kind not in ("number", None):
            raise UserError(f"{path}, column {column!r}: has cells that are not numbers")
