"""Budgets of encoder updates and of seconds, and what a training cost."""

import csv
import json
import random

import pytest
import torch
from safetensors.torch import load_file

import altuna
from altuna.errors import UserError
from altuna.methods.base import Turn
from altuna.training.loop import Loop

SAMPLES, BATCH, EPOCHS = 90, 16, 3


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """54 train samples with two modalities: 4 batches of 16."""
    path = tmp_path_factory.mktemp("data") / "samples.csv"
    rng = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "a_0", "a_1", "b_0", "b_1"])
        for i in range(SAMPLES):
            split = ["train", "train", "train", "val", "test"][i // 3 % 5]
            writer.writerow([i, split, f"c{i % 3}", *(round(rng.gauss(i % 3, 1), 3) for _ in range(4))])
    return path


STANDARD = EPOCHS * 4 * 2


def fit(manifest, out, method="mla", **options):
    options = {"epochs": EPOCHS, "batch_size": BATCH, "quiet": True, **options}
    run = altuna.fit(manifest, method=method, out=out, **options)
    return json.loads((run / "metrics.json").read_text())["cost"]


def weights(run):
    return load_file(run / "model.safetensors")


def same(one, two):
    return all(torch.equal(v, two[k]) for k, v in one.items())


def test_a_standard_training_is_the_same_by_epochs_and_by_updates(manifest, tmp_path):
    cost = fit(manifest, tmp_path / "epochs")
    assert cost["updates"] == STANDARD
    assert fit(manifest, tmp_path / "updates", budget={"updates": STANDARD})["epochs"] == EPOCHS
    assert same(weights(tmp_path / "epochs"), weights(tmp_path / "updates"))


def test_a_method_with_fewer_updates_a_batch_trains_longer(manifest, tmp_path):
    cost = fit(manifest, tmp_path / "run", "unimodal", budget={"updates": STANDARD})
    assert cost["updates"] == STANDARD
    assert cost["epochs"] == 2 * EPOCHS


def test_the_training_ends_inside_an_epoch(manifest, tmp_path):
    cost = fit(manifest, tmp_path / "run", "concat", budget={"updates": STANDARD - 3})
    assert (cost["updates"], cost["epochs"]) == (STANDARD - 2, EPOCHS)
    rows = [*csv.DictReader((tmp_path / "run" / "log.csv").open())]
    assert [row["updates"] for row in rows] == ["8", "16", "22"]
    assert all(row["val/accuracy/fused"] for row in rows)
    assert fit(manifest, tmp_path / "short", budget={"updates": 3})["updates"] == 4


def test_the_learning_rate_follows_the_share_of_the_budget(manifest, tmp_path, monkeypatch):
    rates, train = [], Loop.train_batch

    def spy(self, batch):
        train(self, batch)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Loop, "train_batch", spy)
    fit(manifest, tmp_path / "standard")
    standard = rates.copy()
    rates.clear()
    fit(manifest, tmp_path / "twice", "unimodal", budget={"updates": STANDARD})
    assert len(rates) == 2 * len(standard)
    assert rates[::2] == pytest.approx(standard, abs=1e-4)
    assert rates[-1] < 0.1 * rates[0]


@pytest.mark.parametrize("stop", [2, EPOCHS])
def test_it_resumes_to_the_same_weights(stop, manifest, tmp_path, monkeypatch):
    budget = {"updates": STANDARD - 2}
    cost = fit(manifest, tmp_path / "whole", budget=budget)
    with monkeypatch.context() as patch:
        if stop < EPOCHS:  # in the middle of an epoch
            train = Loop.train_batch

            def fail(self, batch):
                if (self.progress.epoch, self.progress.batches) == (stop, 1):
                    raise RuntimeError("power cut")
                train(self, batch)

            patch.setattr(Loop, "train_batch", fail)
        else:  # after the last
            patch.setattr("altuna.training.run.finish", lambda *_: 1 / 0)
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            fit(manifest, tmp_path / "broken", budget=budget)
    again = fit(manifest, tmp_path / "broken", budget=budget, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert (again["updates"], again["epochs"]) == (cost["updates"], cost["epochs"])


def test_seconds(manifest, tmp_path):
    cost = fit(manifest, tmp_path / "run", budget={"seconds": 0.5})
    assert 0.5 <= cost["seconds"] < 2


def test_methods_hear_how_many_epochs_to_expect(manifest, tmp_path, monkeypatch):
    heard, start = [], Loop._begin_epoch

    def spy(self, *given):
        start(self, *given)
        heard.append(self.method.clock.epochs)

    monkeypatch.setattr(Loop, "_begin_epoch", spy)
    fit(manifest, tmp_path / "mla", budget={"updates": STANDARD})
    assert heard == [EPOCHS] * EPOCHS
    heard.clear()
    one = lambda self, batch: [Turn(("ab"[self.clock.batch % 2],))]  # noqa: E731
    monkeypatch.setattr(altuna.methods.get("late_fusion"), "turns", one, raising=False)
    fit(manifest, tmp_path / "slow", "late_fusion", budget={"updates": STANDARD})
    assert heard == [EPOCHS] + [2 * EPOCHS] * (2 * EPOCHS - 1)  # learnt in the first


def test_a_method_without_updates_cannot_go_on_for_ever(manifest, tmp_path, monkeypatch):
    head = lambda self, batch: [Turn(())]  # noqa: E731
    loss = lambda self, turn, batch: sum(p.sum() for p in self.model.head.parameters())  # noqa: E731
    monkeypatch.setattr(altuna.methods.get("late_fusion"), "turns", head, raising=False)
    monkeypatch.setattr(altuna.methods.get("late_fusion"), "loss", loss, raising=False)
    with pytest.raises(UserError, match="makes no updates"):
        fit(manifest, tmp_path / "run", "late_fusion", budget={"updates": STANDARD})


def test_what_the_training_cost(manifest, tmp_path):
    """A linear layer d to e costs 2nde forward, as much for its weights' gradient, and for its input's."""
    cost = fit(manifest, tmp_path / "run", "late_fusion", epochs=1)
    state = weights(tmp_path / "run")
    layers = {k: v.shape for k, v in state.items() if v.ndim == 2 and k.endswith("weight")}
    first = {next(k for k in layers if k.startswith(f"encoders.{i}.")) for i in range(2)}
    expected = sum(2 * BATCH * a * b * (2 if k in first else 3) for k, (a, b) in layers.items())
    assert cost["flops_per_batch"] == expected
    assert cost["parameters"] > 0
    assert 2**20 < cost["peak_memory"] < 2**36


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"update": 3}, "budget: unknown option 'update'; did you mean 'updates'"),
        ({"updates": 0}, "budget.updates must be above 0, got 0"),
        ({"updates": 1.5}, "whole number"),
        ({"seconds": -1.0}, "budget.seconds must be above 0, got -1.0"),
        ({"seconds": "5"}, "must be a number"),
        ({}, "give one of"),
        ({"updates": 3, "seconds": 3}, "give one of updates, seconds"),
    ],
)
def test_a_budget_with_a_mistake(budget, words, manifest, tmp_path):
    with pytest.raises(UserError, match=words):
        fit(manifest, tmp_path / "run", budget=budget)
    assert not (tmp_path / "run").exists()
