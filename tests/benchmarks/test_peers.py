"""The comparison with other learners: its parts, and a run of it on a tiny table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
NOTES = ("a small owl hoots", "an owl of some size")


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def table(tmp_path):
    """Four groups of each of two classes in train; ``x`` and ``note`` tell the classes apart."""
    rng = np.random.default_rng(0)
    lines = ["id,split,label,group,x.0,x.1,noise.0,note"]
    for i, (split, groups) in enumerate([("train", 8), ("val", 4), ("test", 4)] * 15):
        for group in range(groups):
            label = group % 2
            values = ",".join(f"{v:.3f}" for v in (*rng.normal(2 * label, 0.3, 2), rng.normal()))
            lines.append(f"{i}-{group},{split},{'ab'[label]},{split}{group},{values},{NOTES[label]}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_folds_follow_the_class_with_the_fewest_groups_and_divide_none(benchmarks):
    from peer_data import fold_numbers

    labels, groups = np.repeat([0, 1], [12, 16]), np.repeat(np.arange(7), 4)
    folds = fold_numbers(np.arange(28), labels, groups, seed=0)
    assert {*folds} == {0, 1, 2}
    assert all(len({*folds[groups == group]}) == 1 for group in range(7))
    assert all({*folds[labels == label]} == {0, 1, 2} for label in (0, 1))


def test_one_group_is_cut_into_consecutive_stretches_of_each_class(benchmarks):
    from peer_data import fold_numbers

    labels = np.repeat([0, 1], [10, 20])
    folds = fold_numbers(np.arange(30), labels, np.zeros(30, np.int64), seed=0)
    assert np.bincount(folds).tolist() == [6] * 5
    assert all((np.diff(folds[labels == label]) != 0).sum() == 4 for label in (0, 1))


def test_a_temperature_makes_a_sum_of_opinions_their_average(benchmarks):
    from peer_process import best_temperature, nll, normalised

    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=400)
    opinions = normalised(np.eye(3)[labels] + rng.normal(size=(4, 400, 3)))
    losses = []
    for fused in (opinions.sum(0), opinions.mean(0)):
        losses.append(nll(normalised(fused / best_temperature(fused, labels)), labels))
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0] < nll(normalised(opinions.mean(0)), labels)


def test_oriented_gradients_see_the_direction_of_an_edge(benchmarks):
    from peer_data import ANGLES, SIZE, gradients

    upright = np.zeros((SIZE, SIZE))
    upright[:, SIZE // 2 :] = 1
    for picture, angle in ((upright, 0), (upright.T, ANGLES // 2)):
        strengths = gradients(picture).reshape(-1, ANGLES).sum(0)
        assert strengths.argmax() == angle


@pytest.mark.slow
def test_a_run_measures_the_learners_and_repeats_nothing(tmp_path, table):
    out = tmp_path / "peers.json"
    learners = ("logistic regression", "svm", "gradient boosting")
    command = [sys.executable, FOLDER / "peers.py", "--data", table, "--seeds", "1", "--results", out]
    command += ["--altuna", "default", "--learners", *learners]
    subprocess.run(command, check=True, timeout=600)
    first = out.read_text()
    (results,) = json.loads(first)["results"].values()
    forms = ("late", "concatenated", "stacked")
    assert {*results} == {f"{name}, {form}" for name in learners for form in forms} | {"altuna, default"}
    for label, seeds in results.items():
        entry = seeds["0"]
        assert entry["fits"]["train"]["accuracy"] > 0.9, label
        assert entry["peak_mb"] > 0
        if label.endswith("late"):
            assert entry["alone"]["x"]["accuracy"] > entry["alone"]["noise"]["accuracy"]
    again = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert out.read_text() == first
    assert "+0.0 (one seed)" in again.stdout
