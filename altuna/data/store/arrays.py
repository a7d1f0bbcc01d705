"""The prepared store: decoded cells in arrays on disk, which epochs read without decoding again."""

from __future__ import annotations

import json
import math
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock
from numpy.typing import NDArray

from altuna.data.store.problems import Problem
from altuna.data.table.cells import KEY
from altuna.errors import UserError
from altuna.text import readable_bytes

# Part of a store's name: raise it when a reader returns something else for the same settings.
VERSION = 4
UNKNOWN, UNREADABLE = -2, -1  # in place of a row number: never read; cannot be read
_ENTRY = np.dtype([("key", KEY), ("place", "<i8")])
_COMMIT_BYTES, _COMMIT_SECONDS = 1 << 26, 2.0
_MAPPED_BYTES = 1 << 28


class StoredArray:
    """Rows [n, ...] of a file, copied to memory by their numbers.

    The file is memory-mapped, and its pages are released now and then: what was read stays in the system's
    disk cache, but does not count as memory of this process, however large the file is.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "cells.bin")
        >>> np.arange(6, dtype=np.float32).tofile(path)
        >>> StoredArray(path, (3, 2), np.float32)[np.array([2, 0])].tolist()
        [[4.0, 5.0], [0.0, 1.0]]
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        if shape[0]:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            size = math.prod(shape)
            self._rows = np.frombuffer(self._map, self.dtype, size).reshape(shape)
        else:  # an empty file cannot be memory-mapped
            self._rows = np.empty(shape, self.dtype)
        self._gathered = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self.take(rows, 0)

    def take(self, rows: NDArray[np.int64], axis: Literal[0]) -> NDArray[Any]:
        """Return rows, as NumPy's ``take``, which is three times as fast as its indexing by brackets."""
        gathered: NDArray[Any] = self._rows.take(rows, axis)
        # The system maps at least 64 kB around a row.
        self._gathered += len(gathered) * max(1 << 16, gathered.nbytes // max(1, len(gathered)))
        if self._gathered > _MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._gathered = 0
        return gathered

    def __reduce__(self) -> tuple[Any, ...]:
        # The worker processes of a loader map the file themselves: the rows are not pickled.
        return StoredArray, (self.path, self.shape, self.dtype)


@dataclass(frozen=True)
class Remark:
    """A remark on a cell: why it cannot be read, or what is worth knowing about it; see ``Problem.kind``.

    Example:
        >>> Remark("not UTF-8, read as latin-1", kind="note").reason
        'not UTF-8, read as latin-1'
    """

    reason: str
    kind: str


class CellStore:
    """An append-only array on disk: cells of one shape and dtype, found by their keys.

    It has three files: ``cells.bin``, the rows; ``index.bin``, pairs of a key and a row number;
    ``remarks.jsonl``, remarks on some cells. An entry of the index is written after its row is on the disk,
    so that a killed process loses at most the last seconds and never leaves half a cell.

    Args:
        folder: The store's own folder, created when something is written.
        shape: Shape of a cell.
        dtype: Dtype of a cell.

    Example:
        >>> import tempfile
        >>> store = CellStore(Path(tempfile.mkdtemp()), shape=(2,), dtype=np.float32)
        >>> with store.writing() as writer:
        ...     writer.add(b"a" * 16, np.array([1.0, 2.0]))
        >>> store.find(np.array([b"a" * 16, b"b" * 16], KEY)).tolist()  # -2: never read
        [0, -2]
        >>> store.array()[np.array([0])].tolist()
        [[1.0, 2.0]]
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: Any) -> None:
        self.folder, self.shape, self.dtype = folder, shape, np.dtype(dtype)

    @property
    def cell_bytes(self) -> int:
        """Return the bytes of a cell."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the row number of each key [n]; UNREADABLE or UNKNOWN (never read) where there is none."""
        index = self._index()
        entry = pc.index_in(_binary(keys), value_set=_binary(index["key"]))
        entry = entry.fill_null(len(index)).to_numpy(zero_copy_only=False)
        places: NDArray[np.int64] = np.append(index["place"], UNKNOWN)[entry]
        return places

    def array(self) -> StoredArray:
        """Return the rows that are written so far."""
        rows, path = int(self._index()["place"].max(initial=-1)) + 1, self.folder / "cells.bin"
        if rows and (not path.exists() or path.stat().st_size < rows * self.cell_bytes):
            raise _damaged(path)
        return StoredArray(path, (rows, *self.shape), self.dtype)

    def remarks(self, keys: NDArray[np.void]) -> Iterator[tuple[int, Remark]]:
        """Yield the remarks on keys, each with the place of its key in ``keys``."""
        path = self.folder / "remarks.jsonl"
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        try:
            known = {key: Remark(reason, kind) for key, reason, kind in map(json.loads, whole.splitlines())}
            remarked = _binary(np.frombuffer(bytes.fromhex("".join(known)), KEY))
        except (ValueError, TypeError):
            raise _damaged(path) from None
        for place in np.flatnonzero(pc.is_in(_binary(keys), value_set=remarked)):
            yield int(place), known[keys[place].tobytes().hex()]

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield a writer; other processes that want to write to this store wait until it is closed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"), Writer(self) as writer:
            yield writer

    def check_space(self, cells: int) -> None:
        """Raise UserError if the disk has no space for this number of new cells."""
        folder = next(f for f in (self.folder, *self.folder.parents) if f.exists())
        free, needed = shutil.disk_usage(folder).free, cells * self.cell_bytes
        if needed > free:
            raise UserError(
                f"{self.folder}: {readable_bytes(needed)} are needed, {readable_bytes(free)} "
                "are free on the disk; choose another folder with --store"
            )

    def _index(self) -> NDArray[Any]:
        path = self.folder / "index.bin"
        index = np.fromfile(path, _ENTRY) if path.exists() else np.empty(0, _ENTRY)
        if index["place"].min(initial=0) < UNREADABLE:
            raise _damaged(path)
        return index


class Writer:
    """Append cells to a store; opened by ``CellStore.writing``.

    Example:
        >>> import tempfile
        >>> store, key = CellStore(Path(tempfile.mkdtemp()), (2,), np.float32), b"a" * 16
        >>> with store.writing() as writer:
        ...     writer.add(key, None, Remark("no such file", "unread"))
        >>> [*store.remarks(np.array([key], KEY))]
        [(0, Remark(reason='no such file', kind='unread'))]
    """

    def __init__(self, store: CellStore) -> None:
        self._store = store
        self._entries: list[tuple[bytes, int]] = []
        self._remarks: list[str] = []

    def __enter__(self) -> Writer:
        index = self._store._index()
        self._next = int(index["place"].max(initial=-1)) + 1
        sizes = {
            "cells.bin": self._next * self._store.cell_bytes,
            "index.bin": len(index) * _ENTRY.itemsize,
            "remarks.jsonl": None,
        }
        self._files = {name: _open(self._store.folder / name, size) for name, size in sizes.items()}
        self._committed, self._waiting = time.monotonic(), 0
        return self

    def __exit__(self, *_: object) -> None:
        # After an error or Ctrl-C too: what was read is kept.
        try:
            self._commit()
        finally:
            for file in self._files.values():
                file.close()

    def add(self, key: bytes, cell: NDArray[Any] | None, remark: Remark | None = None) -> None:
        """Append a cell; None stands for one that cannot be read."""
        if cell is not None:
            self._files["cells.bin"].write(np.ascontiguousarray(cell, self._store.dtype).data)
            self._waiting += cell.nbytes
        self._entries.append((key, UNREADABLE if cell is None else self._next))
        self._next += cell is not None
        if remark:
            self._remarks.append(json.dumps([key.hex(), remark.reason, remark.kind]))
        if self._waiting > _COMMIT_BYTES or time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        _write(self._files["cells.bin"], b"")
        _write(self._files["remarks.jsonl"], "".join(f"{line}\n" for line in self._remarks).encode())
        _write(self._files["index.bin"], np.array(self._entries, _ENTRY).tobytes())
        self._entries, self._remarks = [], []
        self._committed, self._waiting = time.monotonic(), 0


def _open(path: Path, size: int | None) -> BinaryIO:
    """Open to append after ``size`` bytes or the last whole line: a killed process may have left more."""
    path.touch()
    if size is None:
        content = path.read_bytes()
        size = content.rfind(b"\n") + 1
    if path.stat().st_size < size:
        raise _damaged(path)
    os.truncate(path, size)
    return path.open("ab")


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: is damaged; delete the folder that contains it")


def _write(file: BinaryIO, content: bytes) -> None:
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or file.name
        raise


def first_rows(keys: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the places at which each key occurs first, in ascending order.

    Example:
        >>> keys = np.array([b"b" * 16, b"a" * 16, b"b" * 16], dtype=KEY)
        >>> first_rows(keys).tolist()
        [0, 1]
    """
    codes = _binary(keys).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.sort(np.unique(codes, return_index=True)[1])


def _binary(keys: NDArray[np.void]) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(keys).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY.itemsize), len(keys), [None, buffer])


@dataclass(frozen=True)
class Store:
    """One modality's prepared cells.

    Args:
        array: The cells [n, ...].
        position: [rows] int64, the place in ``array`` of each manifest row; -1 for a row without a cell.
        problems: Remarks on cells.
        keys: [rows] the keys of the cells; empty if nothing had to be read.
        folder: Folder of the array; None if it is in memory.

    Example:
        >>> store = Store(np.zeros((3, 2), np.float32), position=np.array([0, -1, 2]))
        >>> store.size  # two cells of two numbers are used
        16
    """

    array: StoredArray | NDArray[Any]
    position: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()
    keys: NDArray[np.void] = field(default_factory=lambda: np.empty(0, KEY))
    folder: Path | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the cells that this manifest uses."""
        used = len(np.unique(self.position[self.position >= 0]))
        return used * math.prod(self.array.shape[1:]) * self.array.dtype.itemsize
