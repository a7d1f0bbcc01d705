"""Find the modalities of a table: their columns and types, stated or inferred."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from altuna.data.formats.columns import is_list
from altuna.data.table.column_kinds import ColumnKinds
from altuna.data.table.column_types import NUMERIC, STATED, TYPES, are_files, check_cells
from altuna.data.table.sequences import channel_groups
from altuna.errors import UserError
from altuna.options import check_options, nearest

AXIS = re.compile(r"[._]?(?:\d+|[a-zA-Z])$")  # what differs in acc_x, acc_y or in f0, f1
NUMBERED = re.compile(r"[._](?:\d+|[xyz])")  # what a single column has after its prefix, as in acc_0
SHOWN = 3  # columns in a message
SEVERAL = 3  # columns with one prefix are a modality of their own, even beside single columns


@dataclass(frozen=True)
class Modality:
    """The type and the columns of a modality.

    Only vectors, series and tabular modalities have several columns. ``files`` is True if the cells are paths
    of files, not the contents themselves. ``kinds`` are those of the columns of a tabular modality:
    ``number``, ``category``, or the format of its dates.
    """

    type: str
    columns: tuple[str, ...]
    files: bool = False
    kinds: tuple[str, ...] = ()

    def use_of(self, column: str) -> str:
        """Return what a column is used as.

        Example:
            >>> Modality("tabular", ("age", "born"), kinds=("number", "%Y-%m-%d")).use_of("born")
            'date'
        """
        kind = dict(zip(self.columns, self.kinds, strict=False)).get(column, self.type)
        return kind if kind in STATED else "date"


class Found(NamedTuple):
    """The modalities of a table, and remarks for the user."""

    modalities: dict[str, Modality]
    notes: tuple[str, ...] = ()


def modality_of(table: pa.Table, type: str, columns: Sequence[str], kinds: Sequence[str] = ()) -> Modality:
    """Return a modality of a type in some columns, after finding out whether its cells are paths.

    Example:
        >>> modality_of(pa.table({"photo": ["a.jpg", None]}), "image", ["photo"])
        Modality(type='image', columns=('photo',), files=True, kinds=())
    """
    files = len(columns) == 1 and not kinds and are_files(table[columns[0]], type)
    return Modality(type, (*columns,), files, (*kinds,))


def find_modalities(
    path: Path,
    table: pa.Table,
    stated: Mapping[str, Mapping[str, Any]] | None,
    reserved: Sequence[str],
    left_out: Collection[str],
    declared: Mapping[str, str],
    types: Mapping[str, str] | None = None,
    named: Collection[str] = (),
    *,
    lenient: bool = False,
) -> Found:
    """Return the modalities: those stated, or else those inferred from the columns of the table.

    Args:
        path: Path of the manifest, for errors.
        table: The manifest.
        stated: ``modalities`` of ``read_manifest``, or None to infer them.
        reserved: The columns of id, split, label and group, which no modality can use.
        left_out: Other columns that are a modality only if that is stated, maybe with the reasons.
        declared: Column to the type that the file itself states for it.
        types: Column to the type that the user states for it.
        named: Columns that are modalities of their own, see ``read_manifest``.
        lenient: Take columns of files that cannot be read as text.

    Example:
        >>> table = pa.table({"label": ["a"], "acc_x": [1.0], "acc_y": [2.0], "photo": ["owl.jpg"]})
        >>> found = find_modalities(Path("owls.csv"), table, None, ["label"], left_out=[], declared={})
        >>> {name: (modality.type, modality.columns) for name, modality in found.modalities.items()}
        {'photo': ('image', ('photo',)), 'acc': ('vector', ('acc_x', 'acc_y'))}
    """
    columns = [name for name in table.column_names if name not in reserved]
    if stated is not None and not stated:
        raise UserError(f"{path}: modalities is empty: list at least one modality, or remove this key")
    typing = ColumnKinds(path, table, declared, _checked(path, table, reserved, types or {}), lenient)
    if stated is None:
        found = _infer(typing, [name for name in columns if name not in left_out], named)
    else:
        found = {name: _state(typing, columns, name, spec) for name, spec in stated.items()}
    if not found:
        why = left_out.items() if isinstance(left_out, Mapping) else ()
        reasons = "".join(f"; {name!r} {reason}" for name, reason in [*why][:SHOWN])
        besides = ", ".join(reserved)
        raise UserError(f"{path}: no modality: no column besides {besides} can be used as one{reasons}")
    return Found(found, (*typing.notes,))


def stated_texts(
    stated: Mapping[str, Mapping[str, Any]] | None, types: Mapping[str, str] | None = None
) -> list[str]:
    """Check the options in ``modalities``; return the columns that are stated to be no numbers.

    Example:
        >>> stated_texts({"room": {"type": "text"}, "acc": {"prefix": "acc_"}}, {"zip": "category"})
        ['zip', 'room']
    """
    numeric = (*NUMERIC, "number")
    columns = [column for column, kind in (types or {}).items() if kind not in numeric]
    for name, spec in (stated or {}).items():
        if not isinstance(name, str):
            raise UserError(f"modalities.{name}: the name of a modality must be text")
        check_options(spec, _place, f"modalities.{name}")
        if spec.get("type", "vector") not in numeric and "prefix" not in spec:
            columns += spec.get("columns") or [spec.get("column", name)]
    return columns


def _place(type: str, column: str, columns: Sequence[str], prefix: str) -> None:
    """Define the keys of a modality in ``modalities``, by which they are checked."""


def _checked(
    path: Path, table: pa.Table, reserved: Sequence[str], types: Mapping[str, str]
) -> Mapping[str, str]:
    for column, kind in types.items():
        if column not in table.column_names:
            raise UserError(f"{path}: types: no column {column!r}{nearest(str(column), table.column_names)}")
        if column in reserved:
            raise UserError(
                f"{path}: types: {column!r} has the ids, splits, labels or groups: it has no type"
            )
        if kind not in STATED:
            raise UserError(f"{path}: types.{column}: unknown type {kind!r}{nearest(str(kind), STATED)}")
    return types


def _infer(typing: ColumnKinds, columns: list[str], named: Collection[str]) -> dict[str, Modality]:
    """Return a modality per column; numbers with one prefix (``acc_x``, ``acc_y``) share one.

    So do columns of lists that are the channels of one series. All other numbers, categories and dates form
    one tabular modality.
    """
    series = channel_groups(typing.table, columns)
    channels = {name for names in series.values() for name in names}
    kinds = {name: kind for name in columns if name not in channels and (kind := typing.of(name))}
    found = {}
    for name, kind in kinds.items():
        if name in named and kind not in TYPES:
            kind = "vector" if kind == "number" else "text"
        if kind in TYPES and kind != "tabular":
            if kind == "video" and name.lower() == "audio":
                kind = "audio"  # the sound of clips
            found[name] = modality_of(typing.table, kind, [name])
    for prefix, names in series.items():
        found[f"{prefix}_series" if prefix in found else prefix] = Modality("series", (*names,))
    table_kinds = {name: kind for name, kind in kinds.items() if name not in found}
    for prefix, names in _vectors(table_kinds).items():
        # A column of another type may already have the prefix as its name.
        found[f"{prefix}_numbers" if prefix in found else prefix] = Modality("vector", (*names,))
        table_kinds = {name: kind for name, kind in table_kinds.items() if name not in names}
    if table_kinds:
        name = next(iter(table_kinds)) if len(table_kinds) == 1 else "tabular"
        while name in found:
            name += "_columns"
        found[name] = Modality("tabular", (*table_kinds,), kinds=(*table_kinds.values(),))
    return found


def _vectors(kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns of numbers that are a vector of their own, by the prefix that they share.

    Several columns with one prefix are one; two of them, such as ``room_count`` and ``room_size``, only if
    the table has nothing else for a tabular modality, such as two columns with another prefix. A column that
    ends like ``acc_0`` or ``acc.x`` is one even alone. So is the only column that would be left for a tabular
    modality, if it has numbers.
    """
    vectors: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if kind == "number":
            vectors.setdefault(re.split(r"[._\d]", name, maxsplit=1)[0], []).append(name)
    shared = {prefix: names for prefix, names in vectors.items() if prefix and len(names) > 1}
    if len(shared) == 1 and sum(map(len, shared.values())) == len(kinds):
        return shared
    own = {
        prefix: names
        for prefix, names in vectors.items()
        if prefix and _is_vector([name[len(prefix) :] for name in names])
    }
    left = {*kinds} - {name for names in own.values() for name in names}
    if len(left) == 1 and kinds[name := left.pop()] == "number":
        own |= {prefix or name: names for prefix, names in vectors.items() if names == [name]}
    return own


def _is_vector(endings: Sequence[str]) -> bool:
    """Return whether columns with these endings after their prefix are a vector of their own."""
    if len(endings) == 1:
        return bool(NUMBERED.fullmatch(endings[0]))
    return len(endings) >= SEVERAL or all(map(AXIS.fullmatch, endings))


def _state(typing: ColumnKinds, columns: list[str], name: str, spec: Mapping[str, Any]) -> Modality:
    path, table = typing.path, typing.table
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
        if names.count(column) > 1:
            raise UserError(f"{path}: modality {name!r}: has the column {column!r} twice")
    stated = spec.get("type")
    if stated is not None and stated not in STATED:
        raise UserError(f"{path}: modality {name!r}: unknown type {stated!r}{nearest(stated, STATED)}")
    kind = stated or typing.of(names[0]) or "text"
    if not stated and len(names) > 1 and is_list(table[names[0]].type):
        kind = "series"  # whose channels may be of one length in all rows
    if not stated:
        kind = {"number": "vector", "class": "text"}.get(kind, kind)
    if kind == "tabular" or kind not in TYPES:
        kinds = (typing.of(column, stated or "tabular") or "number" for column in names)
        return Modality("tabular", (*names,), kinds=(*kinds,))
    if len(names) > 1 and kind not in NUMERIC:
        types = "vector, series or tabular"
        raise UserError(f"{path}: modality {name!r}: several columns must be of type {types}, not {kind}")
    check_cells(path, table, names, kind)
    return modality_of(table, kind, names)
