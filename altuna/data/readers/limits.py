"""Decode cells in processes of their own, within limits of memory and processor time.

A file of a few bytes can take gigabytes or minutes to decode, and a codec can crash. In a process of its own
such a file costs one cell, not the training.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import compress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from altuna.data.readers.base import BadCellError, split_fragment

MEMORY, MEMORY_PER_BYTE = 512 << 20, 8  # bytes for a cell, and for each byte of it
SECONDS, SECONDS_PER_BYTE = 10.0, 1e-6  # of the processor
LOOK = 1.0  # seconds after which a process looks whether its parent still lives


class Overrun(NamedTuple):
    """Why a cell has no result.

    Example:
        >>> import os
        >>> with Worker(lambda cell: os._exit(3)) as worker:
        ...     worker.map([b"owl"])
        [Overrun(reason='refused: the decoder ended its process with code 3')]
    """

    reason: str


class Worker:
    """A process that calls a function on cells, one after the other.

    It starts with the first cell that is a file, and again after it has ended. Cells that are arrays or lists
    of numbers need no decoder: for them, the function is called here. So it is for all cells on other systems
    than Linux, where processes cannot be forked safely.

    Args:
        function: Called with a cell; the result is pickled.

    Example:
        >>> with Worker(len) as worker:
        ...     worker.map([b"owl", [1.0, 2.0]])
        [3, 2]
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map(self, cells: Sequence[Any]) -> list[Any]:
        """Return the result of each cell, or an ``Overrun``."""
        apart = [sys.platform == "linux" and _is_file(cell) for cell in cells]
        decoded = iter(self._within_limits([*compress(cells, apart)]))
        return [
            next(decoded) if one else self._function(cell) for one, cell in zip(apart, cells, strict=True)
        ]

    def _within_limits(self, cells: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        while len(found) < len(cells):
            if self._process is None:
                self._start()
            try:
                self._pipe.send(cells[len(found) :])
                while len(found) < len(cells):
                    found.append(self._pipe.recv())
            except (EOFError, OSError):
                found.append(Overrun(self._why_it_ended(cells[len(found)])))
                self.close()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._function, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()

    def _why_it_ended(self, cell: Any) -> str:
        self._process.join()
        code = self._process.exitcode
        if code == -signal.SIGPROF:
            return f"refused: took over {_seconds(_size(cell)):.3g} s of processor time to decode"
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with code {code}"
        return f"refused: the decoder ended its process {how}"


def within_limits(function: Callable[[Any], Any], cells: Sequence[Any]) -> list[Any]:
    """Return the result of each cell; None for a cell that costs too much.

    Example:
        >>> within_limits(len, [b"owl", b""])
        [3, 0]
    """
    with Worker(function) as worker:
        return [None if isinstance(one, Overrun) else one for one in worker.map(cells)]


def _is_file(cell: Any) -> bool:
    """Return whether a cell is a path, the content of a file, or a list of these."""
    if isinstance(cell, list):
        return bool(cell) and _is_file(cell[0])
    return isinstance(cell, str | Path | bytes)


def _serve(pipe: Connection, function: Callable[[Any], Any], parent: int) -> None:
    """Answer with the result of each cell of each list that arrives."""
    faulthandler.disable()  # a crash is a line of the parent's, not a stack trace
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    with suppress(EOFError, OSError):
        while True:
            while not pipe.poll(LOOK):
                if os.getppid() != parent:
                    return
            for cell in pipe.recv():
                size = _size(cell)
                limit = _mapped() + MEMORY + MEMORY_PER_BYTE * size
                resource.setrlimit(resource.RLIMIT_AS, (min(limit, most) if most > 0 else limit, most))
                signal.setitimer(signal.ITIMER_PROF, _seconds(size))
                result = function(cell)
                signal.setitimer(signal.ITIMER_PROF, 0)
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
                pipe.send(result)


def _seconds(size: int) -> float:
    return SECONDS + SECONDS_PER_BYTE * size


def _size(cell: Any) -> int:
    """Return the size in bytes of the file or files of a cell."""
    if isinstance(cell, list):
        return sum(map(_size, cell))
    if isinstance(cell, bytes):
        return len(cell)
    try:
        return split_fragment(cell).path.stat().st_size
    except (BadCellError, OSError, ValueError):  # the reader tells what is wrong
        return 0


def _mapped() -> int:
    """Return the size of this process's address space in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
