"""Find the modalities of a table: their columns and types, stated or inferred."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from altuna.data.table.column_types import TYPES, are_files, column_type, is_of_no_use
from altuna.errors import UserError
from altuna.options import check_options, nearest


@dataclass(frozen=True)
class Modality:
    """The type and the columns of a modality (several columns only for numeric vectors).

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
        found = _infer(table, [name for name in columns if name not in left_out], declared)
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
        if spec.get("type", "vector") != "vector" and "prefix" not in spec:
            columns += spec.get("columns") or [spec.get("column", name)]
    return columns


def _place(type: str, column: str, columns: Sequence[str], prefix: str) -> None:
    """Define the keys of a modality in ``modalities``, by which they are checked."""


def _infer(table: pa.Table, columns: list[str], declared: Mapping[str, str]) -> dict[str, Modality]:
    """Return a modality per column; numeric columns with one prefix (``acc_x``, ``acc_y``) share one."""
    vectors: dict[str, list[str]] = {}
    found = {}
    for name in columns:
        kind = column_type(table[name], declared.get(name))
        if kind == "number":
            vectors.setdefault(re.split(r"[._\d]", name, maxsplit=1)[0] or name, []).append(name)
        elif kind in TYPES:
            if kind == "video" and name.lower() == "audio":
                kind = "audio"  # the sound of clips
            found[name] = modality_of(table, kind, [name])
    for prefix, names in vectors.items():
        # A column of another type may already have the prefix as its name.
        found[f"{prefix}_numbers" if prefix in found else prefix] = Modality("vector", (*names,))
    return found


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
    kind = spec.get("type") or column_type(table[names[0]], declared.get(names[0])) or "text"
    kind = {"number": "vector", "class": "text"}.get(kind, kind)
    if kind not in TYPES:
        raise UserError(f"{path}: modality {name!r}: unknown type {kind!r}{nearest(kind, TYPES)}")
    if len(names) > 1 and kind != "vector":
        raise UserError(f"{path}: modality {name!r}: several columns must be of type vector, not {kind}")
    check_numbers(path, table, names)
    return modality_of(table, kind, names)


def check_numbers(path: Path, table: pa.Table, columns: Sequence[str]) -> None:
    """Raise UserError if one of several columns of a vector is not numeric.

    Example:
        >>> check_numbers(Path("owls.csv"), pa.table({"x": [1.0], "y": ["high"]}), ["x", "y"])
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: owls.csv, column 'y': has cells that are not numbers
    """
    for column in columns:
        if len(columns) > 1 and column_type(table[column]) not in ("number", None):
            raise UserError(f"{path}, column {column!r}: has cells that are not numbers")
