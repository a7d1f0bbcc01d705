"""What a person sees in a terminal: remarks and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from altuna.reporting import SILENT, Advance, Reporter
from altuna.terminal.progress import TrainingBar

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False)
PLAIN: dict[str, Any] = {"markup": False, "soft_wrap": True}


class TerminalReporter(Reporter):
    """Report to standard error: remarks as lines, work as progress bars where there is a terminal.

    It has no state, so that processes of a training can be given one.
    """

    def note(self, text: str) -> None:
        err.print(text, markup=False)

    @contextmanager
    def cells(self, what: str, total: int) -> Iterator[Callable[[int, int], None]]:
        with _bar(TextColumn("{task.fields[problems]} problems")) as progress:
            task = progress.add_task(escape(what), total=total, problems=0)
            found = 0

            def advance(done: int, problems: int) -> None:
                nonlocal found
                found += problems
                progress.update(task, advance=done, problems=found)

            yield advance

    @contextmanager
    def steps(self, what: str, total: int) -> Iterator[Advance]:
        with _bar() as progress:
            task = progress.add_task(escape(what), total=total)
            done = 0

            def advance(name: str = "", /) -> None:
                nonlocal done
                done += 1
                progress.advance(task)
                if name and not err.is_terminal:
                    err.print(f"{done}/{total} {name}", markup=False)

            yield advance

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        with err.status(escape(what)):
            yield

    def training(self) -> TrainingBar:
        return TrainingBar(err)


def _bar(*more: TextColumn) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, *more, console=err, transient=True, disable=not err.is_terminal)


def reporter(quiet: bool) -> Reporter:
    """Return what a command reports by."""
    return SILENT if quiet else TerminalReporter()
