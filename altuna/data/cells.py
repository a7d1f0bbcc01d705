"""The cells of a modality, made on access so that a large table never becomes Python objects."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.manifest import Manifest, filled_cells


class Cells(Sequence[Any]):
    """A modality's cells, one a manifest row.

    A cell is None (missing), an absolute path, a text, bytes, or numbers. ``filled`` [rows] bool says which
    rows have one.
    """

    def __init__(self, manifest: Manifest, name: str) -> None:
        modality = manifest.modalities[name]
        self.column = modality.columns[0] if len(modality.columns) == 1 else name
        self.filled = filled_cells(manifest.table, modality.columns)
        columns = [manifest.table[c].combine_chunks() for c in modality.columns]
        first = columns[0].type
        self._is_path = modality.type != "text" and (
            pa.types.is_string(first) or pa.types.is_large_string(first)
        )
        self._folder = str(manifest.path.parent.absolute())
        self._columns = columns
        if modality.type == "vector" and _is_number(first):
            floats = [pc.fill_null(c.cast(pa.float32()), np.nan) for c in columns]
            self._columns = [np.stack([f.to_numpy() for f in floats], axis=1)]

    def __len__(self) -> int:
        return len(self.filled)

    def __getitem__(self, row: Any) -> Any:
        if not self.filled[row]:
            return None
        value = self._columns[0][int(row)]
        if isinstance(value, np.ndarray):
            return value
        value = value.as_py()
        if self._is_path:
            return os.path.join(self._folder, value.strip())
        return value.get("bytes") if isinstance(value, dict) else value

    def digest(self) -> str:
        """Identify the contents: of files by path, size and time of change, of cells by their values."""
        digest = hashlib.sha256(self.filled.tobytes())
        if self._is_path:
            for row in np.flatnonzero(self.filled):
                path = self[row]
                try:
                    stat = os.stat(path)
                    digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
                except OSError:
                    digest.update(f"{path}\0absent\n".encode())
        elif isinstance(self._columns[0], np.ndarray):
            digest.update(self._columns[0].tobytes())
        else:
            sink = pa.BufferOutputStream()
            batch = pa.record_batch(self._columns[:1], names=["cell"])
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            digest.update(sink.getvalue())
        return digest.hexdigest()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
