"""A training that is killed goes on to the same weights, bit for bit."""

import csv
import json
import os
import random
import re
import shutil
import signal
import time

import command
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

import altuna
from altuna.errors import UserError
from altuna.training import checkpoints
from altuna.training import run as training
from altuna.training.loop import Loop

EPOCHS = 5
OPTIONS = ["--epochs", str(EPOCHS), "--batch-size", "16", "--seed", "3", "--quiet"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "samples.csv"
    rng = random.Random(0)
    words = ("red fox", "blue sky", "green tea")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "text", *(f"a_{i}" for i in range(4))])
        for i in range(120):
            y = i % 3
            numbers = [round(rng.gauss(y, 1), 3) for _ in range(4)]
            text = words[y] if rng.random() < 0.8 else "nothing"
            writer.writerow(
                [i, f"class {y}", text if i % 5 else "", *(numbers if i % 7 or not i % 5 else [""] * 4)]
            )
    return path


def fit(manifest, run, *more, method="mla"):
    """Return the arguments of a training."""
    if method == "mla":  # everything that has state: running losses, random order, the projector
        method = "{name: mla, order: weakest, reset: never}"
    options = [*OPTIONS, "--no-report", "--set", f"method={method}"]
    return ["fit", "--data", manifest, "--out", run, *options, *more]


def epochs_done(run):
    try:
        return len((run / "log.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


def without_time(run):
    rows = list(csv.DictReader((run / "log.csv").open()))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["mla", "{name: mla, order: random, project: step}", "{name: concat, impute: mean}"]
)
def test_killed_and_resumed_is_bit_for_bit_the_same(manifest, tmp_path, method):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, out, err = command.run(*fit(manifest, whole, method=method))
    assert code == 0, err
    assert out.strip() == str(whole)

    kills = 0
    delays = random.Random(method)
    for target in (1, 3):
        process = command.Process(*fit(manifest, broken, "--resume", method=method))
        while process.poll() is None and epochs_done(broken) < target:
            time.sleep(0.005)
        time.sleep(delays.random() * 0.05)  # somewhere in the middle of the next epoch
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills, "the training was never killed: the test shows nothing"
    code, _, err = command.run(*fit(manifest, broken, "--resume", method=method))
    assert code == 0, err

    one, two = load_file(whole / "model.safetensors"), load_file(broken / "model.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    one, two = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["weights"] for run in (whole, broken)
    )
    assert all(torch.equal(one[k], two[k]) for k in one), "the last epoch's state differs"
    assert without_time(whole) == without_time(broken)
    first, second = (json.loads((run / "metrics.json").read_text()) for run in (whole, broken))
    for metrics in (first, second):
        del metrics["cost"]["seconds"], metrics["cost"]["peak_memory"]
    assert first == second


STREAMED = {"stream": True, "workers": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"workers": 1},
        STREAMED,
        {"method": {"name": "relearning", "every": 0.3}},
        {"method": "amco", "budget": {"updates": 40}},
        {"joint_expert": "detached"},
        {"joint_expert": "apart"},
    ],
    ids=["loader", "worker", "stream", "collects an epoch", "budget", "detached expert", "expert apart"],
)
def test_an_epoch_goes_on_where_it_was(manifest, tmp_path, monkeypatch, options):
    if options.get("stream"):
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(manifest), tmp_path / "shard.parquet")
        options = options | {"stream": str(tmp_path / "shard.parquet"), "buffer": 40}
    method = {"name": "mla", "order": "weakest", "reset": "never"}
    common = {"epochs": 4, "batch_size": 16, "seed": 3, "quiet": True, "report": False, "method": method}
    common |= options
    whole = altuna.fit(manifest, out=tmp_path / "whole", **common)

    batches = []
    train_on = Loop.train_batch

    def stopped(self, batch):
        batches.append((self.progress.epoch, self.progress.batches))
        if self.progress.batches == 3 and self.progress.epoch < 2 and batches.count(batches[-1]) == 1:
            raise KeyboardInterrupt
        train_on(self, batch)

    monkeypatch.setattr(Loop, "train_batch", stopped)
    common |= {"out": tmp_path / "broken", "checkpoint_every": 2, "resume": True}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            altuna.fit(manifest, **common)
    altuna.fit(manifest, **common)
    assert batches[:6] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 2), (0, 3)]
    assert len(batches) == len({*batches}) + 4
    one, two = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["weights"]
        for run in ("whole", "broken")
    )
    assert not [k for k in one if not torch.equal(one[k], two[k])]
    rows = zip(without_time(whole), without_time(tmp_path / "broken"), strict=True)
    assert not {name for one, two in rows for name in one if one[name] != two[name]}


def test_a_kill_between_the_two_checkpoints_loses_neither(manifest, tmp_path, monkeypatch):
    common = {"epochs": 1, "batch_size": 16, "quiet": True, "report": False}
    whole, run = (tmp_path / name for name in ("whole", "broken"))
    altuna.fit(manifest, out=whole, **common)
    save, epochs = checkpoints.save_checkpoint, []

    def killed(path, content):
        if path.name == "best.ckpt":
            raise KeyboardInterrupt
        save(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            altuna.fit(manifest, out=run, **common)
    monkeypatch.setattr(Loop, "validate", lambda *given: epochs.append(given))
    altuna.fit(manifest, out=run, resume=True, **common)
    assert not epochs  # nothing was left to train
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, run))
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def trained(manifest, tmp_path_factory):
    """A run of one epoch; tests damage copies of it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return altuna.fit(manifest, epochs=1, quiet=True, report=False, out=out)


MISSING = object()


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        ((), [], "damaged, or not a checkpoint"),
        (("progress",), MISSING, "progress is missing"),
        (("progress",), 3, "progress must be"),
        (("progress", "steps"), MISSING, "progress.steps is missing"),
        (("progress", "batches"), "2", "progress.batches must be a whole number"),
        (("progress", "more"), 1, "progress: unknown option 'more'"),
        (("progress", "history"), {}, "progress.history must be a list"),
        (("progress", "history", 0), 1.0, "progress.history.0 must be"),
        (("progress", "history", 0, "val/nll/fused"), MISSING, "progress.history.0.val/nll/fused is missing"),
        (("progress", "history", 0, "seconds"), "x", "progress.history.0.seconds must be a number"),
        (("progress", "history", 0, "epoch"), "x", "progress.history.0.epoch must be a number"),
        (("weights",), MISSING, "weights is missing"),
        (("weights",), [], "weights must be"),
        (("weights",), {}, "weights: do not belong"),
        (("sums",), MISSING, "sums is missing"),
        (("sums",), {"train/loss/a": 1.0}, "sums.train/loss/a must be a list"),
        (("frozen",), MISSING, "frozen is missing"),
        (("data",), 3, "data must be a text"),
        (("optimizer",), MISSING, "optimizer is missing"),
        (("options",), MISSING, "options is missing"),
        (("optimizer", "state"), MISSING, "optimizer.state is missing"),
        (("optimizer", "state"), [], "optimizer.state must be"),
        (("optimizer", "state", 0), 3, "optimizer.state.0 must be"),
        (("optimizer", "state", 0, "exp_avg"), MISSING, "optimizer.state: exp_avg"),
        (("optimizer", "state", 0, "exp_avg"), "x", "optimizer.state: exp_avg"),
        (("optimizer", "state", 999), {}, "cannot be loaded"),
        (("optimizer", "param_groups"), [], "cannot be loaded"),
        (("optimizer", "param_groups", 0, "params"), MISSING, "cannot be loaded"),
        (("optimizer", "param_groups", 0, "betas"), "x", "optimizer.param_groups.0.betas"),
    ],
)
def test_a_checkpoint_that_lacks_a_key_or_has_a_wrong_one_is_one_line(
    keys, value, words, trained, manifest, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    place = content
    for key in keys[:-1]:
        place = place[key]
    if not keys:
        content = value
    elif value is MISSING:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    torch.save(content, last)
    with pytest.raises(UserError, match=re.escape(words)) as error:
        altuna.fit(manifest, epochs=1, quiet=True, report=False, out=run, resume=True)
    assert str(error.value).startswith(f"{last}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_pipe_in_place_of_a_checkpoint_is_one_line(name, trained, manifest, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    pipe = run / "checkpoints" / name
    pipe.unlink()
    os.mkfifo(pipe)
    if name == "best.ckpt":  # else it is the copy of last.ckpt
        last = run / "checkpoints" / "last.ckpt"
        content = torch.load(last, weights_only=True)
        content["progress"]["history"] *= 2
        torch.save(content, last)
    with pytest.raises(UserError, match=rf"{name}: is a pipe or a device, not a file"):
        altuna.fit(manifest, epochs=1, quiet=True, report=False, out=run, resume=True)


@pytest.mark.parametrize("left", ["best.ckpt", "metrics.json"])
def test_a_run_without_its_last_checkpoint_does_not_begin_again(left, trained, manifest, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    for path in (run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt", run / "metrics.json"):
        if path.name != left:
            path.unlink()
    with pytest.raises(UserError, match=r"last\.ckpt: no such file, so the training cannot be resumed"):
        altuna.fit(manifest, epochs=1, quiet=True, report=False, out=run, resume=True)


def test_an_edited_configuration_is_not_resumed(trained, manifest, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.5"))
    result = command.run("fit", "--resume", "--out", run)
    assert result == (2, "", f"altuna: {config}: lr is 0.5, the run was started with 0.001\n")
    config.write_text(config.read_text().replace("lr: 0.5", "lr: 0.001"))
    moved = shutil.copy(manifest, tmp_path / "moved.csv")
    config.write_text(config.read_text().replace(str(manifest), str(moved)))
    assert command.run("fit", "--resume", "--out", run, "--quiet").code == 0


@pytest.fixture
def ctrl_c(monkeypatch):
    """Give a function that presses Ctrl-C when a function has been called a number of times."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(owner, name, times):
        called, function = [], getattr(owner, name)

        def pressing(*given, **options):
            called.append(name)
            if len(called) == times:
                signal.raise_signal(signal.SIGINT)
            return function(*given, **options)

        monkeypatch.setattr(owner, name, pressing)
        return called

    yield press
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("where", ["train_batch", "_outputs"])
def test_ctrl_c_keeps_the_batches_of_the_epoch(where, manifest, tmp_path, ctrl_c, monkeypatch):
    common = {"epochs": 2, "batch_size": 16, "seed": 3, "quiet": True, "report": False}
    common |= {"method": {"name": "mla", "order": "weakest", "reset": "never"}}
    whole, broken = altuna.fit(manifest, out=tmp_path / "whole", **common), tmp_path / "broken"
    batches = ctrl_c(Loop, "train_batch", 0)
    ctrl_c(Loop, where, 2)
    with pytest.raises(KeyboardInterrupt) as stop:
        altuna.fit(manifest, out=broken, **common)
    assert stop.value.args == (broken,)
    altuna.fit(manifest, out=broken, resume=True, **common)
    one, two = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, broken))
    assert len(batches) == one["progress"]["steps"], "a batch was trained twice"
    one, two = one["weights"], two["weights"]
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert without_time(whole) == without_time(broken)


def test_ctrl_c_after_the_last_epoch_says_how_to_continue(manifest, tmp_path, ctrl_c):
    run = tmp_path / "run"
    ctrl_c(training, "finish", 1)
    code, _, err = command.run(*fit(manifest, run))
    assert (code, err.splitlines()[-1]) == (
        130,
        f"altuna: interrupted; continue with: altuna fit --resume --out {run}",
    )
    assert command.run("fit", "--resume", "--out", run, "--quiet").code == 0


def test_a_finished_run_is_resumed_for_nothing(manifest, tmp_path):
    run = tmp_path / "run"
    assert command.run(*fit(manifest, run)).code == 0
    before = (run / "model.safetensors").read_bytes()
    code, _, err = command.run(*fit(manifest, run, "--resume"))
    assert code == 0, err
    assert (run / "model.safetensors").read_bytes() == before
    assert epochs_done(run) == EPOCHS


def test_other_options_are_not_resumed(manifest, tmp_path):
    run = tmp_path / "run"
    assert command.run(*fit(manifest, run)).code == 0
    code, _, err = command.run(*fit(manifest, run, "--resume", "--lr", "0.5"))
    assert code == 2
    assert "lr" in err
    assert len(err.splitlines()) == 1
    code, _, err = command.run(*fit(manifest, run))
    assert code == 2
    assert "--resume" in err


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows[:-1], rows[-1].replace("class 2", "class 1")],
        lambda rows: [*rows[:-1], rows[-1].replace("119", "120")],
        lambda rows: [
            *rows[:-2],
            ",".join([*rows[-2].split(",")[:2], "", *rows[-2].split(",")[3:]]),
            rows[-1],
        ],
    ],
    ids=["a row less", "another label", "another sample", "a cell less"],
)
def test_other_data_are_not_resumed(change, manifest, tmp_path):
    data, options = tmp_path / "samples.csv", {"epochs": 1, "quiet": True, "report": False}
    rows = manifest.read_text().splitlines()
    data.write_text("\n".join(rows))
    altuna.fit(data, out=tmp_path / "run", **options)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    data.write_text("\n".join(change(rows)))
    with pytest.raises(UserError, match=r"last\.ckpt: the data differ from the data at the start"):
        altuna.fit(data, out=tmp_path / "run", resume=True, **options)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_epochs_draw_from_seed_and_epoch_alone():
    from altuna.data.dataset import BatchSampler

    sampler = BatchSampler(10, 4, shuffle_seed=1)
    sampler.set_epoch(2)
    first = np.concatenate([*sampler])
    assert np.array_equal(first, np.concatenate([*sampler]))
    sampler.set_epoch(3)
    assert not np.array_equal(first, np.concatenate([*sampler]))
    assert np.array_equal(np.sort(first), np.arange(10))
