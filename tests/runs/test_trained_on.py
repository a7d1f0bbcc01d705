"""Evaluation on rows that a run was trained on is named, on new rows it is not."""

import csv
import shutil
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

import altuna
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError
from altuna.runs.evaluate import evaluate_run
from altuna.runs.trained_on import FILE, count_known, read_keys, row_keys

HEADER = ["id", "label", "photo", "x"]


def write(folder, name, numbers, header=HEADER):
    """Rows of a picture and a number; equal numbers give equal rows."""
    folder.mkdir(exist_ok=True)
    lines = []
    for i in numbers:
        colour = (i * 7 % 256, i // 4, 255 * (i % 2))
        Image.new("RGB", (8 + i % 3, 8), colour).save(folder / f"{i}.png")
        lines.append([f"s{i}", "ab"[i % 2], f"{i}.png", i / 3])
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(dict(zip(HEADER, line, strict=True)) for line in lines)
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write(folder, "train.csv", range(60))
    options = {"encoders": {"photo": {"width": 4}}, "epochs": 1, "missing_rate": 0.3, "seed": 1}
    return altuna.fit(folder / "train.csv", out=folder / "run", store=folder / "s", quiet=True, **options)


def warned(run, *given, **options):
    return evaluate_run(run, *given, store=run.parent / "s", one_rule=True, **options)["warnings"]


def line(n, of):
    return [f"{n} of {of} rows were in the training split of this run: these figures are not a test"]


def test_the_training_split_is_no_test(run):
    assert warned(run) == warned(run, split="val") == []
    assert warned(run, split="train") == line(36, 36)


def test_a_copy_of_the_table_in_another_order_and_place(run, tmp_path):
    moved = write(tmp_path / "elsewhere", "copy.csv", [*range(60)][::-1], ["x", "photo", "label"])
    assert warned(run, str(moved)) == line(36, 60)
    assert warned(run, str(write(tmp_path / "more", "more.csv", range(300)))) == line(36, 300)


def test_new_rows_are_a_test(run, tmp_path):
    assert warned(run, str(write(tmp_path / "new", "new.csv", range(60, 100)))) == []


def test_a_run_of_an_earlier_version_has_no_keys(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / FILE).unlink()
    assert (
        evaluate_run(tmp_path / "run", str(run.parent / "train.csv"), store=run.parent / "s")["warnings"]
        == []
    )
    for content in (b"", b"\x93NUMPY\x01\x00", np.zeros((2, 2)).tobytes()):
        (tmp_path / "run" / FILE).write_bytes(content)
        with pytest.raises(UserError, match=rf"{FILE}: cannot be read"):
            read_keys(tmp_path / "run")
    np.save(tmp_path / "run" / FILE, np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"must be uint64 \[n\], is float64 \[2, 2\]"):
        read_keys(tmp_path / "run")


@pytest.mark.parametrize("values", [2, 50, 1000, 10**6])
def test_what_equals_by_chance_is_no_leak(values):
    """Of few different rows, new ones equal some of training; a copy of training does so more often."""
    random = np.random.default_rng(values)
    trained, new = random.integers(values, size=(2, 1000)).astype(np.uint64)
    assert count_known(new, trained) == 0
    if values >= 1000:
        assert count_known(trained, trained) == 1000
    assert count_known(new, np.empty(0, np.uint64)) == 0


N = 60
SERIES = [[(i * k % 7) / 4 for k in range(i % 3 + 1)] if i % 9 else None for i in range(N)]
CELLS = {
    "label": pa.array(["ab"[i % 2] for i in range(N)]),
    "count": pa.array([None if i % 8 == 0 else i * 7 % 50 for i in range(N)], pa.int16()),
    "share": pa.array([(i * 11 % 30 - 15) / 10 for i in range(N)], pa.float32()),
    "colour": pa.array([("red", "blue", None)[i % 3] for i in range(N)]).dictionary_encode(),
    "rainy": pa.array([i % 5 > 2 for i in range(N)]),
    "day": pa.array(
        [datetime(2024, 1, 2) + timedelta(days=i * i % 40) for i in range(N)], pa.timestamp("ms")
    ),
    "steps": pa.array(SERIES, pa.list_(pa.float32())),
    "grid": pa.array([[[i, 1.5], [2, i / 2]] for i in range(N)], pa.list_(pa.list_(pa.float64()))),
    "note": pa.array([f"an owl hoots {i * 7 % 13} times in the wood" if i % 4 else None for i in range(N)]),
}
TYPES = {"count": "number", "share": "number", "colour": "category", "rainy": "category", "day": "date"}
TYPES |= {"steps": "series", "grid": "series", "note": "text"}


def keys_of(table, rows=None):
    given = {"path": "frame", "table": table} if isinstance(table, pa.Table) else {"path": table}
    manifest = read_manifest(**given, types=TYPES)
    return row_keys(manifest, np.arange(len(manifest)) if rows is None else rows)


def as_texts(table):
    """Return a table as CSV holds it."""
    columns = {}
    for name in table.column_names:
        column, kind = table[name], table.schema.field(name).type
        if pa.types.is_list(kind):
            column = pa.array([None if cell is None else str(cell) for cell in column.to_pylist()])
        elif pa.types.is_timestamp(kind):
            column = pc.strftime(column, format="%Y-%m-%d")
        columns[name] = column.cast(pa.string())
    return pa.table(columns)


def test_equal_rows_have_equal_keys_however_they_are_read(tmp_path):
    table = pa.table(CELLS)
    pyarrow.csv.write_csv(as_texts(table), tmp_path / "owls.csv")
    pyarrow.parquet.write_table(table, tmp_path / "owls.parquet")
    pyarrow.parquet.write_table(as_texts(table), tmp_path / "texts.parquet")
    keys = keys_of(table)
    assert len(np.unique(keys)) == N
    for name in ("owls.csv", "owls.parquet", "texts.parquet"):
        assert np.array_equal(keys_of(tmp_path / name), keys), name
    wider = {
        "count": pa.float64(),
        "grid": pa.large_list(pa.large_list(pa.float32())),
        "note": pa.large_string(),
    }
    for name, kind in wider.items():
        place = table.column_names.index(name)
        assert np.array_equal(keys_of(table.set_column(place, name, table[name].cast(kind))), keys), name


@pytest.mark.parametrize("name", [name for name in CELLS if name != "label"])
def test_another_cell_gives_another_key(name):
    table = pa.table(CELLS)
    order = np.roll(np.arange(N), 1)
    other = table.set_column(table.column_names.index(name), name, table[name].take(pa.array(order)))
    cells = table[name].to_pylist()
    differ = [cells[i] != cells[order[i]] for i in range(N)]
    assert (keys_of(table) != keys_of(other)).tolist() == differ
    assert any(differ)


def test_keys_do_not_depend_on_the_rows_beside(monkeypatch):
    table = pa.table(CELLS)
    rows = np.array([5, 3, 50, 3])
    keys = keys_of(table)
    monkeypatch.setattr("altuna.runs.trained_on.BLOCK", 3)
    assert np.array_equal(keys_of(table, rows), keys[rows])
    assert len(keys_of(table, rows[:0])) == 0
