"""The cells of a modality, converted one at a time, so that a large table never becomes Python objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from altuna.data.formats.columns import is_number
from altuna.data.formats.file_lists import split_files
from altuna.data.readers.base import BadCellError, Columns, split_fragment
from altuna.data.table.manifest import Manifest
from altuna.data.table.paths import URL, embedded, unquoted
from altuna.data.table.sequences import numbers_of

KEY = np.dtype("V16")  # 128 bits: in practice, different cells never have the same key
_BLOCK = 4096
MAX_SHOWN, MAX_NUMBERS = 200, 60  # characters of a cell in a message, and of one of numbers


class Cells(Sequence[Any]):
    r"""The cells of a modality, one per manifest row.

    A cell is None (missing), a ``Path`` of a file, a text, bytes, numbers, a mapping from column to value, or
    a tuple of several files.
    ``filled`` [rows] bool tells which rows have one. ``columns`` are those of numbers, categories and dates,
    whose cells a reader encodes all at once; None for other modalities.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc,note\na,1,hoot\nb,2,\n")
        >>> manifest = read_manifest(path)
        >>> [*Cells(manifest, "note")], Cells(manifest, "acc")[1]
        (['hoot', None], array([2.]))
    """

    def __init__(self, manifest: Manifest, name: str) -> None:
        modality = manifest.modalities[name]
        self.column = modality.columns[0] if len(modality.columns) == 1 else name
        self.filled = manifest.filled(name)
        self._columns = {column: manifest.table[column] for column in modality.columns}
        self._value = numbers_of if modality.type == "series" else methodcaller("as_py")
        self._files, self._several = modality.files, modality.type == "image_list"
        self._folder = manifest.path.parent.absolute()
        # The columns of a vector that are no numbers are empty in the whole table.
        numeric = any(is_number(column.type) for column in self._columns.values())
        self._tabular = bool(modality.kinds)
        self.columns = None
        if self._tabular or (modality.type == "vector" and numeric):
            kinds = dict(zip(modality.columns, modality.kinds, strict=False))
            self.columns = Columns(manifest.table.select([*modality.columns]), kinds)

    def __len__(self) -> int:
        return len(self.filled)

    def __getitem__(self, row: Any) -> Any:
        if not self.filled[row]:
            return None
        values = [self._value(column[int(row)]) for column in self._columns.values()]
        if self.columns and not self._tabular:
            return np.array(values, np.float64)  # None becomes NaN
        return self._cell(values)

    def keys(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """Return keys of the cells of some rows [n]: hashes of contents; of a file, of path, size, time."""
        digests = (blake2b(self._identity(cell), digest_size=16).digest() for cell in self._at(rows))
        return np.frombuffer(b"".join(digests), KEY)

    def _at(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        columns = [*self._columns.values()]
        plain = self._files or pa.types.is_string(columns[0].type)
        block = _BLOCK if plain else _BLOCK // 64  # images and sounds within the table are large
        for start in range(0, len(rows), block):
            some = pa.array(rows[start : start + block])
            for parts in zip(*(column.take(some) for column in columns), strict=True):
                yield self._cell([self._value(part) for part in parts])

    def _cell(self, parts: Sequence[Any]) -> Any:
        if len(parts) > 1 or self._tabular:
            return dict(zip(self._columns, parts, strict=True))
        (value,) = parts
        if self._several:
            contents = map(self._content, split_files(value))
            return tuple(content for content in contents if content is not None)
        return self._content(value)

    def _content(self, value: Any) -> Any:
        if isinstance(value, dict):  # {"bytes", "path"}, as in Hugging Face data sets
            content, path = value.get("bytes"), value.get("path")
            return content if content is not None or path is None else self._file(path)
        return self._file(value) if self._files and isinstance(value, str) else value

    def _file(self, value: str) -> Any:
        """Return the path that a text is, or the content that it holds in base64."""
        if (content := embedded(value)) is not None:
            return content
        value = unquoted(value).replace("\\", "/")  # as Windows separates folders
        return value if URL.fullmatch(value) else self._folder / value

    @staticmethod
    def _identity(cell: Any) -> bytes:
        if isinstance(cell, bytes):
            return cell
        if isinstance(cell, np.ndarray):
            return f"{cell.dtype}{cell.shape}".encode() + cell.tobytes()
        if isinstance(cell, dict):
            return b"\0".join(name.encode() + Cells._identity(part) for name, part in cell.items())
        if isinstance(cell, tuple):
            return b"".join(blake2b(Cells._identity(part), digest_size=16).digest() for part in cell)
        if not isinstance(cell, Path):
            return repr(cell).encode()
        try:
            stat = os.stat(split_fragment(cell).path)
            known = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except (OSError, ValueError, BadCellError):
            known = "absent"
        return f"{cell}\0{known}".encode(errors="surrogateescape")


def shortened(cell: Any) -> str:
    """Return the beginning of a cell as text, for a line of ``problems.csv``; of many numbers, only a few.

    Example:
        >>> len(shortened(np.zeros((500, 2))))
        60
        >>> shortened([0.5, 1.5])
        '[0.5, 1.5]'
        >>> shortened((Path("a.png"), b"PNG"))
        'a.png; <3 bytes>'
    """
    if isinstance(cell, tuple):
        return "; ".join(map(shortened, cell))[:MAX_SHOWN]
    if isinstance(cell, bytes):
        return f"<{len(cell):,} bytes>"
    size = MAX_SHOWN if isinstance(cell, str | Path) else MAX_NUMBERS
    if isinstance(cell, dict):
        cell = {name: _start(part, size) for name, part in cell.items()}
    return str(_start(cell, size))[:size]


def _start(part: Any, size: int) -> Any:
    return part[:size].tolist() if isinstance(part, np.ndarray) else part
