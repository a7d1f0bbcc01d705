"""State of a method for every training sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SampleMemory(nn.Module):
    """Store values [N, k] of training samples by their index in the data set; N grows as needed.

    Args:
        width: Number of values per sample, k.
        initial: Value of samples that were never recorded.

    Example:
        >>> memory = SampleMemory(1)
        >>> memory.record(torch.tensor([2]), torch.tensor([[0.5]]))
        >>> memory.read(torch.tensor([0, 2]))
        tensor([[0.0000],
                [0.5000]])
    """

    def __init__(self, width: int, initial: float = 0.0) -> None:
        super().__init__()
        self.initial = initial
        self._values = torch.empty(0, width)

    def read(self, indices: Tensor) -> Tensor:
        """Return the values [n, k] of samples with indices [n]."""
        self._grow(indices)
        return self._values[indices]

    def record(self, indices: Tensor, values: Tensor) -> None:
        """Store values [n, k] of samples with indices [n]."""
        self._grow(indices)
        self._values[indices] = values.detach().to(self._values)

    def all(self) -> Tensor:
        """Return the values [N, k] of all samples, up to the largest index so far."""
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
    """Collect the features [N, d] (float32) and labels [N] of batches.

    They are part of the state, because a training can be resumed within an epoch.

    Example:
        >>> collected = Collected()
        >>> collected.add(torch.zeros(2, 3), torch.tensor([0, 1]))
        >>> collected.all()[0].shape
        torch.Size([2, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[Tensor, Tensor]] = []

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add the features [n, d] and labels [n] of a batch."""
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
