"""Training rows straight from Parquet shards, here or in object storage, without a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from altuna.core.batch import Batch
from altuna.core.collectives import Input, Share, everyone, processes, rank
from altuna.data.readers import Reader
from altuna.data.samples import class_numbers
from altuna.data.store.build import read_cell
from altuna.data.store.problems import Problem
from altuna.data.table import hf
from altuna.data.table.cells import Cells
from altuna.data.table.column_types import is_number
from altuna.data.table.manifest import Manifest, not_finite
from altuna.data.table.reading import plain
from altuna.errors import UserError
from altuna.options import nearest

READ = 512  # rows read from a shard at once
MOST_PROBLEMS = 1000  # that are kept
OPENERS = 16  # footers read at once
_ROW = "altuna_row"


@dataclass(frozen=True)
class Shard:
    """A Parquet file of training rows: where it is, and which of all rows its first one is."""

    system: fsspec.AbstractFileSystem
    path: str
    first: int = 0
    rows: int = 0

    @property
    def url(self) -> str:
        """What it is called; a local file by its path."""
        return str(self.system.unstrip_protocol(self.path)).removeprefix("file://")

    @contextmanager
    def opened(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        """Open it.

        Raises:
            UserError: It cannot be read; each file system has errors of its own.
        """
        try:
            with self.system.open(self.path, "rb") as source:
                yield pyarrow.parquet.ParquetFile(source, pre_buffer=False)
        except MemoryError:
            raise
        except Exception as error:
            raise UserError(f"stream: {self.url}: cannot be read: {_reason(error)}") from error

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Read it from beginning to end, ``READ`` rows at once; raises as ``opened`` does."""
        with self.opened() as file:
            yield from file.iter_batches(READ, columns=columns)


def find_shards(pattern: str, columns: Mapping[str, bool]) -> list[Shard]:
    """Return the shards that a pattern matches, in the order of their names, having read their footers.

    Args:
        pattern: A path or URL of ``fsspec``, maybe with wildcards, or a folder.
        columns: What they must have, and whether it must be numbers.

    Raises:
        UserError: There is none, one cannot be read or has other columns, or a package is missing.
    """
    try:
        system, path = fsspec.core.url_to_fs(pattern)
        found = sorted(system.glob(f"{path}/*.parquet" if system.isdir(path) else path))
    except Exception as error:  # no such protocol, its package is not installed, no access: each has its own
        raise UserError(f"stream: {pattern}: {_reason(error)}") from None
    if not found:
        raise UserError(f"stream: {pattern}: no shard matches")

    def checked(path: str) -> Shard:
        # By a file system of the thread's own: not all of them can be shared.
        shard = Shard(fsspec.core.url_to_fs(pattern)[0], path)
        with shard.opened() as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
        for column, numeric in columns.items():
            if column not in schema.names:
                near = nearest(column, schema.names)
                raise UserError(f"stream: {shard.url}: no column {column!r}{near}")
            kind = schema.field(column).type
            known = is_number(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
            if numeric and not known:
                raise UserError(f"stream: {shard.url}, column {column!r}: has {kind}, not numbers")
        return Shard(system, path, rows=rows)

    with ThreadPoolExecutor(OPENERS) as pool:
        shards = [*pool.map(checked, found)]
    first = accumulate((shard.rows for shard in shards), initial=0)
    return [replace(shard, first=start) for shard, start in zip(shards, first, strict=False)]


class Decoded(NamedTuple):
    """What this process decoded of a modality's cells in a batch."""

    values: NDArray[Any]  # those that could be read [n, ...]
    read: NDArray[np.int64]  # their places in the batch [n]
    unread: NDArray[np.int64]  # the places of those that could not
    filled: NDArray[np.int64]  # the places of all cells, of whatever process


class Stream:
    """The batches of an epoch, read by a thread and decoded by others while those before are trained on.

    Shards come in an order drawn for the epoch, and rows through a buffer: whenever ``buffer`` rows are in
    it they are shuffled and half of them leave. The order depends on the seed and the epoch alone, not on
    ``workers``. At no time are more than about four times ``buffer`` rows in memory, and the batches ahead.
    A row of which nothing can be read is not in its batch, which may be left without any. Of several
    processes each reads all rows and decodes a share of the cells.

    The next epoch begins with batch ``start``, those after it with the first.

    Args:
        pattern: Of the shards.
        manifest: The samples that the model is fitted to: what the columns are. Paths in the shards are
            relative to it.
        readers: Modality to its reader.
        classes: Class names.
        batch_size: Rows a batch.
        seed: Of the order.
        buffer: Rows that are shuffled among each other.
        strict: A cell that cannot be read is an error.
    """

    def __init__(
        self,
        pattern: str,
        manifest: Manifest,
        readers: Mapping[str, Reader],
        classes: tuple[str, ...],
        *,
        batch_size: int,
        seed: int,
        buffer: int,
        strict: bool = False,
    ) -> None:
        self.manifest = replace(manifest, kept={})
        self.label = manifest.columns["label"]
        modal = [column for m in manifest.modalities.values() for column in m.columns]
        kinds = {c: manifest.table.schema.field(c).type for c in dict.fromkeys([self.label, *modal])}
        self.columns = [*kinds]
        # What is text in the manifest is text here.
        self.text = [c for c, kind in kinds.items() if not is_number(kind)]
        self.numeric = [c for c, kind in kinds.items() if is_number(kind) and c != self.label]
        self.shards = find_shards(pattern, {c: c in self.numeric for c in kinds})
        self.rows = sum(shard.rows for shard in self.shards)
        if not self.rows:
            raise UserError(f"stream: {pattern}: the shards have no rows")
        self.readers, self.classes = readers, classes
        self.batch_size, self.seed, self.buffer = batch_size, seed, max(buffer, batch_size)
        self.strict = strict
        self.workers, self.pinned = 1, False  # how batches are made: decoded at once, page-locked for a GPU
        self.epoch, self.start = 0, 0
        self.rank, self.processes = rank(), processes()
        self.problems: dict[tuple[int, str], Problem] = {}

    @property
    def sampler(self) -> Stream:
        """Itself: Lightning tells a loader's sampler which epoch comes next."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        waiting: deque[Future[tuple[Batch, dict[str, Decoded]]]] = deque()
        reader, pool = ThreadPoolExecutor(1), ThreadPoolExecutor(self.workers)
        try:
            first, self.start = self.start, 0
            tables = islice(self._tables(), first, None)
            # As many batches as leave the buffer at once: it is filled again while they are trained on.
            depth = max(1, self.buffer // 2 // self.batch_size)
            ahead = deque(reader.submit(next, tables, None) for _ in range(depth))
            while (table := ahead.popleft().result()) is not None:
                ahead.append(reader.submit(next, tables, None))
                waiting.append(pool.submit(self._decoded, table))
                if len(waiting) > self.workers:
                    yield self._batch(*waiting.popleft().result())
            while waiting:
                yield self._batch(*waiting.popleft().result())
        finally:
            for threads in (reader, pool):
                threads.shutdown(wait=False, cancel_futures=True)

    def _tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each batch, with their numbers among all rows."""
        random = np.random.default_rng([self.seed, self.epoch])
        pool: list[pa.Table] = []
        held = 0
        for number in random.permutation(len(self.shards)):
            for part in self._parts(self.shards[number]):
                pool.append(part)
                held += len(part)
                if held >= self.buffer:
                    leaving = max(1, held // 2 // self.batch_size) * self.batch_size
                    going, *pool = _drawn(pool, random, leaving)
                    held -= leaving
                    yield from _split(going, self.batch_size)
                    del going  # all of it would stay while the buffer fills again
        if held:
            (going,) = _drawn(pool, random, held)
            yield from _split(going, self.batch_size)

    def _parts(self, shard: Shard) -> Iterator[pa.Table]:
        first = shard.first
        for batch in shard.batches(self.columns):
            table = hf.typed(pa.Table.from_batches([batch]).select(self.columns))[0]
            table = _large(plain(Path(shard.url), table, self.text))
            rows = pa.array(np.arange(first, first + len(table)))
            yield table.append_column(_ROW, rows)
            first += len(table)

    def _decoded(self, table: pa.Table) -> tuple[Batch, dict[str, Decoded]]:
        """Return a batch that has no cells yet, and the cells of this process."""
        indices = table[_ROW].to_numpy()
        labels = table[self.label].cast(pa.string()).combine_chunks()
        numbers = class_numbers(labels, self.classes)
        if (numbers < 0).any():
            row = int((numbers < 0).argmax())
            label = labels[row].as_py()
            unknown = f"label {label!r} is in no train row of {self.manifest.path}" if label else "empty"
            raise UserError(f"{self._where(indices[row], self.label)}: {unknown}")
        for column in self.numeric:
            if (wrong := not_finite(table[column])) is not None:
                where = self._where(indices[wrong], column)
                raise UserError(
                    f"{where}: is {table[column][wrong].as_py()}; leave it empty if it is missing"
                )
        manifest = replace(self.manifest, table=table)
        cells = {name: self._read(Cells(manifest, name), r, indices) for name, r in self.readers.items()}
        return Batch({}, {}, torch.from_numpy(numbers), torch.from_numpy(indices.copy())), cells

    def _batch(self, empty: Batch, cells: Mapping[str, Decoded]) -> Batch:
        batch = _complete(empty, cells)
        return batch.pin_memory() if self.pinned else batch

    def _read(self, cells: Cells, reader: Reader, indices: NDArray[np.int64]) -> Decoded:
        filled = np.flatnonzero(cells.filled)
        mine = filled[self.rank :: self.processes]
        if cells.numbers is not None:
            return Decoded(cells.numbers[mine], mine, mine[:0], filled)
        arrays, read = [], np.ones(len(mine), bool)
        for i, place in enumerate(mine.tolist()):
            array, remark = read_cell(reader, cells[place])
            if array is None:
                assert remark is not None
                if self.strict or remark.kind == "fatal":
                    raise UserError(f"{self._where(indices[place], cells.column)}: {remark.reason}")
                self._note(int(indices[place]), cells.column, remark.reason)
                read[i] = False
            else:
                arrays.append(array)
        values = np.stack(arrays) if arrays else np.empty((0, *reader.shape), reader.dtype)
        return Decoded(values, mine[read], mine[~read], filled)

    def _note(self, index: int, column: str, reason: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            shard, row = self._place(index)
            self.problems[index, column] = Problem(row, "", column, shard.url, reason)

    def all_problems(self) -> list[Problem]:
        """Return what could not be read in any process, in the order of the rows."""
        found = {place: problem for mine in everyone(self.problems) for place, problem in mine.items()}
        return [found[place] for place in sorted(found)]

    def _place(self, index: int) -> tuple[Shard, int]:
        """Return the shard of a row and its number there, from 1."""
        starts = [shard.first for shard in self.shards]
        shard = self.shards[int(np.searchsorted(starts, index, side="right")) - 1]
        return shard, index - shard.first + 1

    def _where(self, index: int, column: str) -> str:
        shard, row = self._place(int(index))
        return f"stream: {shard.url}, row {row}, column {column!r}"


def _reason(error: Exception) -> str:
    """Return what an error says in a line; some, as of time run out, say nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _complete(empty: Batch, cells: Mapping[str, Decoded]) -> Batch:
    """Return a batch with the cells that its processes could read, of the rows that have one at least."""
    unread = everyone({name: decoded.unread for name, decoded in cells.items()})
    inputs: dict[str, Input] = {}
    rows = {}
    some = torch.zeros(len(empty), dtype=torch.bool)
    for name, decoded in cells.items():
        places = np.setdiff1d(decoded.filled, np.concatenate([lost[name] for lost in unread]))
        if len(places):
            values, rows[name] = torch.from_numpy(decoded.values), torch.from_numpy(places)
            inputs[name] = values
            if len(unread) > 1:
                # One that has no cell encodes an empty one, which then counts for nothing.
                encodable = values if len(values) else values.new_zeros(1, *values.shape[1:])
                mine = torch.from_numpy(np.searchsorted(places, decoded.read))
                inputs[name] = Share(encodable, mine, len(places))
            some[rows[name]] = True
    batch = replace(empty, inputs=inputs, rows=rows)
    return batch if some.all() else batch.take(some)


def _drawn(parts: list[pa.Table], random: np.random.Generator, number: int) -> list[pa.Table]:
    """Draw so many rows of a buffer; return them and, if there are any, the others, and empty the buffer.

    Each is a copy: a slice would keep all of them in memory. They are joined first: to take rows from parts,
    Arrow joins them every time.
    """
    whole = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    parts.clear()
    order = random.permutation(len(whole))
    return [whole.take(pa.array(rows)) for rows in np.split(order, [number]) if len(rows)]


def _large(table: pa.Table) -> pa.Table:
    """Return a table whose columns may hold more than 2 GiB, as a buffer of pictures does."""

    def large(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([field.with_type(large(field.type)) for field in kind])
        return {pa.binary(): pa.large_binary(), pa.string(): pa.large_string()}.get(kind, kind)

    return table.cast(pa.schema([field.with_type(large(field.type)) for field in table.schema]))


def _split(table: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, len(table), size):
        yield table.slice(start, size)
