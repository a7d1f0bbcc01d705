"""Choose the readers of a table's modalities, and their settings by the training cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from altuna.data.readers import READERS, Columns, Reader
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.options import check_options

# From the name and the type of a modality to the class of its reader, and defaults of its options.
Choose = Callable[[str, str], tuple[type[Reader], Mapping[str, Any]]]


def fit_readers(
    manifest: Manifest,
    train: NDArray[np.int64],
    settings: Mapping[str, Mapping[str, Any]],
    choose: Choose = lambda name, kind: (READERS[kind], {}),
) -> dict[str, Reader]:
    r"""Return the reader of each modality: options that are not set are chosen by the training cells.

    Args:
        manifest: The samples.
        train: Numbers of the train rows.
        settings: Modality to options of its reader.
        choose: Chooses the class of a reader; by the modality's type if not given.

    Raises:
        UserError: An unknown option, or a modality that no train row has.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc_x,acc_y,note\na,0.5,1,hoot\nb,0.1,2,tu-whit\n")
        >>> readers = fit_readers(read_manifest(path), np.array([0, 1]), {"note": {"length": 4}})
        >>> {name: reader.shape for name, reader in readers.items()}
        {'note': (4,), 'acc': (2,)}
    """
    readers = {}
    for name, modality in manifest.modalities.items():
        kind, wanted = choose(name, modality.type)
        stated = settings.get(name, {})
        check_options(stated, kind.fit, f"readers.{name} ({kind.name})", beside=("cells",))
        cells = Cells(manifest, name)
        rows = train[cells.filled[train]]
        if not len(rows):
            raise UserError(f"{manifest.path}, column {cells.column!r}: no train row has {name!r}")
        try:
            readers[name] = kind.fit(_of_rows(cells, rows), **{**wanted, **stated})
        except UserError as error:
            raise UserError(f"readers.{name}: {error}") from None
    return readers


def _of_rows(cells: Cells, rows: NDArray[np.int64]) -> Sequence[Any] | Columns:
    if cells.columns is None:
        return _CellsOfRows(cells, rows)
    return cells.columns._replace(table=cells.columns.table.take(pa.array(rows)))


class _CellsOfRows(Sequence[Any]):
    """The cells of some rows, converted when they are accessed."""

    def __init__(self, cells: Cells, rows: NDArray[np.int64]) -> None:
        self._cells, self._rows = cells, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self._cells[row] for row in self._rows[i]]
        return self._cells[self._rows[i]]
