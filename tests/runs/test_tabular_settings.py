"""Damaged settings of tabular readers in config.json: each is one line that names the file and the key."""

import csv
import json
import shutil

import pytest
from edits import INFINITE, MISSING, NAN, put, refused

import altuna

READER = "modalities.tabular.reader"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    rows = [
        [
            f"${i % 9 + 1},500.5",
            i % 5,
            f"2024-01-{i % 28 + 1:02}",
            ["red", "blue", "grey"][i % 3],
            "ab"[i % 2],
        ]
        for i in range(60)
    ]
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["price", "age", "born", "colour", "label"], *rows])
    return altuna.fit(folder / "t.csv", out=folder / "run", epochs=1, report=False, quiet=True)


@pytest.fixture
def config(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run" / "config.json"


def loads(config):
    return lambda: altuna.load(config.parent, "cpu")


def test_the_settings_as_written_are_accepted(config):
    content = json.loads(config.read_text())
    reader = content["modalities"]["tabular"]["reader"]
    assert [name for name, _ in reader["numbers"]] == ["price", "age"]
    assert reader["dates"] == [["born", "%Y-%m-%d"]]
    assert reader["categories"] == [["colour", ["blue", "grey", "red"]]]
    assert content["modalities"]["tabular"]["formats"]["price"]["groups"] == ","
    assert loads(config)()


EDITS = {
    "a column twice in a list": (f"{READER}.numbers.1.0", "price", "numbers", "'price'"),
    "a column of numbers among dates": (f"{READER}.dates.0.0", "age", "dates", "'age'", "numbers"),
    "a column of dates among categories": (
        f"{READER}.categories.0.0",
        "born",
        "categories",
        "'born'",
        "dates",
    ),
    "origin NaN": (f"{READER}.numbers.0.1", NAN, "numbers", "finite"),
    "origin infinite": (f"{READER}.numbers.0.1", -INFINITE, "numbers", "finite"),
    "origin a text": (f"{READER}.numbers.0.1", "0", "numbers", "must be a number"),
    "a category twice": (f"{READER}.categories.0.1.1", "blue", "categories", "'blue' twice"),
    "a category that is a number": (f"{READER}.categories.0.1.1", 1, "categories", "must be a text"),
    "format %Q": (f"{READER}.dates.0.1", "%Q", "dates", "'%Q'"),
    "format number": (f"{READER}.dates.0.1", "number", "dates", "'number'"),
    "format of 10,000 characters": (f"{READER}.dates.0.1", "%Y-" * 2500, "dates", "'%Y-%Y-"),
    "format null": (f"{READER}.dates.0.1", None, "dates"),
    "no pair": (f"{READER}.dates.0", ["born"], "dates"),
    "no list": (f"{READER}.numbers", "price", "numbers"),
    "a column less": (f"{READER}.categories", [], "columns"),
    "another column": (f"{READER}.numbers.0.0", "prise", "columns"),
    "decimal mark": ("modalities.tabular.formats.price.decimal", "x", "price.decimal", "'x'"),
    "one mark for both": ("modalities.tabular.formats.price.groups", ".", "price.decimal", "'.'"),
    "style": ("modalities.tabular.formats.price.style", "clok", "price.style", "did you mean 'clock'"),
    "style of 10,000 characters": ("modalities.tabular.formats.price.style", "x" * 10_000, "price.style"),
    "missing NaN": ("modalities.tabular.formats.price.missing", [NAN], "price.missing.0"),
    "format of no column": ("modalities.tabular.formats.prise", {}, "formats", "'prise'", "mean 'price'"),
    "name": (f"{READER}.name", MISSING, "reader.name"),
}


@pytest.mark.parametrize(("key", "value", "words"), [(k, v, w) for k, v, *w in EDITS.values()], ids=[*EDITS])
def test_damaged_settings(key, value, words, config):
    content = json.loads(config.read_text())
    put(content, key, value)
    config.write_text(json.dumps(content))
    refused(loads(config), "config.json: modalities.tabular", *words)


def test_a_column_twice_in_a_vector(config):
    content = json.loads(config.read_text())
    modality = {**content["modalities"]["tabular"], "type": "vector", "columns": ["age", "age"]}
    content["modalities"] = {"age": {**modality, "reader": {"name": "vector", "size": 2}}}
    config.write_text(json.dumps(content))
    refused(loads(config), "config.json: modalities.age.columns: has 'age' twice")


@pytest.mark.parametrize("origin", [[NAN], [INFINITE], [1.0, 2.0]], ids=str)
@pytest.mark.parametrize(
    "reader",
    [{"name": "vector", "size": 1}, {"name": "series", "length": 2, "channels": 1}],
    ids=lambda r: r["name"],
)
def test_origins_of_vectors_and_series(reader, origin, config):
    content = json.loads(config.read_text())
    modality = {**content["modalities"]["tabular"], "type": reader["name"], "columns": ["age"]}
    content["modalities"] = {"age": {**modality, "reader": {**reader, "origin": origin}}}
    config.write_text(json.dumps(content))
    refused(loads(config), "config.json: modalities.age.reader.origin", "finite")
