"""How layers below the command line report: one narrow interface, silent or by ``logging`` unless replaced.

Nothing below ``cli`` prints. A function that has something to say takes a ``Reporter``; the command line
passes one that draws progress bars (``altuna.terminal``), Python callers get ``LoggingReporter``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

logger = logging.getLogger("altuna")


class Advance(Protocol):
    """Report that a step has ended."""

    def __call__(self, name: str = "", /) -> None: ...


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
    def steps(self, what: str, total: int) -> Iterator[Advance]:
        """Report ``total`` steps of some work; yield a function to call after each, with its name or none."""
        yield lambda name="": None

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Report work that has no steps while it is done."""
        yield

    def training(self) -> AbstractContextManager[TrainingReporter]:
        """Report a training; yield what its batches and epochs are reported to."""
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


class _StandardError(logging.Handler):
    """Write to what ``sys.stderr`` is at the time: notebooks and tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


class LoggingReporter(Reporter):
    """Report by ``logging``, to the logger ``altuna``: a line for each remark, task and epoch.

    Unless that logger has a handler already, its lines go to standard error, whatever the root logger does.
    """

    def __init__(self) -> None:
        if not logger.handlers:
            handler = _StandardError()
            handler.setFormatter(logging.Formatter("%(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False

    def __reduce__(self) -> tuple[type[LoggingReporter], tuple[()]]:
        """Be made anew in another process, whose logger has handlers of its own."""
        return LoggingReporter, ()

    def note(self, text: str) -> None:
        """Log one line."""
        logger.info(text)

    @contextmanager
    def cells(self, what: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Log a line before the cells are read, and one if there were problems."""
        logger.info("%s: %s cells", what, f"{total:,}")
        found = 0

        def advance(done: int, problems: int) -> None:
            nonlocal found
            found += problems

        yield advance
        if found:
            logger.info("%s: %s problems", what, f"{found:,}")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Log a line when the work begins."""
        logger.info("%s", what)
        yield

    @contextmanager
    def steps(self, what: str, total: int) -> Iterator[Advance]:
        """Log a line for each step that has a name."""
        done = 0

        def advance(name: str = "", /) -> None:
            nonlocal done
            done += 1
            if name:
                logger.info("%s %d/%d: %s", what, done, total, name)

        yield advance

    def training(self) -> AbstractContextManager[TrainingReporter]:
        """Log a line for each epoch."""
        return _LoggedTraining()


class _LoggedTraining(TrainingReporter):
    epochs = 0

    def epoch_starts(self, epoch: int, epochs: int, batch: int, batches: int) -> None:
        self.epochs = epochs

    def epoch_ends(self, epoch: int, metrics: Mapping[str, float]) -> None:
        logger.info("epoch %d/%d: %s", epoch + 1, self.epochs, accuracies(metrics))


def accuracies(metrics: Mapping[str, float]) -> str:
    """Return an epoch's validation accuracies as text, of modalities and fused.

    Example:
        >>> accuracies({"val/accuracy/image": 0.5, "val/accuracy/fused": 0.75, "lr": 0.1})
        'validation accuracy image 50.0%, fused 75.0%'
    """
    start = "val/accuracy/"
    shown = [f"{k.removeprefix(start)} {v:.1%}" for k, v in metrics.items() if k.startswith(start)]
    return "validation accuracy " + ", ".join(shown)
