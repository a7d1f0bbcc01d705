"""Properties of manifests: any table comes back, any mistake is named, no file is anything but an error."""

import csv
import io
import json
import re
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altuna.data.formats.columns import filled_cells
from altuna.data.table.manifest import Modality, read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError

FORMATS = ("csv", "tsv", "jsonl", "parquet")
quick = settings(max_examples=60, deadline=None, database=None)

# No NUL, which csv refuses; \r\n inside quotes stays.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SPECIAL = st.sampled_from(
    ['"', '""', ",", "a,b", "a\nb", "a\r\nb", "\t", "007", "1e5", "NA", "null", " x ", "日本 🎉"]
)
NUMBERS = st.none() | st.floats(-(2.0**120), 2.0**120, width=32) | st.integers(-(2**40), 2**40)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.sampled_from(["a", "b", "01"]),
            "note": st.none() | WORDS | SPECIAL,
            "photo": st.none() | st.sampled_from(["a.png", "d e/b.jpg", "é,.gif", " c.PNG"]),
            "x_1": NUMBERS,
            "x_2": NUMBERS,
        }
    ),
    min_size=1,
    max_size=12,
)


def write_rows(folder, kind, rows):
    path = folder / f"m.{kind}"
    if kind == "parquet":
        columns = {name: [row.get(name) for row in rows] for name in rows[0]}
        for name, cells in columns.items():
            if name.startswith("x_"):
                columns[name] = pa.array([None if x is None else float(x) for x in cells], pa.float64())
            else:
                columns[name] = pa.array(cells, pa.string())
        pyarrow.parquet.write_table(pa.table(columns), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        text = io.StringIO()
        quoting = csv.QUOTE_NOTNULL if hasattr(csv, "QUOTE_NOTNULL") else csv.QUOTE_MINIMAL
        writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", quoting=quoting)
        writer.writerows([[*rows[0]], *(row.values() for row in rows)])
        path.write_bytes(text.getvalue().encode())
    return path


@quick
@given(ROWS, st.sampled_from(FORMATS))
def test_any_table_comes_back(tmp_path_factory, rows, kind):
    rows = [{"id": f"0{i}", "full": "z"} | dict(sorted(row.items())) for i, row in enumerate(rows)]
    rows[0] |= {"note": "words", "photo": "a.png", "x_1": 1.5, "x_2": 2}
    manifest = read_manifest(write_rows(tmp_path_factory.mktemp("table"), kind, rows))
    assert manifest.modalities == {
        "full": Modality("text", ("full",)),
        "note": Modality("text", ("note",)),
        "photo": Modality("image", ("photo",), files=True),
        "x": Modality("vector", ("x_1", "x_2")),
    }
    assert manifest.ids.to_pylist() == [row["id"] for row in rows]
    assert manifest.labels.to_pylist() == [row["label"] for row in rows]
    present = filled_cells(manifest.table, ["note"])
    for row, got, here in zip(rows, manifest.table["note"].to_pylist(), present, strict=True):
        assert here == bool(row["note"] and row["note"].strip())
        assert (got or "") == (row["note"] or "")
    assert manifest.table["photo"].to_pylist() == [row["photo"] for row in rows]
    for name in ("x_1", "x_2"):
        wanted = [None if row[name] is None else float(row[name]) for row in rows]
        assert manifest.table[name].to_pylist() == wanted
    numbers = filled_cells(manifest.table, ["x_1", "x_2"])
    assert numbers.tolist() == [row["x_1"] is not None or row["x_2"] is not None for row in rows]


@pytest.mark.slow
@quick
@given(st.data(), st.sampled_from(FORMATS), st.integers(2, 30))
def test_any_mistake_is_named_by_its_row(tmp_path_factory, data, kind, n):
    rows = [
        {
            "id": f"i{i}",
            "split": ("train", "test")[i % 2],
            "group": f"g{i}",
            "label": "ab"[i % 2],
            "t": f"owl {i}",
        }
        for i in range(n)
    ]
    row = data.draw(st.integers(1, n - 1))
    mistake = data.draw(st.sampled_from(["id", "no id", "split", "no split", "group", "empty", "ragged"]))
    if mistake == "id":
        first = data.draw(st.integers(0, row - 1))
        rows[row]["id"] = rows[first]["id"]
        words = rf", row {row + 1} \(id 'i{first}'\), column 'id': the id is already in row {first + 1}$"
    elif mistake == "no id":
        rows[row]["id"] = None
        words = rf", row {row + 1}, column 'id': empty$"
    elif mistake == "split":
        rows[row]["split"] = data.draw(st.sampled_from(["trains", "tests", "fold", "0"]))
        words = rf", row {row + 1} \(id 'i{row}'\), column 'split': unknown split '{rows[row]['split']}'"
    elif mistake == "no split":
        rows[row]["split"] = None
        words = rf", row {row + 1} \(id 'i{row}'\), column 'split': empty"
    elif mistake == "group":
        rows[row]["group"] = rows[row - 1]["group"]
        words = rf", row {row} \(id 'i{row - 1}'\), column 'group': group 'g{row - 1}' is in "
    elif mistake == "empty":
        rows[row]["t"] = " "
        words = rf", row {row + 1} \(id 'i{row}'\), column 't': every modality is empty"
    else:
        rows[row]["more"] = "z"
        words = rf", row {row + 1}: has 6 columns, not 5: "
    path = write_rows(tmp_path_factory.mktemp("table"), kind, rows)
    if mistake == "ragged" and kind in ("jsonl", "parquet"):
        assert len(read_manifest(path)) == n
        return
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}{words}") as error:
        read_manifest(path)
    assert "\n" not in str(error.value)


def read_or_refuse(path):
    with suppress(UserError):
        split_rows(read_manifest(path))


@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=300), st.sampled_from(FORMATS))
def test_random_bytes_are_a_table_or_an_error(tmp_path_factory, content, kind):
    path = tmp_path_factory.mktemp("bytes") / f"m.{kind}"
    path.write_bytes(content)
    read_or_refuse(path)


PIECES = [
    '"',
    ",",
    "\n",
    "\r",
    "\0",
    "{",
    "[",
    "}",
    "NaN",
    "null",
    "1e999",
    '"a":1,',
    "inf",
    "true",
    "9" * 20,
]


@settings(max_examples=300, deadline=None, database=None)
@given(st.data(), st.sampled_from(FORMATS))
def test_a_damaged_table_is_a_table_or_an_error(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("damaged")
    rows = [{"id": str(i), "label": "ab"[i % 2], "note": "é, x", "v": i / 2} for i in range(8)]
    if kind == "parquet":
        path = folder / "m.parquet"
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path, compression="none")
    else:
        path = write_rows(folder, kind, rows)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from(PIECES).map(str.encode))
        content[place : place + data.draw(st.integers(0, 20))] = piece
    path.write_bytes(content)
    read_or_refuse(path)


@pytest.mark.slow
def test_no_python_objects_for_every_row(tmp_path):
    """A million texts as Python objects would be 60 bytes and more each, for every column."""
    import tracemalloc

    n = 100_000
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "id": [f"row {i}" for i in range(n)],
            "split": ["train", "test"] * (n // 2),
            "label": ["a", "b", "b", "a"] * (n // 4),
            "group": [f"g{i}" for i in range(n)],
            "note": [f"some words {i}" for i in range(n)],
            **{f"x_{i}": rng.normal(size=n) for i in range(4)},
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    pa.csv.write_csv(table.drop_columns("id"), tmp_path / "m.csv")
    with (tmp_path / "m.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in table.to_pylist())
    for kind in ("parquet", "csv", "jsonl"):
        tracemalloc.start()
        manifest = read_manifest(tmp_path / f"m.{kind}")
        split_rows(manifest)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # What NumPy needs for the checks and the splits: some 8-byte numbers a row, for all columns together.
        assert peak < 120 * n, kind
        assert manifest.table["note"].to_pylist() == table["note"].to_pylist()


@pytest.mark.slow
def test_a_cell_of_100_mb(tmp_path):
    text = "word " * 20_000_000
    (tmp_path / "m.csv").write_text(f'id,t\n1,short\n2,"{text}"\n3,last\n')
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.modalities == {"t": Modality("text", ("t",))}
    assert manifest.table["t"].to_pylist() == ["short", text, "last"]
