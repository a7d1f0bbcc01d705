"""Features of a few test samples, kept with a run so that its report needs neither model nor data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from altuna.core.outputs import Features
from altuna.errors import UserError
from altuna.files import atomic_write, check_regular

FILE = "features.safetensors"
MAX_POINTS = 600  # of all modalities together
MAX_HALF = torch.finfo(torch.half).max


class MapFeatures(NamedTuple):
    """Features of some test samples.

    Args:
        of: Modality name to features [n_m, d_m].
        rows: Modality name to the rows [n_m] of the table of predictions that they belong to.

    Example:
        >>> MapFeatures(of={"audio": np.ones((1, 2), np.float32)}, rows={"audio": np.array([7])}).rows
        {'audio': array([7])}
    """

    of: dict[str, NDArray[np.float32]]
    rows: dict[str, NDArray[np.int64]]


def write_features(run: Path, features: Features) -> None:
    """Write the features of evenly spaced samples of a split to the run directory, in half precision.

    Values beyond the range of half precision are clamped.

    Example:
        >>> import tempfile
        >>> run, rows = Path(tempfile.mkdtemp()), torch.arange(3)
        >>> write_features(run, Features({"audio": torch.ones(3, 2)}, {"audio": rows}, labels=rows))
        >>> read_features(run, samples=3).of["audio"].shape
        (3, 2)
    """
    number = len(features.labels)
    most = max(1, MAX_POINTS // max(1, len(features.of)))
    chosen = torch.linspace(0, number - 1, min(number, most)).round().long()
    arrays = {}
    for modality, rows in features.rows.items():
        some = torch.isin(rows, chosen)
        arrays[f"features/{modality}"] = features.of[modality][some].clamp(-MAX_HALF, MAX_HALF).half().numpy()
        arrays[f"rows/{modality}"] = rows[some].numpy()
    with atomic_write(run / FILE) as unfinished:
        unfinished.write_bytes(save(arrays))


def read_features(run: Path, samples: int) -> MapFeatures | None:
    """Return the features that ``write_features`` wrote, or None if the file is missing or damaged.

    Args:
        run: The run directory.
        samples: Number of samples in the table of predictions.

    Example:
        >>> import tempfile
        >>> run, rows = Path(tempfile.mkdtemp()), torch.arange(3)
        >>> read_features(run, samples=3) is None
        True
        >>> write_features(run, Features({"audio": torch.ones(3, 2)}, {"audio": rows}, labels=rows))
        >>> read_features(run, samples=3).rows
        {'audio': array([0, 1, 2])}
    """
    try:
        check_regular(run / FILE)
        arrays = load_file(run / FILE)
    except (OSError, SafetensorError, UserError):
        return None
    start = "features/"
    names = [key.removeprefix(start) for key in arrays if key.startswith(start)]
    for name in names:
        features, rows = arrays[start + name], arrays.get(f"rows/{name}", np.zeros(0))
        if features.ndim != 2 or features.dtype.kind != "f" or rows.shape != features.shape[:1]:
            return None
        if rows.dtype.kind != "i" or ((rows < 0) | (rows >= samples)).any():
            return None
    return MapFeatures(
        {name: np.nan_to_num(arrays[start + name].astype(np.float32)) for name in names},
        {name: arrays[f"rows/{name}"] for name in names},
    )
