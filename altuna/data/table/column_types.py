"""Find the type of a column from its Arrow type or its first values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import (
    first_files,
    first_values,
    holds_files,
    is_bytes,
    is_list,
    is_number,
    is_of_no_use,
)
from altuna.data.formats.file_lists import SEVERAL, split_files
from altuna.data.table.paths import content_type, suffix, text_type, type_on_disk
from altuna.data.table.sequences import list_type

TYPES = ("image", "image_list", "audio", "video", "text", "series", "vector", "tabular")
NUMERIC = ("series", "vector", "tabular")  # types whose cells may be numbers, or lists of them


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
