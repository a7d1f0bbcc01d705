"""What the progress bar of a training says."""

import pytest
from rich.progress import Progress

import altuna
from altuna.methods.base import Turn
from altuna.terminal.console import TerminalReporter
from altuna.training.loop import Loop

SAMPLES, BATCHES = 60, 3  # 36 of them to train with, in batches of 16


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "samples.csv"
    splits = ["train", "train", "train", "val", "test"]
    rows = [f"{i},{splits[i // 3 % 5]},c{i % 3},{i % 3},{i % 5}" for i in range(SAMPLES)]
    path.write_text("\n".join(["id,split,label,a_0,b_0", *rows]) + "\n")
    return path


@pytest.fixture
def bars(monkeypatch):
    """The progress bars that were shown."""
    found, start = [], Progress.start

    def spy(self):
        found.append(self)
        start(self)

    monkeypatch.setattr(Progress, "start", spy)
    return found


@pytest.fixture
def said(monkeypatch):
    """How a bar was described, and of how many steps it was."""
    found, update = [], Progress.update

    def spy(self, task, **fields):
        if "description" in fields:
            found.append((fields["description"], fields["total"]))
        update(self, task, **fields)

    monkeypatch.setattr(Progress, "update", spy)
    return found


def fit(manifest, out, method="mla", **options):
    options = {"batch_size": 16, "report": False, **options}
    return altuna.fit(manifest, method=method, out=out, reporter=TerminalReporter(), **options)


@pytest.mark.slow
def test_a_budget_that_half_the_updates_a_batch_spend_late(manifest, tmp_path, said, monkeypatch):
    one = lambda self, batch: [Turn(("ab"[self.clock.batch % 2],))]  # noqa: E731
    monkeypatch.setattr(altuna.methods.get("late_fusion"), "turns", one, raising=False)
    fit(manifest, tmp_path / "run", "late_fusion", epochs=2, budget={"updates": 2 * 2 * BATCHES})
    learnt = [(f"epoch {i}/4", 4 * BATCHES) for i in (2, 3, 4)]
    assert said == [("epoch 1/2", 2 * BATCHES), *learnt]


@pytest.mark.slow
def test_resumed_within_an_epoch(manifest, tmp_path, bars, said, monkeypatch):
    batch, calls = Loop.train_batch, []

    def stop(self, *given):
        calls.append(given)
        batch(self, *given)
        if len(calls) == BATCHES + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "train_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(manifest, tmp_path / "run", epochs=2, checkpoint_every=1)
    said.clear()
    fit(manifest, tmp_path / "run", epochs=2, checkpoint_every=1, resume=True)
    assert said == [("epoch 2/2", 2 * BATCHES)]
    assert bars[-1].tasks[0].completed == 2 * BATCHES
