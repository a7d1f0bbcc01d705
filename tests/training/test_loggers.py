"""Every logger gets the same curves under the same names, and a resumed training goes on in them."""

import csv
import json
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import mlflow_stub
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import altuna
from altuna.errors import UserError
from altuna.runs.directory import LOGGER_IDS
from altuna.training import loggers
from altuna.training.loop import Loop

EPOCHS = 2


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def run(tmp_path_factory, patch):
    """A run of two epochs that was stopped in the second and resumed, with every logger there is."""
    folder = tmp_path_factory.mktemp("loggers")
    patch.chdir(folder)
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("MLFLOW_TRACKING_URI", f"file:{folder / 'mlruns'}")
    patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if find_spec("mlflow") is None:
        mlflow_stub.install(patch)
    names = ["tensorboard", "mlflow"] + ["wandb"] * bool(find_spec("wandb"))
    rng = np.random.default_rng(0)
    rows = [
        [i, f"c{i % 3}", *rng.normal(i % 3, 1, 2).round(3), *rng.normal(i % 3, 1, 2).round(3)]
        for i in range(60)
    ]
    with Path("samples.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "label", "a_0", "a_1", "b_0", "b_1"], *rows])
    options = {"epochs": EPOCHS, "logger": ",".join(names), "out": folder / "run", "quiet": True}
    options["batch_size"] = 16
    with pytest.MonkeyPatch.context() as stop:

        def stopped(self, *given):
            if self.progress.epoch == 1:
                raise OSError("disk full")
            return validate(self, *given)

        validate = Loop.validate
        stop.setattr(Loop, "validate", stopped)
        with pytest.raises(OSError, match="disk full"):
            altuna.fit("samples.csv", **options)
    time.sleep(1)  # wandb names an offline run's folder by the second: the next needs a folder of its own
    ids = json.loads((folder / "run" / LOGGER_IDS).read_text())
    assert {*ids} == {*names} - {"tensorboard"}
    run = altuna.fit("samples.csv", resume=True, **options)
    assert json.loads((run / LOGGER_IDS).read_text()) == ids
    return run


def history(run):
    with (run / "log.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def of_tensorboard(run):
    events = EventAccumulator(str(run)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def of_mlflow(run):
    from mlflow.tracking import MlflowClient

    client, id = MlflowClient("file:mlruns"), json.loads((run / LOGGER_IDS).read_text())["mlflow"]
    there = client.get_run(id)
    assert there.data.params["method/name"] == "mla"
    assert there.info.status == "FINISHED"
    return {name: [m.value for m in client.get_metric_history(id, name)] for name in there.data.metrics}


def of_wandb(run):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    id = json.loads((run / LOGGER_IDS).read_text())["wandb"]
    curves = {}
    files = sorted(run.glob(f"wandb/offline-run-*-{id}/*.wandb"))
    assert len(files) == 2
    for file in files:
        store = DataStore()
        store.open_for_scan(str(file))
        while (data := store.scan_data()) is not None:
            for item in Record.FromString(data).history.item:
                curves.setdefault("/".join(item.nested_key), []).append(json.loads(item.value_json))
    return {name: curve for name, curve in curves.items() if name[0] != "_" and name != "step"}


@pytest.mark.parametrize("curves_of", [of_tensorboard, of_mlflow, of_wandb])
def test_every_logger_has_the_same_curves(curves_of, run):
    curves, log = curves_of(run), history(run)
    for name in log[0]:
        assert curves[name] == pytest.approx([row[name] for row in log], rel=1e-5), name
    assert {name for name in curves if not name.startswith("turn/")} == {*log[0]}
    # Three batches of 36 rows an epoch, and those of the epoch that was broken off again.
    assert len(curves["turn/loss/a"]) == len(curves["turn/loss/b"]) == 3 * (EPOCHS + 1)


def test_the_names_are_those_of_the_documentation(run):
    page = (Path(__file__).parents[2] / "docs" / "loggers.md").read_text(encoding="utf-8")
    for name in {*of_tensorboard(run)} - {"epoch", "seconds", "updates", "flops"}:
        part, figure, which = name.split("/")
        assert which in {"a", "b", "fused"}
        assert f"{part}/{figure}/" in page, name


def test_none_leaves_no_events(tmp_path):
    assert loggers.build(loggers.named("none"), tmp_path, {}, quiet=True) == []
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("wand", "unknown logger 'wand'; did you mean 'wandb'?"),
        ("mlflow,tensorbord", "unknown logger 'tensorbord'; did you mean 'tensorboard'?"),
        ("tensorboard,none", "logger: 'none' cannot be combined with others, got 'tensorboard,none'"),
        ("csv", "logger csv: does not exist, because every run has log.csv; use none instead"),
        ("wandb", "logger wandb: its package is not installed: pip install 'altuna[wandb]'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_read(given, message, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None if package == "wandb" else 1)
    with pytest.raises(UserError) as error:
        altuna.fit("no such data", logger=given)
    assert str(error.value) == message


def test_nothing_begins_at_a_service_for_a_damaged_checkpoint(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "checkpoints" / "last.ckpt").write_bytes(b"")
    monkeypatch.setattr(loggers, "build", lambda *arguments: pytest.fail("it began"))
    with pytest.raises(UserError, match=r"last\.ckpt: is damaged"):
        altuna.fit("samples.csv", epochs=EPOCHS, batch_size=16, out=copy, resume=True, quiet=True)


def test_what_a_service_refuses_is_one_line(tmp_path, monkeypatch):
    def refuse(*given):
        raise ConnectionError("no answer\n  from the server")

    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", refuse)
    with pytest.raises(UserError, match=r"^logger tensorboard: no answer from the server$"):
        loggers.build(["tensorboard"], tmp_path, {}, quiet=True)
