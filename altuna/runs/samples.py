"""Read samples that are given in Python: dicts from modality or column to a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.dataset import MultimodalDataset
from altuna.data.readers import Reader
from altuna.data.samples import Samples
from altuna.data.store.build import read_cell
from altuna.errors import UserError
from altuna.runs.records import Fields

Note = Callable[[str, str], None]
MAX_SHOWN = 200  # characters of a cell in a message


def read_samples(
    samples: Sequence[Mapping[Any, Any]], fields: Fields, note: Note = lambda place, remark: None
) -> Samples:
    """Read samples straight into memory; their labels are unknown. Those without any cell are left out.

    Args:
        samples: Dicts from modality or column to value; it may be left out or missing.
        fields: The keys that they may have.
        note: Called with the place of a cell that was read, and a remark on it.

    Raises:
        UserError: No sample has anything, an unknown key, or a cell that cannot be read.

    Example:
        >>> from altuna.data.readers import READERS
        >>> fields = Fields({"acc": READERS["vector"](2), "note": READERS["text"](("<hoot>",), 1)}, {})
        >>> read = read_samples([{"acc": [1.0, 2.0]}, {"note": ""}, {"note": "hoot"}], fields)
        >>> read.dataset.present.tolist(), read.rows.tolist()
        ([[True, False], [False, True]], [0, 2])
    """
    if not samples:
        raise UserError("there is no sample to predict")
    cells: dict[str, list[NDArray[Any]]] = {name: [] for name in fields.readers}
    position = {name: np.full(len(samples), -1) for name in fields.readers}
    for row, sample in enumerate(samples):
        for name, cell in fields.cells(sample, f"sample {row}").items():
            position[name][row] = len(cells[name])
            cells[name].append(_read(fields.readers[name], cell, f"sample {row}, {name!r}:", note))
    rows = np.flatnonzero(np.any([place >= 0 for place in position.values()], axis=0))
    if not len(rows):
        raise UserError(f"no sample has any of the model's modalities: {', '.join(fields.readers)}")
    arrays = {name: np.stack(read) for name, read in cells.items() if read}
    places = {name: position[name][rows] for name in arrays}
    return Samples(MultimodalDataset(arrays, places, np.full(len(rows), -1)), rows)


def _read(reader: Reader, cell: Any, where: str, note: Note) -> NDArray[Any]:
    array, remark = read_cell(reader, str(cell) if isinstance(cell, Path) else cell)
    shown = f"{where} {cell[:MAX_SHOWN]}:" if isinstance(cell, str) and cell else where
    if array is None:
        raise UserError(f"{shown} {remark.reason if remark else ''}")
    if remark:
        note(shown, remark.reason)
    return array
