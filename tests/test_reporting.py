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
