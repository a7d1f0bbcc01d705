"""Decode the cells of a table into stores, each cell once, on all cores."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers import BadCellError, InconsistentError, NotFiniteError, Reader, UnavailableError
from altuna.data.readers.base import TOO_MUCH, Note
from altuna.data.readers.limits import Overrun, Worker
from altuna.data.store.arrays import UNKNOWN, UNREADABLE, VERSION, CellStore, Remark, Store, first_rows
from altuna.data.store.problems import Problem
from altuna.data.table.cells import Cells, shortened
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.files import write_text
from altuna.reporting import SILENT, Reporter

# A task of a thread: small enough to be stopped soon, large enough to hide its overhead.
_TASK_BYTES, _TASK_CELLS = 1 << 21, 64


def prepare_store(
    manifest: Manifest, name: str, reader: Reader, folder: Path, reporter: Reporter = SILENT
) -> Store:
    r"""Open a modality's store, after decoding the cells that were never decoded with these settings.

    Args:
        manifest: The samples.
        name: Name of the modality.
        reader: Decodes its cells.
        folder: Folder of all stores.
        reporter: Reports progress, if there is anything to read.

    Raises:
        UserError: The disk has no space, or the store is damaged.

    Example:
        >>> import tempfile
        >>> from altuna.data.readers import READERS
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,note\na,hoot\na,hoot\nb,tu-whit\n")
        >>> reader = READERS["text"](vocabulary=("<hoot>",), length=2)
        >>> store = prepare_store(read_manifest(path), "note", reader, path.parent)
        >>> len(store.array), store.position.tolist()  # equal cells are decoded and stored once
        (2, [0, 0, 1])
    """
    cells = Cells(manifest, name)
    if cells.columns is not None:
        try:
            return _in_memory(cells, reader.encode(cells.columns.table))
        except BadCellError as error:
            raise UserError(f"readers.{name}: {error} of {manifest.path}") from None
    store = CellStore(folder / _name(reader), reader.shape, reader.dtype)
    rows = np.flatnonzero(cells.filled)
    keys = cells.keys(rows)
    first = first_rows(keys)
    passing: dict[bytes, Remark] = {}
    if unknown := int((store.find(keys[first]) == UNKNOWN).sum()):
        store.check_space(unknown)
        with store.writing() as writer:
            settings = store.folder / "reader.json"
            if not settings.exists():
                write_text(settings, json.dumps(reader.settings()))
            # Searched again: another process may have written them in the meantime.
            todo = first[store.find(keys[first]) == UNKNOWN]
            with reporter.cells(f"reading {name}", len(todo)) as advance:
                for place, (cell, remark) in zip(todo, _read_all(cells, rows[todo], reader), strict=True):
                    key = keys[place].tobytes()
                    if remark and remark.kind == PASSING:
                        passing[key] = replace(remark, kind="unread")
                    else:
                        writer.add(key, cell, remark)
                    advance(1, cell is None)
    places = store.find(keys)
    position = np.full(len(cells), -1, dtype=np.int64)
    position[rows] = np.maximum(places, -1)
    all_keys = np.zeros(len(cells), keys.dtype)
    all_keys[rows] = keys
    remarks = [*store.remarks(keys)]
    remarked = {place for place, _ in remarks}
    lost = np.flatnonzero(places == UNREADABLE).tolist()
    remarks += [(p, Remark("cannot be read (reason unknown)", "unread")) for p in lost if p not in remarked]
    if passing:
        remarks += [(p, passing[k]) for p, key in enumerate(keys) if (k := key.tobytes()) in passing]
    problems = tuple(_problems(manifest, cells, rows, sorted(remarks)))
    return Store(store.array(), position, problems, all_keys, store.folder)


def _name(reader: Reader) -> str:
    key = json.dumps([VERSION, reader.name, reader.settings()])
    return f"{reader.name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def _in_memory(cells: Cells, encoded: tuple[NDArray[Any], list[Note]]) -> Store:
    """Return the store of columns that are encoded all at once, and stay in memory."""
    values, notes = encoded
    position = np.where(cells.filled, np.arange(len(cells)), -1)
    return Store(
        values, position, tuple(Problem(0, "", cells.column, "", str(note), "note") for note in notes)
    )


PASSING = "passing"
Outcome = tuple[NDArray[Any] | None, Remark | None]


def _read_all(cells: Cells, rows: NDArray[np.int64], reader: Reader) -> Iterator[Outcome]:
    """Decode the cells of some rows, in order: each core by a thread, files in a process of each thread."""
    bytes_each = max(1, math.prod(reader.shape) * np.dtype(reader.dtype).itemsize)
    step = min(_TASK_CELLS, max(1, _TASK_BYTES // bytes_each))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = SimpleQueue[Worker]()
    read = partial(read_cell, reader)
    for _ in range(cores if reader.decodes_files else 0):
        workers.put(Worker(read))

    def task(some: NDArray[np.int64]) -> list[Outcome]:
        if not reader.decodes_files:
            return [read(cells[row]) for row in some]
        worker = workers.get()
        try:
            found = worker.map([cells[row] for row in some])
        finally:
            workers.put(worker)
        return [(None, Remark(o.reason, "unread")) if isinstance(o, Overrun) else o for o in found]

    waiting: deque[Future[list[Outcome]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for start in range(0, len(rows), step):
                waiting.append(pool.submit(task, rows[start : start + step]))
                if len(waiting) > 2 * cores + 24:  # limits the decoded cells in memory
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            while not workers.empty():
                workers.get().close()


def read_cell(reader: Reader, cell: Any) -> Outcome:
    """Decode a cell; return its array, or None if it cannot be read, and a remark, if there is any.

    A remark of kind ``passing`` is about a temporary reason: the next attempt may succeed.

    Example:
        >>> from altuna.data.readers import READERS
        >>> read_cell(READERS["vector"](2), [1.0, 2.0])
        (array([1., 2.], dtype=float32), None)
        >>> read_cell(READERS["vector"](3), [1.0, 2.0])[1].reason
        'a vector of 2 numbers, the others have 3'
    """
    if isinstance(cell, bytes) and not cell:
        return None, Remark("the cell is empty (0 bytes)", "unread")
    notes: list[str] = []
    try:
        array = reader.read(cell, notes.append)
    except BadCellError as error:
        kinds = {NotFiniteError: "fatal", InconsistentError: "fatal", UnavailableError: PASSING}
        return None, Remark(" ".join(str(error).split()), kinds.get(type(error), "unread"))
    except MemoryError:
        return None, Remark(TOO_MUCH, "unread")
    except Exception as error:  # an unexpected error of a library about one cell must not stop the others
        return None, Remark(" ".join(f"{type(error).__name__}: {error}".split()), PASSING)
    return array, Remark("; ".join(notes), "note") if notes else None


def _problems(
    manifest: Manifest, cells: Cells, rows: NDArray[np.int64], remarks: Iterable[tuple[int, Remark]]
) -> Iterator[Problem]:
    for place, remark in remarks:
        row = int(rows[place])
        shown = shortened(cells[row])
        yield Problem(row + 1, manifest.ids[row].as_py(), cells.column, shown, remark.reason, remark.kind)
