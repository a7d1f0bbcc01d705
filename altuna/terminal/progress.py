"""The progress bar of a training: its position, and the last epoch's validation accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from altuna.reporting import TrainingReporter, accuracies


class TrainingBar(TrainingReporter):
    """Show one bar over all batches of all epochs; without a terminal, print a line per epoch."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[accuracies]}", markup=False),
            TimeRemainingColumn(),
        )
        self.console = console
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=None, accuracies="")
        self.epochs = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()  # gives a terminal its cursor back

    def epoch_starts(self, epoch: int, epochs: int, batch: int, batches: int) -> None:
        self.epochs = epochs
        self.bar.update(
            self.task,
            description=f"epoch {epoch + 1}/{epochs}",
            total=batches * epochs,
            completed=batches * epoch + batch,
        )

    def batch_ends(self) -> None:
        self.bar.advance(self.task)

    def epoch_ends(self, epoch: int, metrics: Mapping[str, float]) -> None:
        text = accuracies(metrics)
        self.bar.update(self.task, accuracies=text)
        if not self.console.is_terminal:
            self.console.print(f"epoch {epoch + 1}/{self.epochs}: {text}", markup=False)
