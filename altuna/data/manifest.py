"""The manifest: one row a sample, one column (or group of columns) a modality."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from altuna.errors import UserError
from altuna.options import check_options, nearest

SPLITS = ("train", "val", "test")
RESERVED = ("id", "split", "label", "group")
TYPES = ("image", "audio", "text", "vector")
SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"},
    "audio": {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"},
    "vector": {".npy"},
}
MAGIC = {
    "image": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*"),
    "audio": (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"FORM"),
    "vector": (b"\x93NUMPY",),
}


@dataclass(frozen=True)
class Modality:
    """Where a modality's cells are: its type and its columns (several only for numeric vectors)."""

    type: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A table of samples, checked.

    ``ids``, ``labels``, ``splits``, ``groups`` are one string a row (None where the file has none).
    """

    path: Path
    table: pa.Table
    modalities: dict[str, Modality]
    ids: pa.Array
    labels: pa.Array
    splits: pa.Array
    groups: pa.Array

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def only(self, modalities: Sequence[str]) -> Manifest:
        """Return the manifest with some of its modalities."""
        return replace(self, modalities={name: self.modalities[name] for name in modalities})

    def where(self, row: int, column: str = "") -> str:
        """Name a place for an error message: file, row (1 is the first sample), id and column."""
        column = f", column {column!r}" if column else ""
        return f"{self.path}, row {row + 1} (id {self.ids[row].as_py()!r}){column}"


def read_manifest(
    path: str | Path,
    modalities: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    allow_shared_groups: bool = False,
) -> Manifest:
    """Read and check a CSV, Parquet or JSONL manifest.

    Args:
        path: The manifest. Media paths in it are relative to its folder, or absolute.
        modalities: Name to ``{"type": ..., "column": ... | "columns": [...] | "prefix": ...}``, each key
            optional; inferred from the table when None.
        allow_shared_groups: Accept a group that stands in more than one split.

    Raises:
        UserError: Whatever is wrong with it, naming file, row and column.
    """
    path = Path(path)
    table = _read_table(path)
    if table.num_rows == 0:
        raise UserError(f"{path}: the manifest has no rows")
    ids = _strings(table, "id")
    if "id" not in table.column_names:
        ids = pa.array([str(i + 1) for i in range(table.num_rows)])
    manifest = Manifest(
        path,
        table,
        _modalities(path, table, modalities),
        ids,
        _strings(table, "label"),
        _strings(table, "split"),
        _strings(table, "group"),
    )
    _check_ids(manifest)
    _check_splits(manifest, allow_shared_groups)
    _check_empty_rows(manifest)
    return manifest


def _read_table(path: Path) -> pa.Table:
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a manifest (CSV, Parquet or JSONL)")
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pyarrow.parquet.read_table(path)
        if path.suffix.lower() in {".jsonl", ".ndjson"}:
            return pyarrow.json.read_json(path)
        if path.suffix.lower() in {".csv", ".tsv"}:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            return pyarrow.csv.read_csv(
                path,
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in RESERVED},
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    raise UserError(f"{path}: unknown kind of manifest; give .csv, .tsv, .parquet or .jsonl")


def _strings(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    try:
        column = table[name].combine_chunks().cast(pa.string())
    except pa.ArrowException as error:
        raise UserError(f"column {name!r}: cannot be read as text: {error}") from None
    return pc.if_else(pc.equal(column, ""), None, column)


def _modalities(
    path: Path, table: pa.Table, stated: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Modality]:
    repeated = [name for name, n in Counter(table.column_names).items() if n > 1]
    if repeated:
        raise UserError(f"{path}: column {repeated[0]!r} stands twice")
    columns = [name for name in table.column_names if name not in RESERVED]
    found = _infer(table, columns) if stated is None else {}
    for name, spec in (stated or {}).items():
        check_options(spec, _place, f"modalities.{name}")
        found[name] = _state(path, table, columns, name, dict(spec))
    if not found:
        raise UserError(
            f"{path}: no modality: besides {', '.join(RESERVED)} the manifest has no column with a value"
        )
    for name, modality in found.items():
        if modality.type not in TYPES:
            raise UserError(
                f"{path}: modality {name!r}: unknown type {modality.type!r}{nearest(modality.type, TYPES)}"
            )
    return found


def _infer(table: pa.Table, columns: list[str]) -> dict[str, Modality]:
    """One modality a column; numeric columns with one prefix (``acc_x``, ``acc_y``) form one vector."""
    vectors: dict[str, list[str]] = {}
    found = {}
    for name in columns:
        kind = _column_type(table[name])
        if kind == "number":
            vectors.setdefault(re.split(r"[._\d]", name, maxsplit=1)[0] or name, []).append(name)
        elif kind:
            found[name] = Modality(kind, (name,))
    for prefix, names in vectors.items():
        # A column of another type may already have the prefix as its name.
        found[f"{prefix}_numbers" if prefix in found else prefix] = Modality("vector", (*names,))
    return found


def _state(path: Path, table: pa.Table, columns: list[str], name: str, spec: dict[str, Any]) -> Modality:
    if "prefix" in spec:
        names = [c for c in columns if c.startswith(spec["prefix"])]
        if not names:
            raise UserError(f"{path}: modality {name!r}: no column starts with {spec['prefix']!r}")
    else:
        names = spec.get("columns") or [spec.get("column", name)]
    for column in names:
        if column not in columns:
            raise UserError(f"{path}: modality {name!r}: no column {column!r}{nearest(column, columns)}")
    kind = spec.get("type") or _column_type(table[names[0]]) or "text"
    kind = "vector" if kind == "number" else kind
    if len(names) > 1 and kind != "vector":
        raise UserError(f"{path}: modality {name!r}: several columns form a vector, not {kind}")
    return Modality(kind, (*names,))


def _place(type: str, column: str, columns: Sequence[str], prefix: str) -> None:
    """State where a modality's cells are: what ``modalities`` in a configuration may say."""


def _column_type(column: pa.ChunkedArray) -> str | None:
    """Infer a column's type from its first 100 values; None for a column without any."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return "number"
    if pa.types.is_boolean(column.type):
        return "number"
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return "vector"
    values = column.drop_null().slice(0, 100).to_pylist()
    if not values:
        return None
    kinds = Counter(_cell_type(value) for value in values)
    return kinds.most_common(1)[0][0]


def _cell_type(value: object) -> str:
    if isinstance(value, bytes):
        if value[:4] == b"RIFF":
            return "image" if value[8:12] == b"WEBP" else "audio"
        return next((kind for kind, magic in MAGIC.items() if value.startswith(magic)), "image")
    suffix = Path(str(value)).suffix.lower() if len(str(value)) < 4096 else ""
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), "text")


def _check_ids(manifest: Manifest) -> None:
    missing = np.flatnonzero(manifest.ids.is_null())
    if len(missing):
        raise UserError(f"{manifest.path}, row {missing[0] + 1}, column 'id': empty")
    row = _first_repeat(manifest.ids)
    if row is not None:
        first = pc.index(manifest.ids, manifest.ids[row]).as_py()
        raise UserError(f"{manifest.where(row, 'id')}: the id stands already in row {first + 1}")


def _first_repeat(values: pa.Array) -> int | None:
    codes = values.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    if len(np.unique(codes)) == len(codes):
        return None
    _, first = np.unique(codes, return_index=True)
    repeats = np.ones(len(codes), dtype=bool)
    repeats[first] = False
    return int(np.flatnonzero(repeats)[0])


def _check_splits(manifest: Manifest, allow_shared_groups: bool) -> None:
    if manifest.splits.null_count == len(manifest):
        return
    unknown = np.flatnonzero(~np.asarray(pc.is_in(manifest.splits, pa.array(SPLITS))))
    if len(unknown):
        row = int(unknown[0])
        given = manifest.splits[row].as_py()
        raise UserError(
            f"{manifest.where(row, 'split')}: "
            + (f"unknown split {given!r}" if given else "empty")
            + f"; the splits are {', '.join(SPLITS)}"
        )
    if not allow_shared_groups and manifest.groups.null_count < len(manifest):
        pairs = pa.table({"group": manifest.groups, "split": manifest.splits}).drop_null()
        counts = pairs.group_by("group").aggregate([("split", "count_distinct")])
        shared = counts.filter(pc.greater(counts["split_count_distinct"], 1))
        if shared.num_rows:
            group = min(shared["group"].to_pylist())
            rows = np.flatnonzero(pc.equal(manifest.groups, group).fill_null(False))
            splits = manifest.splits.take(pa.array(rows)).unique().to_pylist()
            raise UserError(
                f"{manifest.where(int(rows[0]), 'group')}: group {group!r} stands in "
                f"{' and '.join(map(str, splits))} ({shared.num_rows} such groups); "
                "--allow-shared-groups accepts that"
            )


def _check_empty_rows(manifest: Manifest) -> None:
    filled = np.zeros(len(manifest), dtype=bool)
    for modality in manifest.modalities.values():
        filled |= filled_cells(manifest.table, modality.columns)
    empty = np.flatnonzero(~filled)
    if len(empty):
        more = f" (and {len(empty) - 1} more such rows)" if len(empty) > 1 else ""
        raise UserError(
            f"{manifest.where(int(empty[0]), ', '.join(manifest.modalities))}: every modality is empty{more}"
        )


def filled_cells(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return [rows] bool: whether any of the columns has a value in the row."""
    filled = np.zeros(table.num_rows, dtype=bool)
    for name in columns:
        column = table[name]
        valid = column.is_valid()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            valid = pc.and_(valid, pc.not_equal(pc.utf8_trim_whitespace(column), "").fill_null(False))
        filled |= np.asarray(valid)
    return filled
