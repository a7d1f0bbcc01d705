"""Read samples that are given in Python: dicts from modality to a path, bytes, an array or a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from altuna.data.dataset import MultimodalDataset
from altuna.data.readers import Reader
from altuna.data.store.build import read_cell
from altuna.data.table.manifest import RESERVED
from altuna.errors import UserError

MAX_SHOWN = 200  # characters of a cell in a message


def read_samples(samples: Sequence[Mapping[str, Any]], readers: Mapping[str, Reader]) -> MultimodalDataset:
    """Read samples straight into memory; their labels are unknown.

    Args:
        samples: Dicts from modality to cell; a modality may be left out or None.
        readers: The reader of each modality.

    Raises:
        UserError: No sample or one without modality, an unknown modality, or a cell that cannot be read.

    Example:
        >>> from altuna.data.readers import READERS
        >>> readers = {"acc": READERS["vector"](2), "note": READERS["text"](("<hoot>",), 1)}
        >>> read_samples([{"acc": [1.0, 2.0]}, {"note": "hoot"}], readers).present.tolist()
        [[True, False], [False, True]]
    """
    if isinstance(samples, Mapping) or not all(isinstance(sample, Mapping) for sample in samples):
        raise UserError("give the path of a manifest, or a list of dicts that map modality names to values")
    if not samples:
        raise UserError("there is no sample to predict")
    cells: dict[str, list[NDArray[Any]]] = {name: [] for name in readers}
    position = {name: np.full(len(samples), -1) for name in readers}
    for row, sample in enumerate(samples):
        for name, cell in sample.items():
            if name in RESERVED:
                continue
            if name not in readers:
                known = ", ".join(readers)
                raise UserError(f"sample {row}: unknown modality {name!r}; the model has {known}")
            if cell is None:
                continue
            position[name][row] = len(cells[name])
            cells[name].append(_read(readers[name], cell, f"sample {row}, {name!r}:"))
        if all(where[row] < 0 for where in position.values()):
            raise UserError(f"sample {row}: has no modality")
    arrays = {name: np.stack(read) for name, read in cells.items() if read}
    return MultimodalDataset(arrays, {name: position[name] for name in arrays}, np.full(len(samples), -1))


def _read(reader: Reader, cell: Any, where: str) -> NDArray[Any]:
    if isinstance(cell, Path):
        cell = str(cell)
    elif isinstance(cell, torch.Tensor):
        cell = cell.detach().cpu().numpy()
    array, remark = read_cell(reader, cell)
    if array is None:
        shown = f" {cell[:MAX_SHOWN]}:" if isinstance(cell, str) and cell else ""
        raise UserError(f"{where}{shown} {remark.reason if remark else ''}")
    return array
