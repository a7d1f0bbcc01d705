"""Find the modalities of a table: their columns and types, stated or inferred from the first values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.errors import UserError
from altuna.options import check_options, nearest

TYPES = ("image", "audio", "video", "text", "vector")
SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"},
    "audio": {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".m4a", ".aac"},
    "video": {".mp4", ".avi", ".mov", ".mkv", ".webm", ".flv", ".mpg", ".mpeg", ".m4v", ".wmv", ".3gp"},
    "vector": {".npy"},
}
# (offset, bytes, type): a cell has the type of the first entry that it matches.
MAGIC = (
    (8, b"WEBP", "image"),
    (8, b"AVI ", "video"),
    (8, b"WAVE", "audio"),
    (4, b"ftypM4A", "audio"),
    (4, b"ftypavif", "image"),
    (4, b"ftyphei", "image"),
    (4, b"ftypmif1", "image"),
    (4, b"ftyp", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # EBML: Matroska, WebM
    (0, b"FLV", "video"),
    (0, b"\0\0\x01\xba", "video"),  # MPEG program stream
    (0, b"0&\xb2u", "video"),  # ASF: WMV
    (0, b"\x93NUMPY", "vector"),
    *((0, magic, "audio") for magic in (b"fLaC", b"OggS", b"ID3", b"FORM", b"RIFF")),
    *((0, magic, "audio") for magic in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9")),
)
MAX_PATH_LENGTH = 4096
FIRST = 100  # values from which a type is inferred
FRAGMENT = re.compile(r"#(?:t|xywh)=[^#/\\]*$")  # a W3C media fragment, such as #t=1.5,3


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
    return Modality(type, (*columns,), len(columns) == 1 and _are_files(table[columns[0]], type))


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
        if _is_odd(table[column].type):
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


def column_type(column: pa.ChunkedArray, declared: str | None = None) -> str | None:
    """Return the type of a column: one of ``TYPES``, ``number``, or None if it is empty or of no use.

    It is inferred from the Arrow type, or else from what the file states, or else from the first values.

    Example:
        >>> column_type(pa.chunked_array([["a.jpg", "b.png"]])), column_type(pa.chunked_array([[1.5]]))
        ('image', 'number')
    """
    kind = column.type
    if _is_odd(kind):
        return None
    if is_number(kind):
        return "number"
    if is_list(kind):
        return "vector"
    values = first_values(column)
    if not values:
        return None
    return declared or Counter(map(_value_type, values)).most_common(1)[0][0]


def _value_type(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return next((kind for at, magic, kind in MAGIC if value[at:].startswith(magic)), "image")
    suffix = _suffix(value)
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), "text")


def _suffix(path: str) -> str:
    return Path(FRAGMENT.sub("", path.strip())).suffix.lower() if len(path) < MAX_PATH_LENGTH else ""


def _are_files(column: pa.ChunkedArray, type: str) -> bool:
    """Return whether the cells of a column are paths of files; for text, whether most of them end in .txt."""
    if is_number(column.type) or is_list(column.type):
        return False
    values = first_values(column)
    paths = [value for value in values if isinstance(value, str)]
    if type == "text":
        named = [path for path in paths if "\n" not in path.strip() and _suffix(path) == ".txt"]
        return len(named) > len(values) / 2
    return not _is_bytes(column.type) and len(paths) > len(values) / 2


def first_values(column: pa.ChunkedArray) -> list[str | bytes]:
    """Return up to 100 values of a column of strings, bytes or {bytes, path}; of bytes, only the first 32.

    The value of a cell {bytes, path} without bytes is its path.

    Example:
        >>> first_values(pa.chunked_array([["owl.jpg", None, "cat.jpg"]]))
        ['owl.jpg', 'cat.jpg']
    """
    found: list[str | bytes] = []
    step = 1000  # the table may be larger than the memory: stop when there are enough
    for start in range(0, len(column), step):
        part = column.slice(start, step)
        rows = np.flatnonzero(filled(part))[: FIRST - len(found)]
        if len(rows):
            cells = zip(*(_beginnings(cells, rows) for cells in _contents(part)), strict=True)
            found += [next(value for value in cell if value is not None) for cell in cells]
        if len(found) == FIRST:
            break
    return found


def _contents(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Return the column itself, or the parts ``bytes`` and ``path`` of one that has them."""
    if not pa.types.is_struct(column.type):
        return [column]
    names = {field.name for field in column.type}
    return [pc.struct_field(column, name) for name in ("bytes", "path") if name in names]


def _beginnings(cells: pa.ChunkedArray, rows: np.ndarray[Any, Any]) -> list[str | bytes | None]:
    if _is_bytes(cells.type):
        cells = pc.binary_slice(cells, 0, 32)
    return list(cells.take(pa.array(rows)).to_pylist())


def filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which cells have a value (bool); a blank text and an empty {bytes, path} have none.

    Example:
        >>> filled(pa.chunked_array([["hoot", " ", None]])).to_pylist()
        [True, False, False]
    """
    kind = column.type
    valid = column.is_valid()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # By chunks: a copy of all texts may not fit in memory.
        chunks = [pc.not_equal(pc.utf8_trim_whitespace(c), "").fill_null(False) for c in column.chunks]
        valid = pa.chunked_array(chunks, pa.bool_())
    elif pa.types.is_struct(kind) and not _is_odd(kind):
        parts = [filled(part) for part in _contents(column)]
        valid = pc.and_(valid, pc.or_(parts[0], parts[-1]))
    return valid


def filled_cells(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether any of the columns has a value in each row, [rows] bool.

    Example:
        >>> filled_cells(pa.table({"x": [1.0, None], "y": [2.0, None]}), ["x", "y"]).tolist()
        [True, False]
    """
    found = np.zeros(table.num_rows, dtype=bool)
    for name in columns:
        found |= np.asarray(filled(table[name]))
    return found


def is_number(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are numbers.

    Example:
        >>> is_number(pa.int8()), is_number(pa.bool_()), is_number(pa.string())
        (True, True, False)
    """
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether the cells of an Arrow type are lists.

    Example:
        >>> is_list(pa.list_(pa.float32())), is_list(pa.float32())
        (True, False)
    """
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_odd(kind: pa.DataType) -> bool:
    """Return whether no reader accepts an Arrow type, such as lists of texts, maps and most structs."""
    while is_list(kind):
        kind = kind.value_type
        if not (is_list(kind) or is_number(kind) or pa.types.is_null(kind)):
            return True
    if pa.types.is_struct(kind):
        names = {field.name: field.type for field in kind}
        texts = [names[n] for n in ("bytes", "path") if n in names]
        return not texts or not all(map(_is_plain, texts))
    return not (is_number(kind) or _is_plain(kind))


def _is_plain(kind: pa.DataType) -> bool:
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or _is_bytes(kind) or pa.types.is_null(kind))
