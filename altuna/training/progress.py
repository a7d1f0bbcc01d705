"""How far a training has come, and how far it goes: epochs, or a budget of updates or seconds."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from altuna.core.collectives import all_gather_object


@dataclass
class Progress:
    """How far a training has come: what a checkpoint holds beside weights and the optimizer's state.

    Args:
        history: The metrics of each finished epoch.
        steps: Batches trained in all epochs.
        updates: Encoder updates; a turn that trains k modalities makes k.
        batches: Batches of this epoch that are done.
        trained: Those of them that had rows: a stream may give a batch of which nothing could be read.
        flops: Floating-point operations of this epoch's first batch, in all processes.
        seconds: Seconds of this epoch before it was resumed.
        ended: A budget or a limit ended the training; it is not continued, whatever the limit is now.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    updates: int = 0
    batches: int = 0
    trained: int = 0
    flops: int = 0
    seconds: float = 0.0
    ended: bool = False

    def __post_init__(self) -> None:
        self._started: float | None = None

    @property
    def epoch(self) -> int:
        """The number of this epoch, from 0."""
        return len(self.history)

    @property
    def updates_before(self) -> float:
        """The encoder updates of the epochs before this one."""
        return self.history[-1]["updates"] if self.history else 0.0

    def start_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._started = time.perf_counter() - self.seconds

    def epoch_seconds(self) -> float:
        """Return the seconds of this epoch by the first process's clock; every process has to call this."""
        if self._started is None:
            return self.seconds
        return all_gather_object(time.perf_counter() - self._started)[0]

    def all_seconds(self) -> float:
        """Return the seconds of all epochs."""
        return self.epoch_seconds() + sum(row["seconds"] for row in self.history)

    def end_epoch(self, metrics: dict[str, float], *, ended: bool = False) -> None:
        """Add an epoch's metrics to the history, and stand before the next one; ``ended``: there is none."""
        self.history.append(metrics)
        self.ended = ended
        self._started, self.seconds = None, 0.0
        self.batches, self.trained, self.flops = 0, 0, 0

    def state(self) -> dict[str, Any]:
        """Return the arguments that make another one like it."""
        return asdict(self) | {"seconds": self.epoch_seconds()}


@dataclass(frozen=True)
class Extent:
    """How far a training goes.

    Args:
        epochs: Number of epochs; with a budget those to expect until the first one has ended.
        max_updates: Budget of encoder updates.
        max_seconds: Budget of training seconds.
        modalities: Number of modalities.
        limit: Training seconds after which it ends in any case. As long as the share of them that is spent is
            below that of the epochs or the budget, nothing depends on the limit.
    """

    epochs: int
    max_updates: int | None
    max_seconds: float | None
    modalities: int
    limit: float | None = None

    def is_over(self, progress: Progress) -> bool:
        """Return whether there is nothing left to train when an epoch could start."""
        if self.max_updates is None and self.max_seconds is None and progress.epoch >= self.epochs:
            return True
        return progress.ended or self.is_spent(progress)

    def is_spent(self, progress: Progress) -> bool:
        """Return whether the budget is spent or the limit reached, if there is one."""
        if self.max_updates is not None and progress.updates >= self.max_updates:
            return True
        if self.max_seconds is not None and progress.all_seconds() >= self.max_seconds:
            return True
        return self.limit_is_reached(progress)

    def limit_is_reached(self, progress: Progress) -> bool:
        """Return whether the limit is reached, if there is one."""
        return self.limit is not None and progress.all_seconds() >= self.limit

    def done_of_total(self, progress: Progress, batches: int) -> tuple[float, float]:
        """Return how much is trained of how much: batches, or thousandths of the seconds.

        Args:
            progress: How far the training has come.
            batches: Batches of an epoch.
        """
        if self.max_seconds is not None:
            shares = [(1000 * progress.all_seconds() / self.max_seconds, 1000.0)]
        elif self.max_updates is not None:
            shares = [(progress.updates / self.modalities, max(1.0, self.max_updates / self.modalities))]
        else:
            shares = [(float(progress.steps), max(1.0, self.epochs * batches))]
        if self.limit is not None:
            shares.append((1000 * progress.all_seconds() / self.limit, 1000.0))
        return max(shares, key=lambda share: share[0] / share[1])

    def expected_epochs(self, progress: Progress, batches: int) -> int:
        """Return how many epochs there will be, as far as is known when one starts.

        Example:
            >>> extent = Extent(epochs=25, max_updates=100, max_seconds=None, modalities=2)
            >>> extent.expected_epochs(Progress(), batches=10)
            5
        """
        done, seconds = progress.epoch, sum(row["seconds"] for row in progress.history)

        def until(budget: float, spent: float, first: float) -> int:
            """Return the epochs after which a budget is spent, of which the first one needs ``first``."""
            return done + max(1, math.ceil((budget - spent) / (spent / done if done and spent else first)))

        expected = self.epochs
        if self.max_updates is not None:
            expected = until(self.max_updates, progress.updates_before, self.modalities * batches)
        elif self.max_seconds is not None:
            expected = until(self.max_seconds, seconds, self.max_seconds / self.epochs)
        if self.limit is not None:
            expected = min(expected, until(self.limit, seconds, self.limit / expected))
        return expected
