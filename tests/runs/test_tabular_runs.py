"""Runs with numbers, categories and dates as one modality: predictions, records, exports, the demo."""

import json
import subprocess
import sys

import numpy as np
import pytest

import altuna
from altuna.demo.answer import values
from altuna.errors import UserError
from altuna.export.export import export

COLUMNS = "age,city,signup,income,title,label"


def rows(n, seed):
    """The label is told by the age and the city together."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        age, city = rng.integers(18, 80), ["Berlin", "Paris", "Rome"][rng.integers(3)]
        label = "yes" if (age > 50) != (city == "Rome") else "no"
        day = f"{2000 + rng.integers(20)}-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}"
        income = "NA" if i % 9 == 0 else f"${rng.integers(1000, 99000):,}"
        lines.append(f'{age},{city},{day},"{income}",the owl {i},{label}')
    return lines


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular")
    (folder / "t.csv").write_text("\n".join([COLUMNS, *rows(400, 0), ""]))
    return altuna.fit(folder / "t.csv", out=folder / "run", epochs=30, quiet=True)


@pytest.mark.slow
def test_what_columns_tell_together_is_learnt(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["modalities"]["tabular"]["accuracy"] > 0.9
    account = (run / "columns.csv").read_text()
    assert "city,tabular (category)," in account
    assert "signup,tabular (date)," in account
    assert "<th>city" in (run / "report.html").read_text()


def test_tables_and_records_are_predicted_alike(run, tmp_path):
    (tmp_path / "new.csv").write_text("\n".join([COLUMNS, *rows(20, 1), ""]))
    model = altuna.load(run)
    table = model.predict(tmp_path / "new.csv")
    records = []
    for line in rows(20, 1):
        age, city, day, rest = line.split(",", 3)
        income, title, _ = rest.replace('"', "").rsplit(",", 2)
        number = None if income == "NA" else float(income.replace("$", "").replace(",", ""))
        records.append(
            {"title": title, "tabular": {"age": int(age), "city": city, "signup": day, "income": number}}
        )
    whole = model.predict(records)
    single = model.predict([{"title": r["title"], **r["tabular"]} for r in records])
    for other in (whole, single):
        assert np.allclose(table["p_yes"].to_pylist(), other["p_yes"].to_pylist(), atol=1e-6)


def test_what_new_data_lack_is_named(run, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("age,City,title\n60,Rome,x\n20,Tokyo,y\nold,Rome,z\n")
    model = altuna.load(run)
    manifest = model.open(tmp_path / "new.csv")
    table = model.predict_manifest(manifest)
    notes = " ".join([*manifest.notes, *(problem.reason for problem in model.problems)])
    assert "the column 'City' is read as 'city'" in notes
    assert "'tabular' lacks columns 'signup', 'income'" in notes
    assert "cells with a rare or new category: 1 ('Tokyo')" in notes
    assert "row 3 is 'old', no number like '1234.5', as in training: missing" in notes
    assert table["present_tabular"].to_pylist() == [True] * 3


def test_numbers_of_records_are_read_as_in_tables(run):
    model = altuna.load(run)
    given = [{"age": 60, "income": value} for value in (50_000, "$50,000", "50000")]
    assert np.ptp(model.predict(given)["p_yes"].to_pylist()) < 1e-5
    missing = model.predict([{"age": 60, "income": value} for value in (None, "NA", float("nan"))])
    assert np.ptp(missing["p_yes"].to_pylist()) < 1e-5
    assert abs(missing["p_yes"][0].as_py() - model.predict(given)["p_yes"][0].as_py()) > 1e-5


@pytest.mark.parametrize(
    ("empty", "bare"), [("late", {"age": 3, "born": "2024-01-02"}), ("acc_z", {"acc_x": 3.0, "acc_y": 2.0})]
)
def test_a_column_that_is_empty_in_training_is_left_out(empty, bare, tmp_path):
    """It has cells in the test rows alone: the account says so, and they change no prediction."""
    splits = ["train", "train", "train", "val", "test"]
    lines = [",".join(["label", "split", empty, *bare])]
    for i in range(60):
        cells = [f"2024-01-{i % 28 + 1:02}" if name == "born" else str(i * 7 % 11) for name in bare]
        lines.append(",".join(["ab"[i % 2], splits[i % 5], str(i) if i % 5 == 4 else "", *cells]))
    (tmp_path / "t.csv").write_text("\n".join([*lines, ""]))
    run = altuna.fit(tmp_path / "t.csv", out=tmp_path / "run", epochs=2, report=False, quiet=True)
    assert f"{empty},,is empty in all training rows" in (run / "columns.csv").read_text()
    model = altuna.load(run)
    assert len(model.modalities) == 1
    wanted, *found = model.predict([bare, {**bare, empty: 5}, {**bare, empty: -1e6}])["p_a"].to_pylist()
    assert found == pytest.approx([wanted] * 2, abs=1e-6)


def test_mistakes_in_records(run):
    model = altuna.load(run)
    with pytest.raises(UserError, match="unknown modality or column 'citty'; did you mean 'city'"):
        model.predict([{"citty": "Rome"}])
    with pytest.raises(UserError, match="column 'age': 'old' is not a number"):
        model.predict([{"age": "old"}])
    with pytest.raises(UserError, match=r"sample 1, column 'income': '5 €' is no number like '\$1,234\.5'"):
        model.predict([{"age": 3}, {"tabular": {"income": "5 €"}}])


@pytest.mark.slow
def test_an_export_predicts_the_same(run, tmp_path):
    export(run, "onnx", out=tmp_path / "onnx")
    given = {"age": 60, "city": "Rome", "signup": "2003-04-05", "income": "$50,000"}
    command = [sys.executable, "example.py", f"tabular={json.dumps(given)}"]
    found = subprocess.run(command, cwd=tmp_path / "onnx", capture_output=True, text=True, check=True)
    (wanted,) = altuna.load(run).predict([given])["p_yes"].to_pylist()
    assert abs(json.loads(found.stdout)["probabilities"]["yes"] - wanted) < 1e-4


def test_the_values_of_the_demo():
    columns = ("age", "city")
    assert values("tabular", "age=3; city=New York", columns) == {"age": "3", "city": "New York"}
    assert values("tabular", '{"age": 3}', columns) == {"age": 3}
    with pytest.raises(UserError, match="no column 'cty'; did you mean 'city'"):
        values("tabular", "cty=Rome", columns)
