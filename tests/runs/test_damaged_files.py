"""Damaged files of a run directory: each is one line that names the file."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from edits import HUGE, INFINITE, NAN, refused
from safetensors.torch import load_file, save_file

import altuna
from altuna.report import write_report
from altuna.runs.directory import read_logger_ids
from altuna.runs.evaluate import evaluate_run

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
    "no-number": (column("n_modalities", None), "'n_modalities'"),
    "text-as-number": (
        column("n_modalities", lambda v: pa.array(map(str, v))),
        "n_modalities: must be whole",
    ),
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
    "nan-bias": (weight("class_biases", filled(NAN)), "class_biases"),
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


def test_a_run_from_before_class_biases(run):
    weights = load_file(run / "model.safetensors")
    assert "class_biases" in weights
    want = altuna.load(run).model
    del weights["class_biases"]
    save_file(weights, run / "model.safetensors")
    got = altuna.load(run).model
    assert not got.class_biases.any()
    torch.testing.assert_close(got.temperatures, want.temperatures)


def test_a_header_that_promises_more_than_there_is(run):
    """A billion numbers that are not in the file."""
    shape = {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}
    header = json.dumps({"head.linear.weight": shape}).encode()
    (run / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refused(lambda: altuna.load(run, "cpu"), "model.safetensors")


@pytest.mark.slow
def test_the_command_line_ends_with_code_2(run):
    """One line on stderr, no stack trace."""
    fifo(run / "config.json")
    result = subprocess.run(
        [sys.executable, "-m", "altuna", "evaluate", run], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "config.json: is a pipe" in result.stderr


def test_a_shapley_value_of_an_unknown_modality(run):
    path = run / "metrics.json"
    content = json.loads(path.read_text())
    content["imbalance"]["shapley"]["zz"] = 0.1
    path.write_text(json.dumps(content))
    refused(lambda: write_report([run]), "metrics.json", "imbalance.shapley", "'zz'")
