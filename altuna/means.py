"""The mean of figures that arrive one by one."""

from __future__ import annotations

import math

from torch import Tensor

MANY = 1000  # figures kept before they are added up, which waits for the device


class Mean:
    """The mean of any number of scalars, at the memory of ``MANY`` and waiting for the device as rarely.

    Its value does not depend on the device or on when its state was taken.

    Args:
        total: Sum of those already added up.
        count: How many they are.
        waiting: Those that are not.
    """

    def __init__(self, total: float = 0.0, count: int = 0, waiting: list[float] | None = None) -> None:
        self.total, self.count = total, count
        self._waiting: list[Tensor | float] = [*(waiting or [])]

    def add(self, value: Tensor) -> None:
        """Take one more, a tensor []."""
        self._waiting.append(value)
        if len(self._waiting) == MANY:
            self.total, self.count = math.fsum([self.total, *self._numbers()]), self.count + MANY
            self._waiting.clear()

    def value(self) -> float:
        """Return the mean of all, of which there is one at least."""
        return math.fsum([self.total, *self._numbers()]) / (self.count + len(self._waiting))

    def state(self) -> tuple[float, int, list[float]]:
        """Return the arguments that make another one like it."""
        return self.total, self.count, self._numbers()

    def _numbers(self) -> list[float]:
        return [float(value) for value in self._waiting]
