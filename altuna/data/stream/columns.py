"""What the columns of shards are: as in the manifest, whatever some rows of a shard look like alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import holds_files, is_bytes, is_list, is_number, is_of_no_use
from altuna.data.formats.dates import calendar, date_format
from altuna.data.formats.lists import parse_lists
from altuna.data.formats.numbers import (
    AROUND,
    MARKS,
    MAX_LENGTH,
    NumberFormat,
    count_words,
    means_missing,
    read_numbers,
    without,
)
from altuna.data.formats.spelling import category_texts
from altuna.data.formats.styles import STYLES
from altuna.data.table.manifest import Manifest, Modality
from altuna.data.table.sequences import depth_of

WANTED = {
    "number": "numbers",
    "list": "lists of numbers",
    "file": "files",
    "files": "lists of files",
    "date": "dates",
    "text": "texts",
}
FILE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])


NONE = np.empty(0, np.int64)


class Read(NamedTuple):
    """Cells as their column has them, which of them are not understood, and what else counts as missing.

    Example:
        >>> column = StreamColumn("price", "number", pa.float64(), NumberFormat("$"))
        >>> read = column.read(pa.chunked_array([["$3", "NA", "hoot"]]))
        >>> read.values.to_pylist(), read.wrong.tolist(), read.words
        ([3.0, None, None], [2], Counter({"'NA'": 1}))
    """

    values: pa.ChunkedArray
    wrong: NDArray[np.int64] = NONE
    words: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class StreamColumn:
    """A column of shards, and how its cells are written.

    Args:
        name: Its name.
        role: A key of ``WANTED``.
        kind: The type of its cells in the manifest.
        format: How its numbers are written.
        date: The format of its dates.
        category: Whether its numbers are categories.

    Example:
        >>> column = StreamColumn("acc", "list", pa.list_(pa.float64()))
        >>> column.read(pa.chunked_array([["[1, 2]", None]])).values.to_pylist()
        [[1.0, 2.0], None]
        >>> column.takes(pa.list_(pa.float32())), column.takes(pa.float32())
        (True, False)
    """

    name: str
    role: str
    kind: pa.DataType
    format: NumberFormat = field(default_factory=NumberFormat)
    date: str = ""
    category: bool = False

    @property
    def wanted(self) -> str:
        """What its cells must be, for messages."""
        cells = "texts" if self.role == "files" and _is_text(self.kind) else WANTED[self.role]
        return f"{cells}, as in the manifest"

    @property
    def holds_texts(self) -> bool:
        """Whether dates of Parquet are its cells, too, as texts."""
        return self.role in ("date", "text")

    def takes(self, kind: pa.DataType) -> bool:
        """Return whether cells of a type of ``plain`` can be those of the column."""
        if pa.types.is_null(kind):
            return True
        if self.role == "files":
            return holds_files(kind) if is_list(self.kind) else _is_text(kind)
        if self.role == "file":
            return _is_text(kind) or is_bytes(kind) or (pa.types.is_struct(kind) and not is_of_no_use(kind))
        if self.role == "list" and is_list(kind):
            return depth_of(kind) == depth_of(self.kind) and not is_of_no_use(kind)
        return _is_text(kind) or (self.role != "list" and is_number(kind))

    def read(self, column: pa.ChunkedArray) -> Read:
        """Return cells of a type that the column takes as they are in the manifest."""
        kind = column.type
        if self.role == "number":
            return self._numbers(column)
        if self.role == "file":
            return Read(_files(column))
        if self.role == "list":
            if not _is_text(kind):
                return Read(column.cast(_of_lists(kind)))
            lists, wrong = parse_lists(column, depth_of(self.kind))
            return Read(lists, wrong)
        if self.role == "files":
            return Read(column if is_list(kind) or _is_text(kind) else column.cast(self.kind))
        if self.role == "text":
            if pa.types.is_floating(kind):
                return Read(category_texts(column))
            return Read(column if _is_text(kind) else column.cast(pa.string()))
        texts = category_texts(column)
        absent = np.asarray(means_missing(texts))
        return Read(texts, np.flatnonzero(np.isnan(calendar(texts, self.date)[:, 0]) & ~absent))

    def _numbers(self, column: pa.ChunkedArray) -> Read:
        wrong, words = NONE, Counter[str]()
        if _is_text(column.type):
            column = column.cast(pa.string())
            if pa.types.is_boolean(self.kind):
                column = category_texts(column)
            absent = means_missing(column)
            words.update({repr(word): n for word, n in count_words(column, absent).items()})
            column = replace(self.format, missing=()).parse(column)
            wrong = np.flatnonzero(np.asarray(pc.and_(pc.is_null(column), pc.invert(absent))))
        if pa.types.is_floating(column.type) and (nan := pc.sum(pc.is_nan(column)).as_py()):
            column = pc.if_else(pc.is_nan(column), None, column)
            words["NaN"] += nan
        for number in self.format.missing:
            if count := pc.sum(pc.equal(column, number)).as_py():
                words[f"{number:.15g}"] += count
        column = without(column, self.format.missing)
        return Read(column, wrong, words)

    def without_unit(self, cells: pa.ChunkedArray, numbers: pa.ChunkedArray) -> int:
        """Return how many numbers other than 0 that were read of cells lack the unit of the manifest."""
        unit = self.format.suffix or self.format.prefix
        if not unit:
            return 0
        lack = pc.not_equal(numbers, 0)
        if _is_text(cells.type):
            lack = pc.and_(lack, pc.invert(pc.match_substring(cells, unit)))
        return int(pc.sum(lack).as_py() or 0)

    def joinable(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return cells of ``read`` with one type in all shards; numbers of categories may be of any size."""
        if self.role != "number":
            return values
        return category_texts(values) if self.category else values.cast(pa.float64(), safe=False)

    def of_other_form(self, cells: Iterable[str]) -> str | None:
        """Return the first cell that is not written as in the manifest, but is understood in other tables.

        Example:
            >>> column = StreamColumn("price", "number", pa.float64())
            >>> column.of_other_form(["hoot", "$1,336"])
            '$1,336'
        """
        likely = [cell for cell in cells if len(cell) < MAX_LENGTH and any(map(str.isdigit, cell))]
        if self.role == "date":
            return next((cell for cell in likely if date_format(pa.chunked_array([[cell]]))), None)
        if self.role != "number" or not likely:
            return None
        own, texts = self.format, pa.chunked_array([likely])
        others = [replace(own, style=style, missing=()) for style in STYLES]
        if not own.style:
            others += [NumberFormat(own.prefix, own.suffix, *marks, bounds=True) for marks in MARKS]
        for other in others:
            row: int = pc.index(pc.is_valid(other.parse(texts)), True).as_py()
            if row >= 0:
                return likely[row]
        if own.prefix + own.suffix + own.style:
            return None
        units = (cell for cell in likely if AROUND.fullmatch(cell))
        return next((cell for cell in units if read_numbers(pa.chunked_array([[cell]])).format), None)


def columns_of(manifest: Manifest) -> dict[str, StreamColumn]:
    r"""Return the label and the columns of all modalities, as a manifest has them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,price,note\na,$3,an owl hoots\nb,$4,\n")
        >>> {name: column.role for name, column in columns_of(read_manifest(path)).items()}
        {'label': 'text', 'note': 'text', 'price': 'number'}
    """
    label = manifest.columns["label"]
    found = {label: StreamColumn(label, "text", manifest.table[label].type)}
    for modality in manifest.modalities.values():
        for i, name in enumerate(modality.columns):
            kind, of_column = manifest.table[name].type, (*modality.kinds, *[""] * len(modality.columns))[i]
            role = _role(kind, modality, of_column)
            date = of_column if role == "date" else ""
            format = manifest.formats.get(name, NumberFormat())
            found[name] = StreamColumn(name, role, kind, format, date, of_column == "category")
    return found


def _role(kind: pa.DataType, modality: Modality, of_column: str) -> str:
    empty = pa.types.is_null(kind) and (modality.type == "vector" or of_column == "number")
    if is_number(kind) or empty:
        return "number"
    if modality.type == "image_list":
        return "files"
    if is_list(kind):
        return "list"
    if modality.files or is_bytes(kind) or pa.types.is_struct(kind):
        return "file"
    return "date" if of_column not in ("", "number", "category") else "text"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_lists(kind: pa.DataType) -> pa.DataType:
    """Return a type with lists of any length, as those of several shards may have different lengths."""
    return pa.list_(_of_lists(kind.value_type)) if is_list(kind) else kind


def _files(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return paths, contents or {bytes, path} as {bytes, path}."""
    kind, empty = column.type, pa.chunked_array([pa.nulls(len(column))])
    parts = {"path" if _is_text(kind) else "bytes": column}
    if pa.types.is_struct(kind):
        parts = {f.name: pc.struct_field(column, f.name) for f in kind}
    arrays = [parts.get(f.name, empty).cast(f.type).combine_chunks() for f in FILE]
    arrays = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in arrays]
    return pa.chunked_array([pa.StructArray.from_arrays(arrays, fields=[*FILE])])
