"""How Python callers are told what happens."""

import logging

import pytest

from altuna.reporting import LoggingReporter, logger


@pytest.fixture
def fresh(monkeypatch):
    """The logger as it is before anything was reported, whatever tests before have done to it."""
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(level)


def test_lines_go_to_standard_error(fresh, capsys):
    LoggingReporter().note("first")
    LoggingReporter().note("second")
    assert capsys.readouterr().err == "first\nsecond\n"


def test_a_handler_of_the_caller_is_the_only_one(fresh, capsys):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    LoggingReporter().note("first")
    assert [record.getMessage() for record in records] == ["first"]
    assert capsys.readouterr().err == ""


def test_tasks_have_lines(fresh, capsys):
    reporter = LoggingReporter()
    with reporter.cells("reading image", 1200) as advance:
        advance(1000, 1)
        advance(200, 2)
    with reporter.cells("reading text", 3) as advance:
        advance(3, 0)
    with reporter.waiting("writing the report"):
        pass
    assert capsys.readouterr().err.splitlines() == [
        "reading image: 1,200 cells",
        "reading image: 3 problems",
        "reading text: 3 cells",
        "writing the report",
    ]
