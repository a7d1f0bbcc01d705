"""The prepared store: every cell is decoded once, into memory-mapped arrays that epochs read from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.cells import Cells
from altuna.data.manifest import Manifest
from altuna.data.readers import BadCellError, NotFiniteError, Reader
from altuna.files import making, write_csv

# Part of the key: raise it when what a reader returns for the same settings changes.
VERSION = 3


@dataclass(frozen=True)
class Problem:
    """A cell that could not be read; ``row`` counts from 1, ``fatal`` means an error in the data."""

    row: int
    id: str
    column: str
    cell: str
    reason: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"row {self.row} (id {self.id!r}), column {self.column!r}: {self.cell}: {self.reason}"


@dataclass(frozen=True)
class Store:
    """One modality's arrays.

    Args:
        array: Memory map [n, ...] with the cells that could be read.
        position: [rows] int64, a manifest row's place in ``array``; -1 where it has none.
        problems: The cells that could not be read.
    """

    array: NDArray[Any]
    position: NDArray[np.int64]
    problems: tuple[Problem, ...]


def cache_folder() -> Path:
    """Return where prepared data lie: ``$ALTUNA_CACHE``, or ``altuna`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ALTUNA_CACHE") or Path(base) / "altuna")


def prepare_store(
    manifest: Manifest,
    name: str,
    reader: Reader,
    folder: Path,
    advance: Callable[[int], None] = lambda cells: None,
) -> Store:
    """Open a modality's store, decoding its cells first if that was not done before.

    The store is keyed by the cells (files by path, size and time of change) and the reader's settings.
    It appears in ``folder`` under its key only when it is complete.

    Args:
        manifest: The samples.
        name: The modality.
        reader: Decodes its cells.
        folder: Where stores lie.
        advance: Called with a number of cells each time so many are done.
    """
    cells = Cells(manifest, name)
    key = hashlib.sha256(
        json.dumps([VERSION, reader.type, reader.settings(), cells.digest()]).encode()
    ).hexdigest()[:24]
    final = folder / f"{reader.type}-{key}"
    if not final.exists():
        with making(final) as unfinished:
            _build(unfinished, cells, reader, advance)
    else:
        advance(int(cells.filled.sum()))
    problems = []
    for row, reason, fatal in json.loads((final / "problems.json").read_text()):
        cell = cells[row] if isinstance(cells[row], str) else f"<{reader.type}>"
        problems.append(Problem(row + 1, manifest.ids[row].as_py(), cells.column, cell[:200], reason, fatal))
    return Store(
        np.load(final / "array.npy", mmap_mode="r"), np.load(final / "position.npy"), tuple(problems)
    )


def _build(folder: Path, cells: Cells, reader: Reader, advance: Callable[[int], None]) -> None:
    rows = np.flatnonzero(cells.filled)
    array = _allocate(folder / "array.npy", (len(rows), *reader.shape), reader.dtype)
    position = np.full(len(cells), -1, dtype=np.int64)
    problems = []

    def decode(place: int) -> Exception | None:
        try:
            array[place] = reader.read(cells[rows[place]])
        except Exception as error:  # a library's surprise about one cell must not lose the others
            return error
        finally:
            advance(1)
        return None

    # Threads, not processes: the codecs release the GIL, and nothing has to be pickled.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for place, error in enumerate(pool.map(decode, range(len(rows)))):
            row = int(rows[place])
            if error is None:
                position[row] = place
            else:
                known = "" if isinstance(error, BadCellError) else f"{type(error).__name__}: "
                reason = " ".join(f"{known}{error}".split())
                problems.append((row, reason, isinstance(error, NotFiniteError)))
    if isinstance(array, np.memmap):
        array.flush()
    np.save(folder / "position.npy", position)
    (folder / "problems.json").write_text(json.dumps(problems))


def _allocate(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Create a .npy memory map whose bytes are really there: a full disk is an error, not a crash."""
    if 0 in shape:
        empty = np.empty(shape, dtype)
        np.save(path, empty)
        return empty
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write problems as CSV; an empty list writes the header only."""
    header = ("row", "id", "column", "cell", "reason")
    write_csv(path, [header, *([getattr(problem, name) for name in header] for problem in problems)])
