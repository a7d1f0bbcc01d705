"""The command line without the seconds in which Python and torch start.

``run`` calls it in this process. ``Process`` gives it one of its own, to be killed or interrupted: forked
from a server that has imported what trains. The start itself is tested with ``python -m altuna``.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from altuna.cli.main import main

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["altuna.cli.main", "altuna.training.fit"])
STREAMS = {1: "stdout", 2: "stderr"}


class Result(NamedTuple):
    """What a command ended with and printed."""

    code: int
    out: str
    err: str


def run(*arguments, cwd=None):
    """Run ``altuna ARGUMENTS`` in this process and return its exit code, stdout and stderr."""
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            if cwd is not None:
                back = os.getcwd()
                os.chdir(cwd)
                stack.callback(os.chdir, back)
            stack.enter_context(_printing_to(Path(folder)))
            stack.enter_context(mock.patch.object(sys, "argv", ["altuna", *map(str, arguments)]))
            code = 0
            try:
                main()
            except SystemExit as stop:
                code = stop.code or 0
        return Result(code, *_printed(Path(folder)))


class Process:
    """``altuna ARGUMENTS`` in a process of its own, used as a ``subprocess.Popen``."""

    def __init__(self, *arguments, cwd=None, group=False):
        self._folder = tempfile.TemporaryDirectory()
        given = [*map(str, arguments)], str(cwd or os.getcwd()), self._folder.name, dict(os.environ), group
        self._process = SERVER.Process(target=_child, args=given)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit code, the negative number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout=None):
        """Wait for the end and return the exit code."""
        self._process.join(timeout)
        assert self.returncode is not None, f"still running after {timeout} s"
        return self.returncode

    def communicate(self, timeout=None):
        """Wait for the end and return stdout and stderr."""
        self.wait(timeout)
        return _printed(Path(self._folder.name))

    def send_signal(self, number):
        """Send a signal to the process alone."""
        os.kill(self.pid, number)


def _child(arguments, cwd, folder, environment, group):
    if group:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    # The server ignores it, as a shell does with what it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _printing_to(Path(folder)), mock.patch.object(sys, "argv", ["altuna", *arguments]):
        main()


@contextmanager
def _printing_to(folder):
    """Lead what is printed, by whatever code, into a file for each stream."""
    with ExitStack() as stack:
        for number, name in STREAMS.items():
            getattr(sys, name).flush()
            before = os.dup(number)
            stack.callback(os.close, before)
            file = stack.enter_context((folder / name).open("w", encoding="utf-8", buffering=1))
            os.dup2(file.fileno(), number)
            stack.callback(os.dup2, before, number)
            stack.enter_context(mock.patch.object(sys, name, file))
        yield


def _printed(folder):
    return tuple((folder / name).read_text(encoding="utf-8") for name in STREAMS.values())
