"""What a person sees in a terminal: remarks and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from altuna.reporting import SILENT, Advance, Reporter
from altuna.terminal.progress import TrainingBar

if TYPE_CHECKING:
    from altuna.data.table.manifest import Modality

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


@contextmanager
def counting(what: str, steps: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a progress bar while something is done in steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = not quiet and err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=not shown) as progress:
        task = progress.add_task(escape(what), total=steps)
        yield lambda: progress.advance(task)


@contextmanager
def waiting(what: str, quiet: bool) -> Iterator[None]:
    """Say what is being done while it is."""
    with nullcontext() if quiet else err.status(escape(what)):
        yield


@contextmanager
def comparing(runs: int, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """Show a progress bar over runs with the number of failures; without a terminal, a line a run."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    shown = not quiet and err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=not shown) as progress:
        task = progress.add_task("comparing", total=runs, failed=0)
        done = failed = 0

        def report(run: str, reason: str) -> None:
            """Count a finished run; ``reason`` says why it failed, if it did."""
            nonlocal done, failed
            done, failed = done + 1, failed + bool(reason)
            progress.update(task, advance=1, failed=failed)
            if reason and not quiet:
                err.print(f"{run} failed: {reason}", markup=False)
            elif not quiet and not err.is_terminal:
                err.print(f"{done}/{runs} {run}", markup=False)

        yield report


def inferred(modalities: Mapping[str, Modality]) -> str:
    """Say which modalities there are, with their types, so that a wrong guess is seen."""
    said = []
    for name, modality in modalities.items():
        columns = f" of {len(modality.columns)} columns" if len(modality.columns) > 1 else ""
        said.append(f"{name} ({modality.type}{columns})")
    return "modalities: " + ", ".join(said)
