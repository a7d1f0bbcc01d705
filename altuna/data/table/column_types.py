"""Find the type of a column from its Arrow type or its first values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from altuna.data.formats.columns import first_values, is_bytes, is_list, is_number, is_of_no_use
from altuna.data.table.paths import content_type, suffix, text_type, type_on_disk
from altuna.data.table.sequences import list_type

TYPES = ("image", "audio", "video", "text", "series", "vector", "tabular")
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
    if is_of_no_use(kind):
        return None
    if is_number(kind):
        return "number"
    if is_list(kind):
        return list_type(column)
    values = first_values(column)
    if not values:
        return None
    found = declared or Counter(map(_value_type, values)).most_common(1)[0][0]
    texts = [value for value in values if isinstance(value, str)]
    if found == "text" and not declared and folder and len(texts) == len(values):
        return type_on_disk(texts, folder) or "text"
    return found


def _value_type(value: str | bytes) -> str:
    return text_type(value) if isinstance(value, str) else content_type(value) or "image"


def are_files(column: pa.ChunkedArray, type: str) -> bool:
    """Return whether the cells of a column are paths of files; for text, whether most of them end in .txt.

    Example:
        >>> are_files(pa.chunked_array([["a.jpg"]]), "image"), are_files(pa.chunked_array([["owl"]]), "text")
        (True, False)
    """
    if is_number(column.type) or is_list(column.type):
        return False
    values = first_values(column)
    paths = [value for value in values if isinstance(value, str)]
    if type == "text":
        named = [path for path in paths if "\n" not in path.strip() and suffix(path) == ".txt"]
        return len(named) > len(values) / 2
    return not is_bytes(column.type) and len(paths) > len(values) / 2
