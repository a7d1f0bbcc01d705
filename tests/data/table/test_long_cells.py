"""Messages show the beginning of a cell, however long it is."""

import json

import pyarrow as pa
import pytest

import altuna
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError

LONG = "owl" * 1000
ROWS = 20


def table_of(**columns):
    """A table with good cells, but for the first cells that are given."""
    good = {
        "id": [f"s{i}" for i in range(ROWS)],
        "label": [*"ab"] * (ROWS // 2),
        "split": ["train", "train", "val", "test"] * (ROWS // 4),
        "group": [f"g{i}" for i in range(ROWS)],
        "born": [f"2024-01-{i + 1:02}" for i in range(ROWS)],
        "price": [str(i * 7 % 11 / 2) for i in range(ROWS)],
        "note": [f"the owl of row {i}" for i in range(ROWS)],
    }
    return pa.table({name: [*columns.get(name, []), *cells][:ROWS] for name, cells in good.items()})


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"id": [LONG, LONG]}, {}),
        ({"split": [LONG]}, {}),
        ({"group": [LONG, LONG], "split": ["train", "test"]}, {}),
        ({"born": [LONG] * 5}, {"types": {"born": "date"}}),
        ({"price": [LONG, f"{LONG}s"] * 5}, {"types": {"price": "number"}}),
        ({"note": [LONG]}, {"types": {"note": "number"}}),
    ],
    ids=lambda value: "-".join(value) or "inferred",
)
def test_errors(columns, options, tmp_path):
    with pytest.raises(UserError) as caught:
        read_manifest(tmp_path / "t.csv", table=table_of(**columns), **options)
    assert len(str(caught.value)) < 400
    assert "owlowl" in str(caught.value)
    assert "…" in str(caught.value)


@pytest.mark.parametrize(
    "columns",
    [{"born": [LONG]}, {"price": [LONG]}, {"label": [f"{LONG}a", f"{LONG}A"]}],
    ids=lambda columns: next(iter(columns)),
)
def test_remarks(columns, tmp_path):
    notes = read_manifest(tmp_path / "t.csv", table=table_of(**columns)).notes
    (note,) = [note for note in notes if "owlowl" in note]
    assert len(note) < 400
    assert "…" in note


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    rows = [{"label": "ab"[i % 2], "lag": i % 9, "colour": ["red", "blue"][i % 4 // 2]} for i in range(40)]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return altuna.load(altuna.fit(folder / "t.jsonl", out=folder / "run", epochs=1, report=False, quiet=True))


@pytest.mark.parametrize(
    "lag", [10**400, LONG, [1.0] * 999, {"a": LONG}, LONG.encode()], ids=lambda lag: type(lag).__name__
)
def test_records(lag, model):
    with pytest.raises(UserError) as caught:
        model.predict([{"lag": lag, "colour": "red"}])
    line = str(caught.value)
    assert "'lag'" in line
    assert "…" in line
    assert len(line) < 300


def test_new_categories(model, capsys):
    model.predict([{"lag": 1, "colour": LONG}])
    (line,) = capsys.readouterr().err.splitlines()
    assert "rare or new category: 1 ('owlowl" in line
    assert len(line) < 300
