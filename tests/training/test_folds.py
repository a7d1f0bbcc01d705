"""The option ``folds``: a model for each fold, calibrated out of fold, and one run directory."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import altuna
from altuna.core.calibration import calibrate
from altuna.data.table.splits import cut_folds
from altuna.errors import UserError
from altuna.export.export import export
from altuna.runs.directory import read_log, read_metrics
from altuna.runs.evaluate import evaluate_run
from altuna.training import finish
from altuna.training.loop import Loop

SHORT = {"epochs": 2, "batch_size": 16, "quiet": True, "report": False, "logger": "none"}


def write(path, rows=150, test=True, change=lambda i, row: row):
    """A table of numbers and texts, some of them missing; five rows make a group."""
    rng = np.random.default_rng(0)
    lines = ["id,split,label,group,title,a_0,a_1"]
    for i in range(rows):
        y, split = i % 3, ("train", "train", "val", "test" if test else "val")[i // 15 % 4]
        title = ("red fox", "blue sky", "green tea")[y] if i % 7 else ""
        numbers = rng.normal(y, 1, 2).round(3).tolist() if i % 5 or not title else ["", ""]
        lines.append(",".join(map(str, change(i, [i, split, f"c{y}", f"g{i // 5}", title, *numbers]))))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("folds") / "data.csv")


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return altuna.fit(table, folds=3, out=tmp_path_factory.mktemp("run") / "run", **{**SHORT, "report": True})


@pytest.mark.parametrize("seed", range(30))
def test_folds_divide_no_group_and_lose_no_label(seed):
    rng = np.random.default_rng(seed)
    rows, number = np.flatnonzero(rng.random(200) < 0.8), int(rng.integers(2, 6))
    groups, labels = rng.integers(rng.integers(6, 60), size=200), rng.integers(4, size=200)
    parts = cut_folds(rows, labels, groups, number, seed)
    assert len(parts) == number
    held = np.concatenate([fold for _, fold in parts])
    assert len({*held}) == len(held)
    for rest, fold in parts:
        assert not {*groups[rest]} & {*groups[fold]}
        assert {*rest} | {*fold} == {*rows}
        assert {*labels[fold]} <= {*labels[rest]}


def test_folds_of_rows_without_groups_are_equally_large():
    parts = cut_folds(np.arange(120), np.arange(120) % 4, np.arange(120), 5, seed=0)
    assert [np.bincount(np.arange(120)[fold] % 4).tolist() for _, fold in parts] == [[6, 6, 6, 6]] * 5


def test_a_label_of_one_group_is_learnt_by_all_models():
    labels, groups = np.array([0] * 12 + [1] * 4), np.repeat(np.arange(8), 2)
    groups[12:] = 7
    for rest, fold in cut_folds(np.arange(16), labels, groups, 3, seed=0):
        assert {*range(12, 16)} <= {*rest}
        assert len(fold)


def test_every_row_of_train_and_val_validates_one_model(run):
    metrics = read_metrics(run)
    assert metrics["val"]["n"] + metrics["n"] == 150
    assert metrics["training"]["n"] == metrics["val"]["n"]
    assert json.loads((run / "config.json").read_text())["folds"] == 3


def test_the_loaded_run_predicts_what_was_tested(run, table):
    tested = pq.read_table(run / "predictions.parquet")
    again = altuna.load(run).predict(table)
    place = {name: i for i, name in enumerate(again["id"].to_pylist())}
    rows = [place[name] for name in tested["id"].to_pylist()]
    for column in ("p_c0", "weight_title", "confidence_a"):
        got = np.array(again[column].to_pylist(), dtype=float)[rows]
        np.testing.assert_allclose(got, np.array(tested[column].to_pylist(), dtype=float), atol=1e-5)
    assert evaluate_run(run)["fused"]["nll"] == pytest.approx(read_metrics(run)["fused"]["nll"], abs=1e-5)


def test_the_log_is_the_mean_of_the_folds(run):
    logs = [read_log(run / f"fold-{fold}") for fold in (1, 2, 3)]
    mean = read_log(run)
    assert len(mean) == 2
    for epoch, row in enumerate(mean):
        assert row["epoch"] == epoch
        nll = "val/nll/fused"
        assert row[nll] == pytest.approx(np.mean([log[epoch][nll] for log in logs]))
    assert read_metrics(run)["cost"]["updates"] == sum(log[-1]["updates"] for log in logs)
    assert (run / "report.html").exists()


def test_evaluating_what_the_models_learnt_from_is_remarked_on(run):
    for split in ("train", "val"):
        assert any("out-of-fold" in line for line in evaluate_run(run, split=split)["warnings"])
    assert not evaluate_run(run, split="test")["warnings"]


def test_a_resumed_training_ends_with_the_same_model(run, table, tmp_path, monkeypatch):
    epochs, validate = [], Loop.validate

    def interrupted(self, *given):
        epochs.append(self)
        if len(epochs) == 3:  # the first epoch of the second model
            raise KeyboardInterrupt
        return validate(self, *given)

    monkeypatch.setattr(Loop, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        altuna.fit(table, folds=3, out=tmp_path / "run", **SHORT)
    altuna.fit(table, folds=3, out=tmp_path / "run", resume=True, **SHORT)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_calibration_sees_each_row_by_the_model_that_did_not_learn_from_it(table, tmp_path, monkeypatch):
    given = {}

    def capture(model, outputs, labels, held_out, groups):
        given.update(model=model, outputs=outputs, labels=labels, parts=held_out.parts, groups=groups)
        calibrate(model, outputs, labels, held_out, groups)

    monkeypatch.setattr(finish, "calibrate", capture)
    run = altuna.fit(table, folds=3, out=tmp_path / "run", **{**SHORT, "epochs": 4, "lr": 0.05})
    single, start = altuna.load(run).description, 0
    for fold, (model, features) in enumerate(given["parts"], 1):
        best = torch.load(run / f"fold-{fold}" / "checkpoints" / "best.ckpt", weights_only=True)["weights"]
        own = {f"model.{name}": value for name, value in model.state_dict().items()}
        shared = [name for name in best if name in own and "temperature" not in name]
        assert len(shared) > 5
        assert all(torch.equal(best[name], own[name]) for name in shared)
        end = start + len(features.labels)
        with torch.no_grad():
            alone = model.outputs_of(features.of, features.rows, len(features.labels))
        torch.testing.assert_close(given["outputs"].logits[:, start:end], alone.logits)
        assert torch.equal(given["labels"][start:end], features.labels)
        start = end
    assert start == read_metrics(run)["val"]["n"] == len(given["groups"])
    assert len({*given["groups"].tolist()}) == start / 5
    models = [model for model, _ in given["parts"]]
    torch.testing.assert_close(given["model"].prior, torch.stack([m.prior for m in models]).mean(0))
    assert not torch.equal(models[0].prior, models[1].prior)
    for i in range(len(models[0].modalities)):
        fronts = [dict(m.encoders[i].front_end.named_buffers()) for m in models]
        assert all(torch.equal(fronts[0][name], front[name]) for front in fronts for name in front)
    weights = [next(m.head.parameters()) for m in models]
    assert not torch.equal(weights[0], weights[1])
    assert single.folds == 3


def test_a_mistake_in_a_later_fold_loses_nothing(table, tmp_path, monkeypatch):
    run, trained, whole = tmp_path / "run", [], Loop.run

    def fail(self, *given, **options):
        trained.append(self)
        if len(trained) == 2:
            raise UserError("diverged")
        whole(self, *given, **options)

    monkeypatch.setattr(Loop, "run", fail)
    with pytest.raises(UserError, match="diverged"):
        altuna.fit(table, folds=3, out=run, **SHORT)
    assert (run / "fold-1" / "checkpoints" / "best.ckpt").exists()
    altuna.fit(table, folds=3, out=run, resume=True, **SHORT)
    assert (run / "metrics.json").exists()


def test_a_finished_run_does_not_train_a_fold_again(run, table, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "fold-2" / "checkpoints")
    with pytest.raises(UserError, match=r"fold-2/checkpoints/last\.ckpt: no such file"):
        altuna.fit(table, folds=3, out=copy, resume=True, **{**SHORT, "report": True})


def test_a_fold_may_lack_a_modality_that_a_joint_head_needs(tmp_path):
    def change(i, row):
        return row if i // 5 in (0, 1, 9, 10) else [*row[:4], "", *(x or 0 for x in row[5:])]

    data = write(tmp_path / "data.csv", change=change)
    run = altuna.fit(data, method="concat", folds=3, out=tmp_path / "run", **SHORT)
    assert (run / "metrics.json").exists()


def test_folds_need_a_test_row_that_can_be_read(tmp_path):
    lines = ["split,label,photo"]
    for i in range(40):
        split = ("train", "val", "test", "train")[i // 2 % 4]
        if split != "test":
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
        lines.append(f"{split},{'ab'[i % 2]},{i}.png")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="no test row can be read"):
        altuna.fit(tmp_path / "data.csv", folds=2, out=tmp_path / "run", **SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["safetensors", "torch-export", "onnx"])
def test_exports(run, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    _, checked = export(run, format, out=tmp_path / "out")
    assert checked["largest_difference"] < 1e-4


MISTAKES = {
    "more folds than groups": ({"folds": 40}, {}, "cannot be cut into 40 folds: there are only 24 groups"),
    "no test": ({"folds": 2}, {"test": False}, "no row is in test"),
    "a modality of one group": (
        {"folds": 2},
        {"change": lambda i, row: row if i // 5 == 2 else [*row[:4], "", *(x or 0 for x in row[5:])]},
        "a fold has all rows with a 'title': take fewer folds",
    ),
    "one fold": ({"folds": 1}, {}, "folds must be at least 2, got 1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, tmp_path):
    options, table, words = MISTAKES[case]
    data = write(tmp_path / "data.csv", **table)
    with pytest.raises(UserError, match=re.escape(words)) as error:
        altuna.fit(data, out=tmp_path / "run", **options, **SHORT)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_stream_has_no_folds(table, tmp_path):
    with pytest.raises(UserError, match="folds: the rows of a stream cannot be cut into folds"):
        altuna.fit(table, stream="*.parquet", folds=2, out=tmp_path / "run", **SHORT)
