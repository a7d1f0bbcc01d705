"""What a method remembers of every training sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SampleMemory(nn.Module):
    """Values [N, k] of the samples met so far, by their position in the data set; N grows as needed.

    Args:
        width: Values a sample, k.
        initial: What a sample has that was never recorded.
    """

    def __init__(self, width: int, initial: float = 0.0) -> None:
        super().__init__()
        self.initial = initial
        self._values = torch.empty(0, width)

    def read(self, indices: Tensor) -> Tensor:
        """Return the values [n, k] of samples [n]."""
        self._grow(indices)
        return self._values[indices]

    def record(self, indices: Tensor, values: Tensor) -> None:
        """Remember values [n, k] of samples [n]."""
        self._grow(indices)
        self._values[indices] = values.detach().to(self._values)

    def all(self) -> Tensor:
        """Return the values [N, k] of all samples up to the last that was met."""
        return self._values

    def _grow(self, indices: Tensor) -> None:
        missing = int(indices.max()) + 1 - len(self._values) if len(indices) else 0
        self._values = self._values.to(indices.device)
        if missing > 0:
            more = self._values.new_full((missing, self._values.shape[1]), self.initial)
            self._values = torch.cat([self._values, more])

    def get_extra_state(self) -> Tensor:
        """Return what is saved; not a buffer, whose size would have to be known beforehand."""
        return self._values

    def set_extra_state(self, state: Tensor) -> None:
        """Take what was saved."""
        self._values = state.clone()


class Collected(nn.Module):
    """Features [N, d] in float32 and labels [N] of batches; saved, as an epoch may be resumed within."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[Tensor, Tensor]] = []

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Take a batch's features [n, d] and labels [n]."""
        self.parts.append((features.float(), labels))

    def all(self) -> tuple[Tensor, Tensor]:
        """Return the features [N, d] and labels [N] of all batches."""
        device = self.parts[-1][0].device  # what was saved comes back on the CPU
        features, labels = (torch.cat([t.to(device) for t in part]) for part in zip(*self.parts, strict=True))
        return features, labels

    def get_extra_state(self) -> Tensor:
        """Return what is saved, as one tensor [N, d + 1]."""
        if not self.parts:
            return torch.empty(0)
        features, labels = self.all()
        return torch.cat([features, labels.unsqueeze(1).float()], 1)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what was saved."""
        self.parts = [(state[:, :-1], state[:, -1].long())] if len(state) else []
