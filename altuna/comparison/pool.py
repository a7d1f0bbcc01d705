"""Trainings in parallel processes that survive each other."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import torch
from filelock import FileLock, Timeout
from joblib.parallel import get_active_backend

from altuna.errors import UserError
from altuna.training.fit import fit

RUNNING = "running"  # folder of a file for each run in progress
LOCK = ".lock"  # held by the process that leads the comparison
ERROR = "error.txt"
KILLED = "its process was killed (was there enough memory?)"


@dataclass(frozen=True)
class Run:
    """A training: ``label`` is the method as tables call it, ``options`` are those of ``fit``."""

    data: str
    label: str
    seed: int
    folder: Path
    options: Mapping[str, Any]


@dataclass
class Pool:
    """Carries out runs by joblib's active backend, its own processes unless configured otherwise.

    Args:
        jobs: Runs at once; None: what joblib is configured for, or 1.
        threads: Threads a run; None: cores / jobs.
        out: A folder to note in what is going on; all processes share it.

    ``resumed`` gets the folders of runs whose process was killed once, and that were resumed with success.
    """

    jobs: int | None
    threads: int | None
    out: Path
    resumed: list[Path] = field(default_factory=list)

    @property
    def concurrency(self) -> dict[str, int]:
        """Number of runs at once (``jobs``) and of threads of each (``threads``)."""
        jobs = joblib.effective_n_jobs(self.jobs)
        return {"jobs": jobs, "threads": self.threads or max(1, (os.cpu_count() or 1) // jobs)}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others out of the folder."""
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.out / LOCK, timeout=0):
                yield
                shutil.rmtree(self.out / RUNNING, ignore_errors=True)
        except Timeout:
            raise UserError(f"{self.out}: another comparison is writing to this folder") from None

    def carry_out(self, runs: Sequence[Run], finish: Callable[[Run, str], None]) -> None:
        """Carry out runs; ``finish`` is called with each, and why it failed or an empty text.

        When a process is killed, its pool falls with all that it was about. What was not begun goes on in a
        new pool; what was is then resumed alone, so that a second kill has one cause.
        """
        waiting, suspects = list(runs), []
        while waiting:
            left = self._attempt(waiting, self.jobs, finish)
            begun = [run for run in left if self._note(run).exists()]
            if left and not begun and len(left) == len(waiting):
                raise UserError("the training processes end before they start")
            suspects += begun
            waiting = [run for run in left if run not in begun]
        for run in suspects:
            if self._attempt([run], 1, finish):
                finish(run, KILLED)
            else:
                self.resumed.append(run.folder)

    def _attempt(
        self, runs: Sequence[Run], jobs: int | None, finish: Callable[[Run, str], None]
    ) -> list[Run]:
        """Carry out runs and return those that are left when the pool falls."""
        for run in runs:
            self._note(run).unlink(missing_ok=True)
        threads = self.concurrency["threads"]
        if joblib.effective_n_jobs(jobs) == 1:
            # One after the other, yet in a process of its own, which may be killed.
            settings: dict[str, Any] = {"n_jobs": 2, "pre_dispatch": 1}
        else:
            settings = {"n_jobs": jobs}
        backend, _ = get_active_backend()
        kind = "generator_unordered" if backend.supports_return_generator else "list"
        left = {run.folder: run for run in runs}
        boss = os.getpid()
        parallel = joblib.Parallel(batch_size=1, return_as=kind, **settings)
        tasks = (joblib.delayed(train)(run, self._note(run), threads, boss) for run in runs)
        answers: Iterator[tuple[Path, str]] = iter(())
        while left:
            try:
                answers = answers if len(left) < len(runs) else iter(parallel(tasks))
                folder, reason = next(answers)
            except Exception:  # of the backend, whatever it may be: those of runs are answers
                break
            finish(left.pop(folder), reason)
        return [*left.values()]

    def _note(self, run: Run) -> Path:
        return self.out / RUNNING / run.folder.name


def _stop_if_orphaned(out: Path) -> None:
    """Raise UserError if nobody leads the comparison any more: who does holds its lock."""
    with suppress(Timeout), FileLock(out / LOCK, timeout=0):
        raise UserError("the comparison was killed before this run began")


def train(run: Run, note: Path, threads: int, boss: int) -> tuple[Path, str]:
    """Carry out one run, in a process of the pool; return its folder and why it failed."""
    if os.getpid() != boss and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    note.parent.mkdir(exist_ok=True)
    reason = ""
    # Were the comparison killed, a process of it may still be at this run.
    with FileLock(f"{note}.lock"):
        note.write_text(f"{os.getpid()}\n")
        try:
            _stop_if_orphaned(run.folder.parent)
            options = {**run.options, "threads": threads, "out": run.folder, "resume": True}
            fit(**options, report=False, quiet=True)
            (run.folder / ERROR).unlink(missing_ok=True)
        except UserError as error:
            reason = str(error)
        except KeyboardInterrupt:
            if os.getpid() == boss:
                raise
            reason = "interrupted"
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
            if run.folder.is_dir():
                (run.folder / ERROR).write_text(traceback.format_exc())
        note.unlink()
    torch.set_num_threads(before)
    return run.folder, reason
