"""Malformed ``export.json``: the scripts of an export answer with one line and exit code 2."""

import json
import logging
import os
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location

import pytest

READER = {"name": "vector", "size": 2}
CONTENT = {
    "format": "onnx",
    "classes": ["x", "y"],
    "fusion": {"file": "fusion.onnx"},
    "modalities": [{"name": "a", "file": "a.onnx", "features": 4, "reader": READER}],
}


@pytest.fixture
def readers(tmp_path, monkeypatch):
    """The script ``readers.py`` as if it lay in a folder with an ``export.json``."""
    (tmp_path / "export.json").write_text(json.dumps(CONTENT))
    script = files("altuna.export") / "scripts" / "readers.py"
    spec = spec_from_file_location("readers", str(script))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "readers.py"))
    yield module
    logging.disable(logging.NOTSET)  # the script silences all loggers of its process


def refused(readers, monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["example.py", "a=1,2"])
    with pytest.raises(SystemExit) as stop:
        readers.main(lambda cells, config: {"cells": len(cells)}, "Predict.")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


def test_one_that_is_as_it_should_be(readers, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["example.py", "a=1,2"])
    readers.main(lambda cells, config: {"cells": len(cells)}, "Predict.")
    assert json.loads(capsys.readouterr().out) == {"cells": 1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 3),
        ("classes", []),
        ("classes", "xy"),
        ("classes.1", None),
        ("fusion", "fusion.onnx"),
        ("fusion.file", 3),
        ("modalities", {}),
        ("modalities", []),
        ("modalities.0", "a"),
        ("modalities.0.name", ""),
        ("modalities.0.file", None),
        ("modalities.0.features", "4"),
        ("modalities.0.features", -4),
        ("modalities.0.features", 10**9),
        ("modalities.0.features", 4.5),
        ("modalities.0.features", True),
        ("modalities.0.features", float("nan")),
        ("modalities.0.reader", []),
        ("modalities.0.reader.name", "vektor"),
        ("modalities.0.reader.size", 0),
        ("modalities.0.reader.size", 10**9),
        ("modalities.0.reader.size", float("nan")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_wrong_value(key, value, readers, monkeypatch, capsys, tmp_path):
    content = json.loads(json.dumps(CONTENT))
    *before, last = key.split(".")
    place = content
    for part in before:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    (tmp_path / "export.json").write_text(json.dumps(content))
    refused(readers, monkeypatch, capsys, f"export.json: cannot be loaded, is it complete? ({key}: must be")


@pytest.mark.parametrize("key", CONTENT)
def test_a_key_that_is_missing(key, readers, monkeypatch, capsys, tmp_path):
    content = {name: value for name, value in CONTENT.items() if name != key}
    (tmp_path / "export.json").write_text(json.dumps(content))
    refused(readers, monkeypatch, capsys, f"{key}: is missing")


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, "\x00", "9" * 10_000])
def test_what_is_no_description(text, readers, monkeypatch, capsys, tmp_path):
    (tmp_path / "export.json").write_text(text)
    refused(readers, monkeypatch, capsys, "export.json")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_no_file(make, readers, monkeypatch, capsys, tmp_path):
    (tmp_path / "export.json").unlink()
    make(tmp_path / "export.json")
    refused(readers, monkeypatch, capsys, "export.json: no such file")
