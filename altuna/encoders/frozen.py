"""Compute the features of frozen encoders once, and store them as if they were cells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from altuna.data.store.arrays import UNKNOWN, CellStore, Store, first_rows
from altuna.encoders import Encoder
from altuna.reporting import Reporter

BATCH = 64


@torch.no_grad()
def store_features(
    modality: str, encoder: Encoder, store: Store, folder: Path, reporter: Reporter, device: torch.device
) -> Store:
    """Return a modality's store with the features of its encoder in place of its cells.

    Args:
        modality: Name of the modality.
        encoder: A ``fixed`` encoder, whose features are the same each time.
        store: The prepared cells.
        folder: Folder of all stores.
        reporter: Reports progress.
        device: Device to compute on.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.cells import KEY
        >>> from altuna.reporting import SILENT
        >>> network = torch.nn.Linear(2, 3)
        >>> network.frozen = True
        >>> folder, keys = Path(tempfile.mkdtemp()), np.array([b"a" * 16, b"b" * 16], KEY)
        >>> cells = Store(np.ones((2, 2), np.float32), np.array([0, 1]), keys=keys, folder=folder / "cells")
        >>> encoder = Encoder(torch.nn.Identity(), network)
        >>> store_features("acc", encoder, cells, folder, SILENT, torch.device("cpu")).array.shape
        (2, 3)
    """
    assert store.folder is not None
    features = CellStore(folder / f"features-{_digest(encoder, store)}", (encoder.feature_size,), np.float32)
    rows = np.flatnonzero(store.position >= 0)
    keys = store.keys[rows]
    first = first_rows(keys)
    if (features.find(keys[first]) == UNKNOWN).any():
        encoder = encoder.to(device).eval()
        with features.writing() as writer:
            todo = first[features.find(keys[first]) == UNKNOWN]
            with reporter.cells(f"encoding {modality}", len(todo)) as advance:
                for start in range(0, len(todo), BATCH):
                    places = todo[start : start + BATCH]
                    cells = torch.from_numpy(store.array[store.position[rows[places]]])
                    found = encoder.features(cells.to(device)).float().cpu().numpy()
                    for place, feature in zip(places, found, strict=True):
                        writer.add(keys[place].tobytes(), feature)
                    advance(len(places), 0)
        encoder.train().cpu()
    position = np.full_like(store.position, -1)
    position[rows] = features.find(keys)
    return replace(store, array=features.array(), position=position, folder=features.folder)


def _digest(encoder: Encoder, store: Store) -> str:
    """Return a digest of what features depend on: settings of the cells, weights, options."""
    assert store.folder is not None
    digest = hashlib.sha256(store.folder.name.encode())
    digest.update(f"{torch.__version__}\0{encoder.depends}\0{sorted(encoder.saved.items())}".encode())
    state = [*encoder.front_end.state_dict().values(), *encoder.network.state_dict().values()]
    digest.update(weights_digest(state).encode())
    return digest.hexdigest()[:24]


def weights_digest(weights: Iterable[Tensor]) -> str:
    """Return a digest of the contents of tensors.

    Example:
        >>> layer = torch.nn.Linear(2, 2)
        >>> before = weights_digest(layer.parameters())
        >>> _ = torch.nn.init.zeros_(layer.bias)
        >>> weights_digest(layer.parameters()) == before
        False
    """
    digest = hashlib.sha256()
    for value in weights:
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
