"""Recognise rows that a run was trained on: it keeps a hash of each, ``train_rows.npy``."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from math import sqrt
from os import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers.base import BadCellError, split_fragment
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.files import atomic_write, check_regular
from altuna.text import one_line

FILE = "train_rows.npy"
MAX_BYTES = 1 << 33
Keys = NDArray[np.uint64]


def row_keys(manifest: Manifest, rows: NDArray[np.int64]) -> Keys:
    r"""Return a hash of all cells of each row [n]; cells that are masked count, too.

    A file counts by its name and its size, so that a copy of the data in another folder has the same keys.

    Example:
        >>> from altuna.data.table.manifest import read_manifest
        >>> _ = Path("owls.csv").write_text("label,acc,note\na,1,hoot\nb,2,hoot\nb,1,hoot\n")
        >>> keys = row_keys(read_manifest("owls.csv"), np.arange(3)).tolist()
        >>> keys[0] == keys[1], keys[0] == keys[2]
        (False, True)
    """
    manifest = replace(manifest, kept={})
    cells = [(name, Cells(manifest, name)) for name in sorted(manifest.modalities)]
    found = []
    for row in rows.tolist():
        key = blake2b(digest_size=8)
        for name, column in cells:
            content = _content(column[row])
            key.update(f"{name}\0{len(content)}\0".encode() + content)
        found.append(key.digest())
    return np.frombuffer(b"".join(found), "<u8")


def _content(cell: Any) -> bytes:
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, np.ndarray):
        return f"{cell.dtype}{cell.shape}".encode() + cell.tobytes()
    if isinstance(cell, dict):  # the channels of a series
        return b"\0".join(name.encode() + b"\0" + _content(part) for name, part in cell.items())
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
