"""Malformed files of a run directory: each is one line that names the file and the key."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import command
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import altuna
from altuna.errors import UserError
from altuna.export.export import export
from altuna.hardware import peak_memory, reset_peak_memory
from altuna.report import write_report
from altuna.runs.directory import read_logger_ids
from altuna.runs.evaluate import evaluate_run

MISSING = object()
NAN, INFINITE = float("nan"), float("inf")
HUGE = 10**9


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of numbers and texts, trained for an epoch."""
    folder = tmp_path_factory.mktemp("schema")
    random = np.random.default_rng(0)
    lines = ["id,split,label,a_0,a_1,b,text"]
    for i in range(90):
        split = "train" if i < 60 else "val" if i < 75 else "test"
        numbers = ",".join(f"{x:.3f}" for x in random.normal(size=3) + i % 3)
        lines.append(f"s{i},{split},c{i % 3},{numbers},word{i % 3} and word{i % 7}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    modalities = {"a": {"columns": ["a_0", "a_1"]}, "b": {"type": "vector"}, "text": {"type": "text"}}
    return altuna.fit(
        folder / "data.csv",
        modalities=modalities,
        encoders={"a": {"hidden": 8, "out_features": 8}, "b": {"hidden": 8, "out_features": 8}},
        epochs=1,
        out=folder / "run",
        store=folder / "store",
        logger="none",
        accelerator="cpu",
        report=False,
        quiet=True,
    )


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


def refused(function, *words):
    """Check that a function raises one line with these words."""
    with pytest.raises(UserError) as caught:
        function()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 700
    for word in words:
        assert word in line, line


def put(content, key, value):
    """Put a value at a key such as ``modalities.a.type``, or its parts."""
    *before, last = key.split(".") if isinstance(key, str) else key
    for part in before:
        content = content[int(part) if isinstance(content, list) else part]
    if value is MISSING:
        del content[last]
    else:
        content[int(last) if isinstance(content, list) else last] = value


def edit_json(path, key, value):
    content = json.loads(path.read_text())
    put(content, key, value)
    path.write_text(json.dumps(content))


def shown(value):
    return "missing" if value is MISSING else re.sub(r"\W+", "", repr(value))[:20]


def cases(some):
    return [pytest.param(*one, id="-".join([one[0], *map(shown, one[1:])])) for one in some]


# config.json

CONFIG = [
    ("format", "2"),
    ("format", MISSING),
    ("format", 3),
    ("method", MISSING),
    ("method", 3),
    ("method", ""),
    ("classes", MISSING),
    ("classes", []),
    ("classes", "abc"),
    ("classes", {"c0": 1}),
    ("classes.1", 7),
    ("classes.1", "c0"),
    ("head", None),
    ("head", "sharp"),
    ("fusion", 1),
    ("fusion", "guess"),
    ("fixed_weights", []),
    ("fixed_weights", {"a": "1"}),
    ("fixed_weights", {"a": -1}),
    ("fixed_weights", {"a": NAN}),
    ("fixed_weights", {"a": INFINITE}),
    ("fixed_weights", {"z": 1}),
    ("fixed_weights", {"a": 0, "b": 0, "text": 0}),
    ("impute", "median"),
    ("impute", "mean"),  # which this head cannot
    ("modalities", MISSING),
    ("modalities", {}),
    ("modalities", []),
    ("modalities.a", 3),
    ("modalities.a.type", MISSING),
    ("modalities.a.type", 3),
    ("modalities.a.type", "image"),
    ("modalities.a.columns", "a_0"),
    ("modalities.a.columns.0", 0),
    ("modalities.a.reader", MISSING),
    ("modalities.a.reader", "vector"),
    ("modalities.a.reader", {}),
    ("modalities.a.reader.name", "vektor"),
    ("modalities.a.reader.name", ["vector"]),
    ("modalities.a.reader.size", MISSING),
    ("modalities.a.reader.size", "2"),
    ("modalities.a.reader.size", True),
    ("modalities.a.reader.size", 2.5),
    ("modalities.a.reader.size", 0),
    ("modalities.a.reader.size", -2),
    ("modalities.a.reader.size", HUGE),
    ("modalities.a.reader.size", 10**30),
    ("modalities.a.reader.sizes", 2),
    ("modalities.text.reader.vocabulary", "word"),
    ("modalities.text.reader.vocabulary.0", 3),
    ("modalities.text.reader.length", HUGE),
    ("modalities.a.encoder", MISSING),
    ("modalities.a.encoder", [1]),
    ("modalities.a.encoder.name", "mpl"),
    ("modalities.a.encoder.name", 3),
    ("modalities.a.encoder.weights", "weights.pt"),
    ("modalities.a.encoder.hidden", "8"),
    ("modalities.a.encoder.hidden", 0),
    ("modalities.a.encoder.hidden", -8),
    ("modalities.a.encoder.hidden", HUGE),
    ("modalities.a.encoder.dropout", NAN),
    ("modalities.a.encoder.dropout", 2),
    ("modalities.a.encoder.lr", -1),
    ("modalities.a.encoder.transforms", 3),
    ("modalities.a.encoder.transforms", {"vector_noise": {"std": "a"}}),
    ("modalities.a.encoder.front_end", {"name": 3}),
    ("modalities.a.encoder.size", 3),
    ("more", 1),
    ("modalities.a.more", 1),
]


# Told by the encoder's own signature or by the shapes of the weights.
BY_SIGNATURE = ("modalities.a.encoder.name", "modalities.a.encoder.hidden")


@pytest.mark.parametrize(("key", "value"), cases(CONFIG))
def test_config_json(key, value, run):
    edit_json(run / "config.json", key, value)
    before = time.perf_counter()
    *_, name = (part for part in key.split(".") if not part.isdigit())
    refused(lambda: altuna.load(run, "cpu"), "config.json", *(() if key in BY_SIGNATURE else (name,)))
    assert time.perf_counter() - before < 5


@pytest.mark.parametrize(
    ("name", "type", "options"),
    [
        ("mlp", "vector", {"hidden": 1 << 24, "out_features": 1 << 24}),
        ("text_small", "text", {"dimension": 1 << 24}),
        ("vit", "image", {"depth": HUGE >> 8}),
        ("vit", "image", {"dimension": 3 << 22}),
        ("m3ae_base", "image", {"dimension": 1 << 22, "depth": 1 << 23}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_sizes_that_the_weights_do_not_have(name, type, options, run):
    """Widths and depths of a billion are refused before anything of that size is allocated."""
    content = json.loads((run / "config.json").read_text())
    readers = {"image": {"name": "image", "size": 64}, "vector": {"name": "vector", "size": 2}}
    reader = readers.get(type, content["modalities"]["text"]["reader"])
    content["modalities"] = {"a": {"type": type, "reader": reader, "encoder": {"name": name, **options}}}
    (run / "config.json").write_text(json.dumps(content))
    if name == "vit":
        import transformers.models.vit.modeling_vit  # noqa: F401 (not what is timed)
    reset_peak_memory()
    start, before = peak_memory(), time.perf_counter()
    refused(lambda: altuna.load(run, "cpu"), "run/")
    assert time.perf_counter() - before < 5
    assert peak_memory() - start < 300e6


def test_ten_million_classes(run):
    """More classes than there are weights for."""
    edit_json(run / "config.json", "classes", [f"c{i}" for i in range(100_000)])
    refused(lambda: altuna.load(run, "cpu"), "model.safetensors", "head.linear.weight", "100000")


# Files that are no files, or not of their kind


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def large(path):
    with path.open("r+b") as file:
        file.truncate(200 << 20)  # sparse


SPOILT = {
    "fifo": fifo,
    "folder": folder,
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": truncated,
    "binary": lambda path: path.write_bytes(os.urandom(1000)),
}
SPOILT_TEXT = {
    "utf-16": lambda path: path.write_text(path.read_text(), encoding="utf-16"),
    "deep lists": lambda path: path.write_text("[" * 100_000),
    "deep mappings": lambda path: path.write_text('{"a":' * 50_000 + "1" + "}" * 50_000),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a number": lambda path: path.write_text("9" * 10_000),
    "null": lambda path: path.write_text("null"),
    "large": large,
}
READ_BY = {
    "config.json": lambda run: altuna.load(run, "cpu"),
    "model.safetensors": lambda run: altuna.load(run, "cpu"),
    "metrics.json": lambda run: write_report([run]),
    "config.yaml": lambda run: evaluate_run(run),
    "log.csv": lambda run: write_report([run]),
    "predictions.parquet": lambda run: write_report([run]),
}
UNREADABLE = [(name, how) for name in READ_BY for how in SPOILT] + [
    (name, how) for name in ("config.json", "metrics.json", "config.yaml") for how in SPOILT_TEXT
]
# Half of a log or of YAML may be whole.
UNREADABLE = [
    one for one in UNREADABLE if one not in {("log.csv", "truncated"), ("config.yaml", "truncated")}
]


@pytest.mark.parametrize(("name", "how"), UNREADABLE, ids=lambda value: value.replace(" ", "-"))
def test_what_is_no_file_of_its_kind(name, how, run):
    (SPOILT | SPOILT_TEXT)[how](run / name)
    refused(lambda: READ_BY[name](run), name)


@pytest.mark.parametrize("how", SPOILT.values(), ids=SPOILT)
def test_a_report_can_do_without_features(how, run):
    how(run / "features.safetensors")
    assert "No map" in write_report([run]).read_text()


@pytest.mark.parametrize("name", READ_BY)
def test_a_file_that_is_missing(name, run):
    (run / name).unlink()
    refused(lambda: READ_BY[name](run), name)


# metrics.json


def leaves(content, key=()):
    """Yield the keys of all values, and of one value in each list, in parts."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield (*key, name)
            yield from leaves(value, (*key, name))
    elif isinstance(content, list):
        for i, value in enumerate(content[:1]):
            yield from leaves(value, (*key, i))


def test_every_key_of_the_metrics_has_a_type(run):
    """A value of another type is refused wherever it stands, and so is a key that is missing."""
    text = (run / "metrics.json").read_text()
    lists = ("training", "remarks"), ("training", "shared_temperature")
    keys = [key for key in leaves(json.loads(text)) if not str(key[-1]).startswith("calibrated_")]
    assert len(keys) > 150
    for key in keys:
        for wrong in ({"x": ["y"]}, *[["x"]] * (key not in lists), *[MISSING] * (len(key) == 1)):
            content = json.loads(text)
            put(content, key, wrong)
            (run / "metrics.json").write_text(json.dumps(content))
            refused(lambda: write_report([run]), "metrics.json", key[0])


METRICS = [
    ("n", 0),
    ("n", -15),
    ("n", 15.5),
    ("n", 16),  # predictions.parquet has 15 rows
    ("n", 10**400),
    ("seed", -1),
    ("seed", "0"),
    ("split", "tests"),
    ("split", None),
    ("data", ""),
    ("fused.accuracy", NAN),
    ("fused.accuracy", 1.2),
    ("fused.accuracy", None),
    ("fused.nll", "0.1"),
    ("fused.ece", "0.1"),
    ("imbalance.gap", None),
    ("modalities", {}),
    ("modalities.a", MISSING),
    ("modalities.z", {"n": 0, "accuracy": None, "macro_f1": None, "nll": None, "ece": None}),
    ("modalities.a.n", -1),
    ("modalities.a.accuracy", None),
    ("fusion.rule", "guess"),
    ("fusion.temperatures.a", NAN),
    ("fusion.temperatures.a", 0),
    ("fusion.temperatures.a", -1),
    ("fusion.temperatures.a", INFINITE),
    ("imbalance.shapley.a", INFINITE),
    ("rates.0x", []),
    ("rates.9", [{"n": 0, "accuracy": None, "macro_f1": None, "nll": None, "ece": None}]),
    ("training.n", -1),
    ("training.classes.a.c0", "many"),
    ("cost.epochs", 0),
    ("cost.epochs", 1e3),
    ("cost.best_epoch", 1),
    ("cost.best_epoch", -1),
    ("cost.seconds", NAN),
    ("cost.parameters", 10**30),
    ("cost.peak_memory", -5),
]


@pytest.mark.parametrize(("key", "value"), cases(METRICS))
def test_metrics_json(key, value, run):
    edit_json(run / "metrics.json", key, value)
    refused(lambda: write_report([run]), "metrics.json", key.split(".")[0])


@pytest.mark.parametrize("value", [INFINITE, -INFINITE, NAN])
def test_losses_of_a_method_that_diverges_need_not_be_finite(value, run):
    for key in ("fused.nll", "modalities.a.nll", "fusion.rules.entropy.nll", "imbalance.gap"):
        edit_json(run / "metrics.json", key, value)
    assert write_report([run]).stat().st_size
    assert command.run("export", run, "--format=safetensors").code == 0


def test_export_and_evaluation_read_through_the_schemas_too(run):
    edit_json(run / "metrics.json", "split", ["test"])
    refused(lambda: export(run, "safetensors"), "metrics.json", "split")
    assert not (run / "export").exists() or not any((run / "export").iterdir())
    edit_json(run / "config.json", "classes.0", 3)
    refused(lambda: evaluate_run(run), "config.json", "classes.0")
    refused(lambda: altuna.load(run), "config.json", "classes.0")
    refused(lambda: write_report([run]), "metrics.json")


# config.yaml

OPTIONS = [
    ("data", MISSING),
    ("data", None),
    ("data", 3),
    ("data", ["a.csv"]),
    ("method", MISSING),
    ("method", "mla"),
    ("method", {}),
    ("method.name", 3),
    ("seed", MISSING),
    ("seed", -1),
    ("seed", "0"),
    ("seed", 1.5),
    ("seed", 1 << 70),
    ("seed", NAN),
    ("modalities", MISSING),
    ("modalities", "a"),
    ("modalities", {"a": 3}),
    ("modalities", {3: {}}),
    ("columns", ["id"]),
    ("columns", {"id": 3}),
    ("root", 3),
]


@pytest.mark.parametrize(("key", "value"), cases(OPTIONS))
def test_config_yaml(key, value, run):
    content = yaml.safe_load((run / "config.yaml").read_text())
    put(content, key, value)
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    refused(lambda: evaluate_run(run), "config.yaml", key.split(".")[0])
    refused(lambda: write_report([run]), "config.yaml", key.split(".")[0])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a [1]\n"
        + "".join(
            f"{y}: &{y} [{', '.join([f'*{x}'] * 20)}]\n" for x, y in zip("abcdef", "bcdefg", strict=True)
        ),
        "date: 2026-13-45",
        "!!python/object/apply:os.system [ls]",
        "\x00",
        "{[1]: 2}",
    ],
    ids=["recursive", "aliases", "date", "python", "nul", "list as key"],
)
def test_yaml_that_is_none_of_ours(text, run):
    (run / "config.yaml").write_text(text)
    refused(lambda: evaluate_run(run), "config.yaml: cannot be read")


# predictions.parquet, log.csv, loggers.json


def column(name, make):
    """Replace a column by what a function makes of its values; drop it if that is nothing."""

    def change(table):
        if make is None:
            return table.drop_columns([name])
        values = make(table[name].to_pylist())
        return table.set_column(table.column_names.index(name), name, values)

    return change


PREDICTIONS = {
    "no-id": (column("id", None), "'id'"),
    "no-label": (column("label", None), "'label'"),
    "no-confidence": (column("confidence", None), "'confidence'"),
    "no-class": (column("p_c1", None), "'p_c1'"),
    "no-weight": (column("weight_a", None), "'weight_a'"),
    "no-presence": (column("present_text", None), "'present_text'"),
    "numbers-as-ids": (column("id", lambda v: pa.array(range(len(v)))), "id: must be text"),
    "texts-as-confidence": (
        column("confidence", lambda v: pa.array(map(str, v))),
        "confidence: must be numbers",
    ),
    "presence-as-numbers": (
        column("present_a", lambda v: pa.array(map(float, v))),
        "present_a: must be true",
    ),
    "lists": (column("p_c0", lambda v: pa.array([[x] for x in v])), "p_c0: must be numbers"),
    "nan": (column("p_c0", lambda v: pa.array([NAN, *v[1:]])), "p_c0: must be numbers from 0 to 1"),
    "negative": (
        column("weight_b", lambda v: pa.array([-1.0, *v[1:]])),
        "weight_b: must be numbers from 0 to 1",
    ),
    "above-1": (column("confidence", lambda v: pa.array([1.5, *v[1:]])), "confidence: must be numbers"),
    "no-prediction": (
        column("prediction", lambda v: pa.array([None, *v[1:]], pa.string())),
        "prediction: must not",
    ),
    "another-class": (
        column("label", lambda v: pa.array(["c9", *v[1:]])),
        "label: config.json has no class 'c9'",
    ),
    "says-another": (
        column("says_a", lambda v: pa.array(["c9", *v[1:]])),
        "says_a: config.json has no class",
    ),
    "more-classes": (lambda t: t.append_column("p_c9", t["p_c0"]), "p_c9: config.json has no class 'c9'"),
    "fewer-rows": (lambda t: t.slice(1), "has 14 rows"),
    "no-rows": (lambda t: t.slice(0, 0), "has 0 rows"),
    "twice": (lambda t: t.append_column("label", t["label"]), "twice"),
}


@pytest.mark.parametrize(("change", "words"), PREDICTIONS.values(), ids=PREDICTIONS)
def test_predictions(change, words, run):
    path = run / "predictions.parquet"
    pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(path)), path)
    refused(lambda: write_report([run]), "predictions.parquet", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("\n0,", "\nx,"), "column 'epoch'"),
        (lambda text: text.replace("\n0,", "\n7,"), "must be 0, got 7"),
        (lambda text: text.replace("\n0,", "\n,"), "lacks epoch"),
        (lambda text: text.replace("seconds", "minutes"), "lacks seconds"),
        (lambda text: text.rstrip() + ",5,6\n", "more cells"),
        (lambda text: text.splitlines()[0], "ends before"),
    ],
)
def test_the_log(change, words, run):
    (run / "log.csv").write_text(change((run / "log.csv").read_text()))
    refused(lambda: write_report([run]), "log.csv", words)


@pytest.mark.parametrize("text", ["[]", "{", '{"wandb": 3}', '{"wandb": null}'])
def test_identifiers_of_loggers(text, run):
    assert read_logger_ids(run) == {}
    (run / "loggers.json").write_text(text)
    refused(lambda: read_logger_ids(run), "loggers.json")


# model.safetensors


def weight(name, make):
    def change(weights):
        (own,) = [n for n in weights if n.endswith(name)]
        weights[own] = make(weights[own])

    return change


def filled(value):
    return lambda tensor: torch.full_like(tensor, value)


WEIGHTS = {
    "shape": (weight("head.linear.weight", lambda w: w[:, :3].contiguous()), "head.linear.weight"),
    "classes": (weight("head.linear.bias", lambda w: w[:2].contiguous()), "head.linear.bias"),
    "missing": (lambda weights: weights.pop("head.linear.bias"), "lacks head.linear.bias"),
    "beside": (lambda weights: weights.update(more=torch.zeros(2)), "more is not a part"),
    "nan-weight": (weight("head.linear.bias", filled(NAN)), "head.linear.bias"),
    "infinite-weight": (weight("head.linear.bias", filled(INFINITE)), "head.linear.bias"),
    "nan-temperature": (weight("confidence_temperatures", filled(NAN)), "confidence_temperatures"),
    "zero-temperature": (
        weight("confidence_temperatures", filled(0.0)),
        "confidence_temperatures: must be more than 0",
    ),
    "negative-temperature": (weight("confidence_temperatures", filled(-1.0)), "confidence_temperatures"),
    "infinite-temperature": (weight("confidence_temperatures", filled(INFINITE)), "confidence_temperatures"),
    "no-weights": (weight("fixed_weights", filled(0.0)), "fixed_weights"),
    "negative-weights": (weight("fixed_weights", filled(-1.0)), "fixed_weights"),
}


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(change, words, run):
    path = run / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    refused(lambda: altuna.load(run, "cpu"), "model.safetensors", words)


def test_a_header_that_promises_more_than_there_is(run):
    """A billion numbers that are not in the file."""
    shape = {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}
    header = json.dumps({"head.linear.weight": shape}).encode()
    (run / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refused(lambda: altuna.load(run, "cpu"), "model.safetensors")


def test_the_command_line_ends_with_code_2(run):
    """One line on stderr, no stack trace."""
    fifo(run / "config.json")
    result = subprocess.run(
        [sys.executable, "-m", "altuna", "evaluate", run], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "config.json: is a pipe" in result.stderr
