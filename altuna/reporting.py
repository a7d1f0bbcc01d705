"""How layers below the command line report: one narrow interface, silent or by ``logging`` unless replaced.

Nothing below ``cli`` prints. A function that has something to say takes a ``Reporter``; the command line
passes one that draws progress bars (``altuna.terminal``), Python callers get ``LoggingReporter``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

logger = logging.getLogger("altuna")


class Reporter:
    """Report nothing; the base of all reporters.

    Example:
        >>> reporter = Reporter()
        >>> reporter.note("not printed")
        >>> with reporter.steps("testing", total=2) as advance:
        ...     advance()
    """

    def note(self, text: str) -> None:
        """Report one line, such as a remark on the data."""

    @contextmanager
    def cells(self, what: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Report the reading of ``total`` cells; yield a function of cells done and problems found since."""
        yield lambda done, problems: None

    @contextmanager
    def steps(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Report ``total`` steps of some work; yield a function to call after each."""
        yield lambda: None

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Report work that has no steps while it is done."""
        yield

    def training(self) -> AbstractContextManager[TrainingReporter]:
        """Report a training; yield what is told of its batches and epochs."""
        return TrainingReporter()


SILENT = Reporter()  # the default where a reporter is optional


class TrainingReporter(AbstractContextManager["TrainingReporter", None]):
    """Report nothing of a training; the base of progress bars and logs."""

    def __exit__(self, *error: object) -> None:
        """End the report, whether the training ended or failed."""

    def epoch_starts(self, epoch: int, epochs: int, batch: int, batches: int) -> None:
        """Report that epoch ``epoch`` (from 0) of ``epochs`` starts at batch ``batch`` of ``batches``."""

    def batch_ends(self) -> None:
        """Report one more batch."""

    def epoch_ends(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report an epoch's metrics, by the names of ``log.csv``."""


class LoggingReporter(Reporter):
    """Report by ``logging``, to the logger ``altuna``: a line for each remark and each epoch."""

    def note(self, text: str) -> None:
        """Log one line."""
        logger.info(text)

    def training(self) -> AbstractContextManager[TrainingReporter]:
        """Log a line for each epoch."""
        return _LoggedTraining()


class _LoggedTraining(TrainingReporter):
    epochs = 0

    def epoch_starts(self, epoch: int, epochs: int, batch: int, batches: int) -> None:
        self.epochs = epochs

    def epoch_ends(self, epoch: int, metrics: Mapping[str, float]) -> None:
        start = "val/accuracy/"
        shown = [f"{k.removeprefix(start)} {v:.1%}" for k, v in metrics.items() if k.startswith(start)]
        logger.info("epoch %d/%d: validation accuracy %s", epoch + 1, self.epochs, ", ".join(shown))
