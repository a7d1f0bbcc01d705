"""Find the type of a column from its Arrow type or its first values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import (
    filled,
    first_files,
    first_values,
    holds_files,
    is_bytes,
    is_empty,
    is_list,
    is_number,
    is_of_no_use,
)
from altuna.data.formats.file_lists import SEVERAL, split_files
from altuna.data.formats.numbers import NumberFormat
from altuna.data.table.paths import content_type, suffix, text_type, type_on_disk
from altuna.data.table.sequences import list_type
from altuna.errors import UserError
from altuna.options import shown

TYPES = ("image", "image_list", "audio", "video", "text", "series", "vector", "tabular")
NUMERIC = ("series", "vector", "tabular")  # types whose cells may be numbers, or lists of them

TABULAR = ("number", "category", "date")  # kinds of columns that form one modality together
STATED = (*TYPES, *TABULAR)  # what can be stated for a column
# What cells may be that are stated to be of a type, in the words of ``content_of``.
PLAIN = ("numbers", "texts")
FILES = ("texts", "bytes", "files")
NUMBERS, SERIES = "lists of numbers", "lists of lists of numbers"
TAKEN = {
    **dict.fromkeys(("tabular", *TABULAR), PLAIN),
    **dict.fromkeys(("image", "audio", "video"), FILES),
    "image_list": (*FILES, *(f"lists of {files}" for files in FILES)),
    "text": ("numbers", *FILES),
    "series": (NUMBERS, SERIES, *FILES),
    "vector": ("numbers", NUMBERS, SERIES, f"lists of {SERIES}", *FILES),
}
TAKEN_AMONG_OTHERS = {"vector": ("numbers",), "series": (NUMBERS,)}  # if a modality has several columns


def content_of(kind: pa.DataType) -> str:
    """Return what the cells of an Arrow type are, in words.

    Example:
        >>> content_of(pa.list_(pa.string())), content_of(pa.struct({"bytes": pa.binary()}))
        ('lists of texts', 'files')
        >>> content_of(pa.list_(pa.time64("us")))
        'lists of time64[us] values'
    """
    if is_list(kind):
        inner = kind.value_type
        return f"lists of {'numbers' if pa.types.is_null(inner) else content_of(inner)}"
    if is_number(kind):
        return "numbers"
    if is_bytes(kind):
        return "bytes"
    if pa.types.is_struct(kind):
        return "mappings" if is_of_no_use(kind) else "files"
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return "texts" if texts else f"{kind} values"


def check_cells(path: Path, table: pa.Table, columns: Sequence[str], type: str) -> None:
    """Raise UserError if the cells of a column cannot be of the type of its modality, or of its own.

    Example:
        >>> check_cells(Path("owls.csv"), pa.table({"x": [1.0], "y": ["high"]}), ["x", "y"], "vector")
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: owls.csv, row 1, column 'y': 'high': the cells are texts, not numbers
    """
    taken = TAKEN[type] if len(columns) == 1 else TAKEN_AMONG_OTHERS.get(type, TAKEN[type])
    for column in columns:
        found = content_of(table[column].type)
        if found in taken or is_empty(table[column]):
            continue
        there = filled(table[column])
        row = pc.index(there, True).as_py()
        if found == "texts" and taken == ("numbers",):  # some of them may be numbers
            no_number = pc.is_null(NumberFormat().parse(table[column]))
            row = max(row, pc.index(pc.and_(no_number, there), True).as_py())
        wanted = f", not {taken[0]}" if len(taken) == 1 else f"; {type!r} takes only {', '.join(taken)}"
        cell = shown(table[column][row].as_py())
        raise UserError(f"{path}, row {row + 1}, column {column!r}: {cell}: the cells are {found}{wanted}")


def column_type(
    column: pa.ChunkedArray, declared: str | None = None, folder: Path | None = None
) -> str | None:
    """Return the type of a column: one of ``TYPES``, ``number``, or None if it is empty or of no use.

    It is inferred from the Arrow type, or else from what the file states, or else from the first values and,
    if a folder is given, from the files in it that they name.

    Example:
        >>> column_type(pa.chunked_array([["a.jpg", "b.png"]])), column_type(pa.chunked_array([[1.5]]))
        ('image', 'number')
    """
    kind = column.type
    if holds_files(kind):
        files = [_file_type(value) == "image" for value in first_files(column)]
        return "image_list" if sum(files) > len(files) / 2 else None
    if is_of_no_use(kind):
        return None
    if is_number(kind):
        return "number"
    if is_list(kind):
        return list_type(column)
    values = first_values(column)
    if not values:
        return None
    found = declared or _most_frequent(values)
    if found == "image" and not is_bytes(kind) and not pa.types.is_struct(kind):
        # Any row may have several pictures; the types of other columns are told by the first rows.
        some = column.filter(pc.match_substring_regex(column, SEVERAL))
        return "image_list" if "image_list" in map(_value_type, first_values(some)) else "image"
    texts = [value for value in values if isinstance(value, str)]
    if found == "text" and not declared and folder and len(texts) == len(values):
        return type_on_disk(texts, folder) or "text"
    return found


def _most_frequent(values: list[str | bytes]) -> str:
    """Return the most frequent type of some values; those with one picture may be in a column of lists."""
    types = Counter(map(_value_type, values))
    if "image_list" in types:
        types["image_list"] += types.pop("image", 0)
    return types.most_common(1)[0][0]


def _value_type(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return content_type(value) or "image"
    parts = split_files(value)
    several = len(parts) > 1 or (len(parts) == 1 and parts[0] != value.strip())
    return "image_list" if several and {*map(_file_type, parts)} == {"image"} else text_type(value)


def _file_type(value: object) -> str | None:
    return (
        content_type(value)
        if isinstance(value, bytes)
        else text_type(value)
        if isinstance(value, str)
        else None
    )


def are_files(column: pa.ChunkedArray, type: str) -> bool:
    """Return whether the cells of a column are paths of files; for text, whether most of them end in .txt.

    Example:
        >>> are_files(pa.chunked_array([["a.jpg"]]), "image"), are_files(pa.chunked_array([["owl"]]), "text")
        (True, False)
    """
    if holds_files(column.type):
        return not is_bytes(column.type.value_type) and not pa.types.is_struct(column.type.value_type)
    if is_number(column.type) or is_list(column.type):
        return False
    values = first_values(column)
    paths = [value for value in values if isinstance(value, str)]
    if type == "text":
        named = [path for path in paths if "\n" not in path.strip() and suffix(path) == ".txt"]
        return len(named) > len(values) / 2
    return not is_bytes(column.type) and len(paths) > len(values) / 2
