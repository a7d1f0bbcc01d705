"""A batch: per modality, only the rows that have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from altuna.core.collectives import Input


@dataclass(frozen=True)
class Batch:
    """B samples, with the inputs of each modality only for the rows that have it.

    Therefore a missing cell costs no memory, no copy and no computation. A modality that no sample
    of the batch has is not in ``inputs``.

    Args:
        inputs: For each modality name, the inputs [n_m, ...], n_m <= B, that this process encodes.
        rows: For each modality name, the row numbers [n_m] (int64, ascending) of the samples that have it.
        labels: Class numbers [B] (int64); -1 where unknown.
        indices: Positions [B] (int64) of the samples in their data set, for methods with memory.

    Example:
        >>> import torch
        >>> batch = Batch(
        ...     inputs={"audio": torch.randn(3, 20), "image": torch.randn(1, 8)},
        ...     rows={"audio": torch.tensor([0, 1, 2]), "image": torch.tensor([1])},
        ...     labels=torch.tensor([4, 0, 2]),
        ...     indices=torch.arange(3),
        ... )
        >>> len(batch), batch.labels_of("image")
        (3, tensor([0]))
    """

    inputs: Mapping[str, Input]
    rows: dict[str, Tensor]
    labels: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def labels_of(self, modality: str) -> Tensor:
        """Return the labels [n_m] of the rows that have ``modality``."""
        return self.labels[self.rows[modality]]

    def take(self, keep: Tensor) -> Batch:
        """Return the samples of ``keep`` [B] bool; a modality that none of them has is left out."""
        place = keep.cumsum(0) - 1
        kept = {m: keep[rows] for m, rows in self.rows.items() if keep[rows].any()}
        return Batch(
            {m: self.inputs[m][mine] for m, mine in kept.items()},
            {m: place[self.rows[m][mine]] for m, mine in kept.items()},
            self.labels[keep],
            self.indices[keep],
        )

    def drop_cells(self, rate: float) -> Batch:
        """Return the batch without some of its cells, each dropped with probability ``rate``.

        Every sample keeps one of its cells at least. A modality that loses all of them is left out.
        """
        present = presence(self.rows, [*self.inputs], len(self))
        draws = torch.rand(present.shape, device=present.device).masked_fill(~present, -1)
        kept = (draws >= rate) | (draws == draws.amax(0, keepdim=True))
        mine = {m: keep[self.rows[m]] for m, keep in zip(self.inputs, kept, strict=True)}
        return replace(
            self,
            inputs={m: self.inputs[m][keep] for m, keep in mine.items() if keep.any()},
            rows={m: self.rows[m][keep] for m, keep in mine.items() if keep.any()},
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on ``device``."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (the DataLoader calls this)."""
        return self._map(lambda t: t.pin_memory())

    def _map(self, fn: Callable[[Any], Any]) -> Batch:
        return Batch(
            {m: fn(t) for m, t in self.inputs.items()},
            {m: fn(t) for m, t in self.rows.items()},
            fn(self.labels),
            fn(self.indices),
        )


def stable_uniform(indices: Tensor) -> Tensor:
    """Return a number in [0, 1) per sample [B] that depends on its index alone, to hold out the same samples.

    Fibonacci hashing: consecutive samples fall far apart, so that any run of them is spread evenly.

    Example:
        >>> import torch
        >>> stable_uniform(torch.arange(4))
        tensor([0.0000, 0.6180, 0.2361, 0.8541])
    """
    return (indices * 2654435761 % 2**32 // 2**8).float() / 2**24  # exact in float32


def presence(rows: dict[str, Tensor], modalities: Sequence[str], size: int) -> Tensor:
    """Return which modalities each sample has [M, B] bool; none has a modality that is not in ``rows``.

    Args:
        rows: Modality name to the rows [n_m] of the samples that have it.
        modalities: The M names, in order.
        size: Number of samples B.

    Example:
        >>> import torch
        >>> presence({"audio": torch.tensor([0, 2])}, ["audio", "image"], size=3)
        tensor([[ True, False,  True],
                [False, False, False]])
    """
    device = next(iter(rows.values())).device if rows else None
    present = torch.zeros(len(modalities), size, dtype=torch.bool, device=device)
    for i, modality in enumerate(modalities):
        if modality in rows:
            present[i, rows[modality]] = True
    return present
