"""Data sets over prepared stores, and loaders of their batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from altuna.core.batch import Batch
from altuna.core.collectives import Input, Share
from altuna.data.store.arrays import StoredArray


class MultimodalDataset(Dataset[Batch]):
    """The samples of one split; indexed by a list of positions, it returns their batch.

    Args:
        arrays: Modality name to its prepared cells [n_m, ...].
        position: Modality name to [N] int64, the place of each sample's cell in the array; -1 if missing.
        labels: [N] class numbers, -1 if unknown.

    Example:
        >>> cells = {"sound": np.ones((2, 3), np.float32)}
        >>> dataset = MultimodalDataset(cells, {"sound": np.array([0, -1, 1])}, np.array([0, 1, 1]))
        >>> batch = dataset[[1, 2]]
        >>> batch.rows["sound"].tolist(), batch.labels.tolist()
        ([1], [1, 1])
    """

    def __init__(
        self,
        arrays: Mapping[str, StoredArray | NDArray[Any]],
        position: Mapping[str, NDArray[np.int64]],
        labels: NDArray[np.int64],
    ) -> None:
        self.arrays, self.position, self.labels = arrays, position, labels
        self.rank, self.processes = 0, 1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, positions: Any) -> Batch:
        index = np.asarray(positions)
        inputs: dict[str, Input] = {}
        rows = {}
        for name, array in self.arrays.items():
            place = self.position[name][index]
            present = np.flatnonzero(place >= 0)
            if len(present):
                inputs[name] = self._input(array, place[present])
                rows[name] = torch.from_numpy(present)
        return Batch(inputs, rows, torch.from_numpy(self.labels[index]), torch.from_numpy(index))

    def _input(self, array: StoredArray | NDArray[Any], cells: NDArray[np.int64]) -> Input:
        if self.processes == 1:
            return torch.from_numpy(array.take(cells, 0))
        places = np.arange(self.rank, len(cells), self.processes)
        mine = cells[places] if len(places) else cells[:1]
        return Share(torch.from_numpy(array.take(mine, 0)), torch.from_numpy(places), len(cells))

    def shared(self, rank: int, processes: int) -> MultimodalDataset:
        """Return the same samples, with batches that have one process's share of the cells."""
        shared = copy.copy(self)
        shared.rank, shared.processes = rank, processes
        return shared

    @property
    def present(self) -> NDArray[np.bool_]:
        """Return which modalities each sample has, [M, N] bool."""
        return np.stack([position >= 0 for position in self.position.values()])

    def masked(self, present: NDArray[np.bool_]) -> MultimodalDataset:
        """Return the samples with only the modalities in ``present`` [M, N]; others are dropped."""
        present = present & self.present
        keep = present.any(axis=0)
        position = {
            name: np.where(mine, self.position[name], -1)[keep]
            for name, mine in zip(self.position, present, strict=True)
        }
        return MultimodalDataset(self.arrays, position, self.labels[keep])


class BatchSampler(Sampler[NDArray[np.int64]]):
    """Batches of positions, in an order that depends on the seed and the epoch only.

    The next epoch starts at batch ``start``, later ones at the first.

    Example:
        >>> sampler = BatchSampler(5, batch_size=2)
        >>> [batch.tolist() for batch in sampler]
        [[0, 1], [2, 3], [4]]
        >>> sampler.start = 2  # to go on within an epoch
        >>> [batch.tolist() for batch in sampler]
        [[4]]
    """

    def __init__(self, size: int, batch_size: int, shuffle_seed: int | None = None) -> None:
        self.size, self.batch_size, self.shuffle_seed = size, batch_size, shuffle_seed
        self.epoch, self.start = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.arange(self.size)
        if self.shuffle_seed is not None:
            order = np.random.default_rng([self.shuffle_seed, self.epoch]).permutation(self.size)
        first, self.start = self.start, 0
        for start in range(first * self.batch_size, self.size, self.batch_size):
            yield order[start : start + self.batch_size]


def loader(
    dataset: MultimodalDataset,
    batch_size: int,
    shuffle_seed: int | None = None,
    workers: int = 0,
    device: torch.device | None = None,
) -> DataLoader[Batch]:
    """Return a loader of batches: each is gathered at once, without Python code per sample.

    Args:
        dataset: The samples.
        batch_size: Samples per batch.
        shuffle_seed: Random seed of the order; the samples' own order if None.
        workers: Worker processes; 0 loads in this process.
        device: Where the batches are used: for a GPU they are put into page-locked memory.

    Example:
        >>> cells = {"sound": np.ones((3, 2), np.float32)}
        >>> dataset = MultimodalDataset(cells, {"sound": np.arange(3)}, labels=np.array([0, 1, 1]))
        >>> [batch.labels.tolist() for batch in loader(dataset, batch_size=2)]
        [[0, 1], [1]]
    """
    return DataLoader(
        dataset,
        sampler=BatchSampler(len(dataset), batch_size, shuffle_seed),
        batch_size=None,
        num_workers=workers,
        pin_memory=device is not None and device.type == "cuda",
        persistent_workers=workers > 0,
    )
