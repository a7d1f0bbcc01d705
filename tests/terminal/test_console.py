"""What the terminal's reporter shows, with and without a terminal."""

import io
import pickle

import pytest
from rich.console import Console

from altuna.terminal import console
from altuna.terminal.console import TerminalReporter
from altuna.terminal.progress import TrainingBar

METRICS = {"val/accuracy/fused": 0.75, "val/accuracy/image": 0.5, "val/nll/fused": 1.0}


@pytest.fixture(params=[False, True], ids=["no terminal", "terminal"])
def screen(request, monkeypatch):
    """A console that writes to memory, and whether it is a terminal."""
    shown = Console(
        file=io.StringIO(), force_terminal=request.param, width=100, soft_wrap=True, highlight=False
    )
    monkeypatch.setattr(console, "err", shown)
    return shown


def test_remarks_are_printed_as_they_are(screen):
    TerminalReporter().note("[a] remark: 3 of [b]")
    assert screen.file.getvalue() == "[a] remark: 3 of [b]\n"


def test_steps_are_a_bar_in_a_terminal_and_lines_elsewhere(screen):
    with TerminalReporter().steps("comparing [x]", 2) as advance:
        advance("first")
        advance()
    text = screen.file.getvalue()
    assert ("1/2 first" in text) != screen.is_terminal
    assert ("comparing [x]" in text and "2/2" in text) == screen.is_terminal


def test_cells_count_problems(screen):
    with TerminalReporter().cells("reading", 5) as advance:
        advance(2, 1)
        advance(3, 1)
    text = screen.file.getvalue()
    assert ("5/5" in text and "2 problems" in text) == screen.is_terminal


def test_a_training_is_a_bar_or_a_line_per_epoch(screen):
    with TrainingBar(screen) as training:
        training.epoch_starts(0, 2, 0, 3)
        training.batch_ends()
        training.epoch_ends(0, METRICS)
        training.epoch_starts(1, 2, 1, 3)  # resumed within an epoch
        assert (training.bar.tasks[0].completed, training.bar.tasks[0].total) == (4, 6)
    text = screen.file.getvalue()
    assert ("epoch 2/2" in text) == screen.is_terminal
    assert ("epoch 1/2: validation accuracy fused 75.0%, image 50.0%\n" in text) != screen.is_terminal


def test_other_processes_can_be_given_the_reporter():
    assert isinstance(pickle.loads(pickle.dumps(TerminalReporter())), TerminalReporter)
