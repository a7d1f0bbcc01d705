"""The progress bar of a training: its position, and the last epoch's validation accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

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


class TrainingProgress(Callback):
    """One bar over all batches of all epochs, with the validation accuracies of the last epoch."""

    bar: Progress | None = None
    task: TaskID

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[accuracies]}", markup=False),
            TimeRemainingColumn(),
        )
        from altuna.terminal import console

        self.bar = Progress(
            *columns, console=console.err, transient=True, disable=not console.err.is_terminal
        )
        done = int(trainer.num_training_batches) * trainer.current_epoch
        gone: int = pl_module.gone  # type: ignore[assignment]
        self.task = self.bar.add_task("", completed=done + gone, accuracies="")
        self.on_train_epoch_start(trainer, pl_module)  # not called when resumed within an epoch
        self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.bar is not None
        epochs: int = pl_module.expected_epochs  # type: ignore[assignment]
        self.bar.update(
            self.task,
            description=f"epoch {trainer.current_epoch + 1}/{epochs}",
            total=int(trainer.num_training_batches) * epochs,
        )

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        assert self.bar is not None
        self.bar.advance(self.task)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.bar is not None
        start = "val/accuracy/"
        row: dict[str, float] = pl_module.history[-1]  # type: ignore[assignment, index]
        shown = [f"{k.removeprefix(start)} {v:.0%}" for k, v in row.items() if k.startswith(start)]
        self.bar.update(self.task, accuracies=" ".join(["val:", *shown[1:], *shown[:1]]))

    def on_exception(self, *args: Any) -> None:
        if self.bar is not None:
            self.bar.stop()  # gives a terminal its cursor back

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
