"""Find the Parquet shards of a stream, on the disk or in object storage, and read their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate

import fsspec
import pyarrow as pa
import pyarrow.parquet

from altuna.data.stream.columns import StreamColumn
from altuna.data.table import hf
from altuna.data.table.reading import plain
from altuna.errors import UserError
from altuna.options import nearest

READ_ROWS = 512  # read from a shard at once
OPENERS = 16  # threads that read footers


@dataclass(frozen=True)
class Shard:
    """A Parquet file of training rows; ``first`` is the number of its first row among those of all shards.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> pyarrow.parquet.write_table(pa.table({"label": ["a", "b"]}), f"{folder}/0.parquet")
        >>> (shard,) = find_shards(folder, {})
        >>> [part.to_pydict() for part in shard.parts(["label"])]
        [{'label': ['a', 'b']}]
    """

    system: fsspec.AbstractFileSystem
    path: str
    first: int = 0
    rows: int = 0

    @property
    def url(self) -> str:
        """Return its URL, or the path of a local file."""
        return str(self.system.unstrip_protocol(self.path)).removeprefix("file://")

    @contextmanager
    def opened(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        """Open the file.

        Raises:
            UserError: It cannot be read, for whatever reason: each file system has its own exceptions.
        """
        try:
            with self.system.open(self.path, "rb") as source:
                yield pyarrow.parquet.ParquetFile(source, pre_buffer=False)
        except (MemoryError, UserError):
            raise
        except Exception as error:
            raise UserError(f"stream: {self.url}: cannot be read: {_reason(error)}") from error

    def parts(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield its rows from start to end, ``READ_ROWS`` at a time, with the types of ``plain``.

        Raises:
            UserError: As ``opened``, or a text is not UTF-8.
        """
        with self.opened() as file:
            names = {name.strip(): name for name in file.schema_arrow.names}
            first = 0
            for batch in file.iter_batches(READ_ROWS, columns=[names[column] for column in columns]):
                table = pa.Table.from_batches([batch]).select([names[column] for column in columns])
                yield plain(f"stream: {self.url}", hf.typed(table)[0].rename_columns(columns), (), first)
                first += len(table)


def find_shards(pattern: str, columns: Mapping[str, StreamColumn]) -> list[Shard]:
    """Return the shards that match a pattern, in the order of their names, after reading their footers.

    Args:
        pattern: A path or URL for ``fsspec``, which may have wildcards, or a folder.
        columns: The columns that all shards must have.

    Raises:
        UserError: No shard matches, one cannot be read, lacks a column or has other cells in it, or a
            package is missing.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in "01":
        ...     pyarrow.parquet.write_table(pa.table({"acc": [1.0, 2.0]}), f"{folder}/{name}.parquet")
        >>> [(shard.first, shard.rows) for shard in find_shards(folder, {})]
        [(0, 2), (2, 2)]
    """
    try:
        system, path = fsspec.core.url_to_fs(pattern)
        found = sorted(system.glob(f"{path}/*.parquet" if system.isdir(path) else path))
    except Exception as error:  # no such protocol, a missing package, no access: each raises its own
        raise UserError(f"stream: {pattern}: {_reason(error)}") from None
    if not found:
        raise UserError(f"stream: {pattern}: no shard matches")

    def checked(path: str) -> Shard:
        # Each thread opens its own file system: not all of them can be shared between threads.
        shard = Shard(fsspec.core.url_to_fs(pattern)[0], path)
        with shard.opened() as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
        _check_columns(shard.url, schema, columns)
        return Shard(system, path, rows=rows)

    with ThreadPoolExecutor(OPENERS) as pool:
        shards = [*pool.map(checked, found)]
    first = accumulate((shard.rows for shard in shards), initial=0)
    return [replace(shard, first=start) for shard, start in zip(shards, first, strict=False)]


def _check_columns(url: str, schema: pa.Schema, columns: Mapping[str, StreamColumn]) -> None:
    """Raise UserError unless a shard has all columns, once, with cells of a type that can be theirs."""
    names = [name.strip() for name in schema.names]
    for name, times in Counter(names).items():
        if times > 1 and name in columns:
            raise UserError(f"stream: {url}: column {name!r} occurs twice")
    for name, column in columns.items():
        if name not in names:
            raise UserError(f"stream: {url}: no column {name!r}{nearest(name, names)}")
        field = schema.field(names.index(name))
        kind = plain(url, pa.schema([field]).empty_table(), ()).schema.types[0]
        if not column.takes(kind) or (pa.types.is_temporal(field.type) and not column.holds_texts):
            raise UserError(f"stream: {url}, column {name!r}: has {field.type}, not {column.wanted}")


def _reason(error: Exception) -> str:
    """Return the message of an error on one line, or its type if it has none (as some timeouts)."""
    return " ".join(str(error).split()) or type(error).__name__
