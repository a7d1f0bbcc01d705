"""The mean of figures that arrive one by one."""

from __future__ import annotations

from torch import Tensor

MANY = 1000  # figures kept before they are added up, which waits for the device


class Mean:
    """The mean of any number of scalars, at the memory of ``MANY`` and waiting for the device as rarely.

    They are added in the order in which they came, so it does not matter when that is done.

    Args:
        total: Sum of those that came before.
        count: How many they were.
    """

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self._total, self._count = total, count
        self._waiting: list[Tensor] = []

    def add(self, value: Tensor) -> None:
        """Take one more, a tensor []."""
        self._waiting.append(value)
        if len(self._waiting) == MANY:
            self.state()

    def state(self) -> tuple[float, int]:
        """Return the arguments that make another one like it."""
        for value in self._waiting:
            self._total += float(value)
        self._count += len(self._waiting)
        self._waiting.clear()
        return self._total, self._count

    def value(self) -> float:
        """Return the mean of all, of which there is one at least."""
        total, count = self.state()
        return total / count
