"""Shuffle the rows of Parquet shards and decode them, batch by batch, without a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from altuna.core.batch import Batch
from altuna.core.collectives import Input, Share, all_gather_object, processes, rank
from altuna.data.formats.spelling import spelled_as
from altuna.data.readers import Reader
from altuna.data.readers.base import Note
from altuna.data.samples import class_numbers
from altuna.data.store.build import read_cell
from altuna.data.store.problems import Problem
from altuna.data.stream.parts import PartReader
from altuna.data.stream.shards import Shard, find_shards
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import Manifest, not_finite
from altuna.errors import UserError
from altuna.options import shown

MAX_PROBLEMS = 1000  # that are kept
_ROW = "altuna_row"


class Decoded(NamedTuple):
    """The cells of a modality in a batch that this process decoded.

    Example:
        >>> cells = Decoded(np.ones((1, 2)), np.array([0]), unread=np.array([2]), filled=np.array([0, 2]))
        >>> len(cells.values), cells.unread.tolist()
        (1, [2])
    """

    values: NDArray[Any]  # of the cells that could be read [n, ...]
    read: NDArray[np.int64]  # places of these cells in the batch [n]
    unread: NDArray[np.int64]  # places of the cells that could not be read
    filled: NDArray[np.int64]  # places of all cells of the modality, of all processes
    notes: tuple[tuple[str, Note], ...] = ()  # remarks on the cells, with their column


class Stream:
    """The batches of an epoch: read by one thread and decoded by others, ahead of the training.

    The shards are read in a random order, and their rows are shuffled in a buffer: whenever it holds
    ``buffer`` rows, they are shuffled and half of them leave it. The order depends on the seed and the epoch
    only, not on ``workers``. At most about four times ``buffer`` rows are in memory, besides the batches that
    are ready. A row without any cell that can be read is left out of its batch, which may become empty. With
    several processes, each reads all rows and decodes its share of the cells.

    The next epoch starts at batch ``start``, later ones at the first.

    Args:
        pattern: Path or URL of the shards; see ``find_shards``.
        manifest: The table that the readers were fitted to; it tells what the columns are. Paths in the
            shards are relative to it.
        readers: Modality to its reader.
        classes: Class names.
        batch_size: Rows per batch.
        seed: Random seed of the order.
        buffer: Size of the shuffle buffer, in rows.
        strict: Raise an error for a cell that cannot be read.

    Example:
        >>> import tempfile
        >>> import pyarrow.parquet
        >>> from altuna.data.readers import READERS
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = f"{tempfile.mkdtemp()}/0.parquet"
        >>> pyarrow.parquet.write_table(pa.table({"label": ["a", "b", "a"], "acc": [1.0, 2.0, 3.0]}), path)
        >>> manifest, readers = read_manifest(path), {"acc": READERS["vector"](1)}
        >>> stream = Stream(path, manifest, readers, ("a", "b"), batch_size=2, seed=0, buffer=4)
        >>> [len(batch) for batch in stream]
        [2, 1]
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
        self.reader = PartReader(manifest)
        self.shards = find_shards(pattern, self.reader.columns)
        self.rows = sum(shard.rows for shard in self.shards)
        if not self.rows:
            raise UserError(f"stream: {pattern}: the shards have no rows")
        self.readers, self.classes = readers, classes
        self.batch_size, self.seed, self.buffer = batch_size, seed, max(buffer, batch_size)
        self.strict = strict
        self.workers, self.pinned = 1, False  # decoding threads; whether batches are page-locked, for a GPU
        self.epoch, self.start = 0, 0
        self.rank, self.processes = rank(), processes()
        self.problems: dict[tuple[int, str], Problem] = {}
        self.notes: dict[tuple[str, str], Note] = {}
        self.noted: int | None = None  # the epoch whose notes are counted

    @property
    def sampler(self) -> Stream:
        """Itself: the loop tells a loader's sampler which epoch comes next."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        self.noted = self.epoch if self.noted is None else self.noted
        waiting: deque[Future[tuple[Batch, dict[str, Decoded]]]] = deque()
        reader, pool = ThreadPoolExecutor(1), ThreadPoolExecutor(self.workers)
        try:
            first, self.start = self.start, 0
            tables = islice(self._tables(), first, None)
            # All batches that leave the buffer at once: it is filled again while they are used.
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
        """Yield the rows of each batch, with their numbers among the rows of all shards."""
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
                    del going  # or all of it would stay in memory while the buffer is filled again
        self.reader.finish()
        if held:
            (going,) = _drawn(pool, random, held)
            yield from _split(going, self.batch_size)

    def _parts(self, shard: Shard) -> Iterator[pa.Table]:
        first = shard.first
        for part in shard.parts([*self.reader.columns]):
            table = _large(self.reader.read(part, partial(self._where, first)))
            rows = pa.array(np.arange(first, first + len(table)))
            yield table.append_column(_ROW, rows)
            first += len(table)

    def _decoded(self, table: pa.Table) -> tuple[Batch, dict[str, Decoded]]:
        """Return a batch without cells, and the cells that this process decoded."""
        indices = table[_ROW].to_numpy()
        labels = spelled_as(table[self.label], self.classes).combine_chunks()
        numbers = class_numbers(labels, self.classes)
        if (numbers < 0).any():
            row = int((numbers < 0).argmax())
            label = labels[row].as_py()
            unknown = f"label {shown(label)} is in no train row of {self.manifest.path}" if label else "empty"
            raise UserError(f"{self._where(0, int(indices[row]), self.label)}: {unknown}")
        for column in self.reader.numeric:
            if (wrong := not_finite(table[column])) is not None:
                where = self._where(0, int(indices[wrong]), column)
                raise UserError(
                    f"{where}: is {table[column][wrong].as_py()}; "
                    "leave the cell empty if the value is missing"
                )
        manifest = replace(self.manifest, table=table)
        cells = {name: self._read(Cells(manifest, name), r, indices) for name, r in self.readers.items()}
        return Batch({}, {}, torch.from_numpy(numbers), torch.from_numpy(indices.copy())), cells

    def _batch(self, empty: Batch, cells: Mapping[str, Decoded]) -> Batch:
        if self.epoch == self.noted:
            self._sum_up(note for decoded in cells.values() for note in decoded.notes)
        batch = _complete(empty, cells)
        return batch.pin_memory() if self.pinned else batch

    def _read(self, cells: Cells, reader: Reader, indices: NDArray[np.int64]) -> Decoded:
        filled = np.flatnonzero(cells.filled)
        own = filled[self.rank :: self.processes]
        if cells.columns is not None:
            values, notes = reader.encode(cells.columns.table.take(pa.array(own)))
            return Decoded(values, own, own[:0], filled, tuple((cells.column, note) for note in notes))
        arrays, remarks, read = [], [], np.ones(len(own), bool)
        for i, place in enumerate(own.tolist()):
            array, remark = read_cell(reader, cells[place])
            if array is None:
                assert remark is not None
                if self.strict or remark.kind == "fatal":
                    raise UserError(f"{self._where(0, int(indices[place]), cells.column)}: {remark.reason}")
                self._note(int(indices[place]), cells.column, remark.reason)
                read[i] = False
            else:
                arrays.append(array)
                remarks += [remark.reason] if remark else []
        values = np.stack(arrays) if arrays else np.empty((0, *reader.shape), reader.dtype)
        noted = [Note("remarks on cells: ", len(remarks), f", the first is: {remarks[0]}")] if remarks else []
        return Decoded(values, own[read], own[~read], filled, tuple((cells.column, note) for note in noted))

    def _sum_up(self, notes: Iterable[tuple[str, Note]]) -> None:
        """Add remarks on cells to those of their kind on the same column."""
        for column, note in notes:
            before = self.notes.get((column, note.before), note._replace(cells=0))
            self.notes[column, note.before] = before._replace(cells=before.cells + note.cells)

    def _note(self, index: int, column: str, reason: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            shard, row = self._place(index)
            self.problems[index, column] = Problem(row, "", column, shard.url, reason)

    def all_problems(self) -> list[Problem]:
        """Return remarks on columns, and the cells that could not be read in any process, by their rows."""
        everyones = all_gather_object((self.problems, self.notes))
        found = {place: problem for problems, _ in everyones for place, problem in problems.items()}
        self.notes = {}
        for _, notes in everyones:
            self._sum_up((column, note) for (column, _), note in notes.items())
        remarks = [Problem(0, "", column, "", str(note), "note") for (column, _), note in self.notes.items()]
        return [*self.reader.problems(), *remarks, *(found[place] for place in sorted(found))]

    def _place(self, index: int) -> tuple[Shard, int]:
        """Return the shard of a row, and the number of the row in it, from 1."""
        starts = [shard.first for shard in self.shards]
        shard = self.shards[int(np.searchsorted(starts, index, side="right")) - 1]
        return shard, index - shard.first + 1

    def _where(self, first: int, row: int, column: str) -> str:
        """Return the place of a cell, in a row of those that begin with the row ``first`` of all."""
        shard, row = self._place(first + row)
        return f"stream: {shard.url}, row {row}" + (f", column {column!r}" if column else "")


def _complete(empty: Batch, cells: Mapping[str, Decoded]) -> Batch:
    """Return a batch with the cells that could be read, without the rows that have none."""
    unread = all_gather_object({name: decoded.unread for name, decoded in cells.items()})
    inputs: dict[str, Input] = {}
    rows = {}
    some = torch.zeros(len(empty), dtype=torch.bool)
    for name, decoded in cells.items():
        places = np.setdiff1d(decoded.filled, np.concatenate([lost[name] for lost in unread]))
        if len(places):
            values, rows[name] = torch.from_numpy(decoded.values), torch.from_numpy(places)
            inputs[name] = values
            if len(unread) > 1:
                # A process without a cell encodes an empty one, which is not used.
                encodable = values if len(values) else values.new_zeros(1, *values.shape[1:])
                mine = torch.from_numpy(np.searchsorted(places, decoded.read))
                inputs[name] = Share(encodable, mine, len(places))
            some[rows[name]] = True
    batch = replace(empty, inputs=inputs, rows=rows)
    return batch if some.all() else batch.take(some)


def _drawn(parts: list[pa.Table], random: np.random.Generator, number: int) -> list[pa.Table]:
    """Draw ``number`` rows of a buffer; return them and, if there are any, the others; empty the buffer.

    Both are copies: a slice would keep all rows in memory. The parts are joined first: otherwise Arrow would
    join them each time that rows are taken.
    """
    whole = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    parts.clear()
    order = random.permutation(len(whole))
    return [whole.take(pa.array(rows)) for rows in np.split(order, [number]) if len(rows)]


def _large(table: pa.Table) -> pa.Table:
    """Return a table with 64-bit offsets: its columns may have more than 2 GiB, as a buffer of images has."""

    def large(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([field.with_type(large(field.type)) for field in kind])
        return {pa.binary(): pa.large_binary(), pa.string(): pa.large_string()}.get(kind, kind)

    return table.cast(pa.schema([field.with_type(large(field.type)) for field in table.schema]))


def _split(table: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, len(table), size):
        yield table.slice(start, size)
