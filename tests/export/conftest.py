"""What tests of exports share: the script of an export, run here."""

import logging
import runpy
import sys

import pytest


@pytest.fixture
def example(monkeypatch, capfd):
    """Runs the script of a folder; gives its exit code, and what it printed to stdout and stderr."""

    def run(folder, *arguments):
        monkeypatch.setattr(sys, "argv", ["example.py", *arguments])
        monkeypatch.syspath_prepend(folder)
        sys.modules.pop("readers", None)
        try:
            runpy.run_path(str(folder / "example.py"), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    yield run
    sys.modules.pop("readers", None)
    logging.disable(logging.NOTSET)
