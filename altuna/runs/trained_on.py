"""Recognise rows that a run was trained on: it keeps a hash of each, ``train_rows.npy``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import zip_longest
from math import sqrt
from os import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import filled, is_list, is_number
from altuna.data.formats.dates import calendar
from altuna.data.formats.spelling import category_texts
from altuna.data.readers.base import BadCellError, split_fragment
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.files import atomic_write, check_regular
from altuna.text import one_line

FILE = "train_rows.npy"
MAX_BYTES = 1 << 33
BLOCK = 1 << 14  # rows that are hashed at once
Keys = NDArray[np.uint64]


def row_keys(manifest: Manifest, rows: NDArray[np.int64]) -> Keys:
    r"""Return a hash of all cells of each row [n]; cells that are masked count, too.

    Equal rows have equal keys, however their table was read: numbers, dates, categories and lists of numbers
    are hashed by their values, not by their types. A file counts by its name and its size, so that a copy of
    the data in another folder has the same keys.

    Example:
        >>> from altuna.data.table.manifest import read_manifest
        >>> _ = Path("owls.csv").write_text("label,acc,note\na,1,hoot\nb,2,hoot\nb,1,hoot\n")
        >>> keys = row_keys(read_manifest("owls.csv"), np.arange(3)).tolist()
        >>> keys[0] == keys[1], keys[0] == keys[2]
        (False, True)
    """
    manifest = replace(manifest, kept={})
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    keys = [np.empty(0, "<u8")]
    for block in blocks:
        keys.append(np.zeros(len(block), "<u8"))
        for name in sorted(manifest.modalities):
            for column, hashes in _columns(manifest, name, block):
                seed = _digest(f"{name}\0{column}".encode())
                keys[-1] = _mixed(keys[-1] + _mixed(hashes ^ np.uint64(seed)))
    return np.concatenate(keys)


def _columns(manifest: Manifest, name: str, rows: NDArray[np.int64]) -> Iterator[tuple[str, Keys]]:
    """Yield each column of a modality, and the hashes of its cells in some rows [n]."""
    modality = manifest.modalities[name]
    types = [manifest.table[column].type for column in modality.columns]
    if modality.files or not all(map(_has_values, types)):
        cells = Cells(manifest, name)
        yield cells.column, np.array([_digest(_content(cells[row])) for row in rows.tolist()], "<u8")
        return
    first, last = int(rows.min()), int(rows.max())  # only these chunks of the table are looked at
    for column, kind in zip_longest(modality.columns, modality.kinds):
        some = manifest.table[column].slice(first, last - first + 1).take(pa.array(rows - first))
        if kind == "category":
            some = category_texts(some)
        elif kind not in (None, "number"):  # the format of dates
            days = calendar(category_texts(some), kind)[:, 0]
            some = pa.chunked_array([pa.array(days, from_pandas=True)])
        yield column, _hashes(some)


def _has_values(kind: pa.DataType) -> bool:
    """Return whether cells of a type are hashed by their values: numbers, texts and lists of numbers."""
    while is_list(kind):
        kind = kind.value_type
        if not (is_list(kind) or is_number(kind) or pa.types.is_null(kind)):
            return False
    return bool(
        is_number(kind)
        or pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    )


def _hashes(column: pa.ChunkedArray) -> Keys:
    """Return a hash of each cell [n], 0 where it has no value."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.zeros(len(column), "<u8")
    empty = ~np.asarray(filled(column))
    if is_list(kind):
        inner = _hashes(pc.list_flatten(column))
        lengths = np.asarray(pc.list_value_length(column).fill_null(0)).astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        places = np.arange(len(inner)) - np.repeat(starts, lengths)
        sums = np.zeros(len(inner) + 1, "<u8")
        sums[1:] = np.cumsum(_mixed(inner + _mixed(places.astype("<u8"))))
        found = _mixed(sums[starts + lengths] - sums[starts] + lengths.astype("<u8"))
    elif is_number(kind):
        if kind in (pa.float16(), pa.float32()):  # 0.1 as it is in a table of text
            column = column.cast(pa.float32()).cast(pa.string())
        numbers = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy() + 0.0  # no -0.0
        empty |= np.isnan(numbers)
        found = _mixed(numbers.view("<u8"))
    else:
        codes = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
        texts = codes.dictionary.to_pylist()
        hashes = np.array([*(_digest(text.encode()) for text in texts), 0], "<u8")
        found = hashes[codes.indices.fill_null(len(texts)).to_numpy()]
    return np.where(empty, np.uint64(0), found)


def _mixed(numbers: Keys) -> Keys:
    """Return numbers of which each bit depends on all bits of those given (the finaliser of SplitMix64)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _content(cell: Any) -> bytes:
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, tuple):  # several files
        return b"\0".join(_digest(_content(part)).to_bytes(8, "little") for part in cell)
    if not isinstance(cell, Path):
        return repr(cell).encode(errors="surrogateescape")
    try:
        size = stat(split_fragment(cell).path).st_size
    except (OSError, ValueError, BadCellError):
        size = -1
    return f"{cell.name}\0{size}".encode(errors="surrogateescape")


def write_keys(run: Path, keys: Keys) -> None:
    """Write the keys of the rows that a run is trained on.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> write_keys(run, np.array([3, 1], "<u8"))
        >>> read_keys(run).tolist()
        [1, 3]
    """
    with atomic_write(run / FILE) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.sort(keys))


def read_keys(run: Path) -> Keys:
    """Read the keys of the rows that a run was trained on; those of earlier versions have none.

    Raises:
        UserError: The file is damaged.

    Example:
        >>> len(read_keys(Path("no/run")))
        0
    """
    path = run / FILE
    try:
        check_regular(path, MAX_BYTES)
        with path.open("rb") as file:
            keys: Keys = np.load(file, allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError):
        return np.empty(0, "<u8")
    except UserError:
        raise
    except Exception as error:  # NumPy parses headers as Python, with exceptions of many types
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from None
    if keys.ndim != 1 or keys.dtype != np.uint64:
        raise UserError(f"{path}: must be uint64 [n], is {keys.dtype} {[*keys.shape]}")
    return keys


def count_known(keys: Keys, known: Keys) -> int:
    """Return how many keys are among the known ones; 0 if they are no more than new data would have.

    Where rows have few different values, new rows equal some of training, too: as many as rows of training
    equal each other.

    Example:
        >>> trained = np.arange(100, dtype=np.uint64)
        >>> count_known(np.array([5, 99, 100], np.uint64), trained)
        2
        >>> count_known(np.array([5, 99, 100], np.uint64), trained // 25)  # of four values
        0
    """
    if not len(known):
        return 0
    found = int(np.isin(keys, known).sum())
    times = np.unique(known, return_counts=True)[1]
    repeated = float(times[times > 1].sum()) / len(known)
    by_chance = len(keys) * repeated
    return found if found > by_chance + 3 * sqrt(by_chance * (1 - repeated)) else 0
