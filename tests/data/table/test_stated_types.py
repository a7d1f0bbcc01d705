"""Every type that can be stated, for every kind of cells: it is read, or one line names row and column."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from altuna.data.fit_readers import fit_readers
from altuna.data.samples import prepare_stores
from altuna.data.table.column_types import STATED
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError

ROWS = 20
NUMBERS = ("int", "day", "year", "float", "bool")
TEXTS = ("word", "sentence", "date", "timestamp", "mixed")
LISTS = ("numbers", "nested")
WORKS = {  # what each type reads; all else is refused
    "number": NUMBERS,
    "category": (*NUMBERS, *TEXTS),
    "date": ("day", "year", "date", "timestamp"),
    "tabular": (*NUMBERS, *TEXTS),
    "text": (*NUMBERS, *TEXTS, "bytes"),
    "vector": (*NUMBERS, *LISTS),
    "series": LISTS,
    **dict.fromkeys(("image", "image_list", "audio", "video"), ()),  # no cell is one, or the path of one
}
CELLS = {
    "int": lambda i: i * 37 % 101,
    "day": lambda i: 20240101 + i,
    "year": lambda i: 1990 + i % 30,
    "float": lambda i: i * 37 % 101 / 4,
    "bool": lambda i: i % 3 == 0,
    "word": lambda i: ["red", "blue", "green"][i % 3],
    "sentence": lambda i: f"the owl of row {i} sleeps",
    "date": lambda i: f"2024-01-{i + 1:02}",
    "timestamp": lambda i: datetime.datetime(2024, 1, i + 1, 5),
    "mixed": lambda i: ["red", "1", "2024-01-01", "the owl sleeps"][i % 4],
    "numbers": lambda i: [i / 4, i % 3, 1.0],
    "nested": lambda i: [[i, 1.0], [2.0, 3.0]],
    "words": lambda i: ["red", "blue"][: 1 + i % 2],
    "struct": lambda i: {"a": i, "b": "x"},
    "bytes": lambda i: b"abc%d" % i,
    "empty": lambda i: None,
}
WAYS = {
    "types": lambda type: {"types": {"x": type}},
    "modality": lambda type: {"modalities": {"x": {"type": type}, "age": {}}},
    "prefix": lambda type: {"modalities": {"m": {"type": type, "prefix": "x"}, "age": {}}},
}


def table_of(kind):
    """A table whose first row has no cell of the column."""
    cells = [None, *map(CELLS[kind], range(ROWS - 1))]
    ages = [i * 7 % 11 / 2 for i in range(ROWS)]
    return pa.table({"label": ["a", "b"] * (ROWS // 2), "age": ages, "x": cells})


def read(folder, kind, options):
    """Read the column; raise UserError with the first problem if none of its cells can be read."""
    manifest = read_manifest(folder / "t.parquet", table=table_of(kind), **options)
    (name,) = [n for n, m in manifest.modalities.items() if "x" in m.columns] or [None]
    if name is None:
        return manifest, None
    readers = fit_readers(manifest.only([name]), np.arange(ROWS), {})
    store = prepare_stores(manifest, readers, folder)[name]
    if (store.position < 0).all():
        problem = store.problems[0]
        place = f"row {problem.row}, column {problem.column!r}"
        raise UserError(f"{manifest.path}, {place}: {problem.cell}: {problem.reason}")
    return manifest, store.array[store.position[store.position >= 0]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("type", WORKS)
def test_types_and_cells(type, kind, way, tmp_path):
    options = WAYS[way](type)
    if kind == "empty" and way == "types":
        manifest, _ = read(tmp_path, kind, options)
        assert [c.reason for c in manifest.account if c.column == "x"] == ["is empty"]
    elif kind in WORKS[type]:
        manifest, values = read(tmp_path, kind, options)
        uses = [c.used_as for c in manifest.account if c.column == "x"]
        assert "(" in uses[0]
        assert type in uses[0] or type == "tabular"
        if values.dtype.kind == "f":
            assert np.isfinite(values).mean() > 0.9
    else:
        with pytest.raises(UserError) as caught:
            read(tmp_path, kind, options)
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 400
        assert line.startswith(f"{tmp_path}/t.parquet, ")
        assert "column 'x'" in line
        assert kind == "empty" or "row 2" in line


def test_all_types_are_tried():
    assert {*WORKS} == {*STATED}


@pytest.mark.parametrize(
    ("cells", "row"),
    [(["2024-01-31", "31.01.2024", "2024-02-01", "2024-02-02"], 2), (["2024-01-31", None, "red", "blue"], 3)],
    ids=str,
)
def test_the_first_cell_that_is_no_date_is_named(cells, row, tmp_path):
    table = pa.table({"label": [*"abab"], "age": [1, 2, 3, 4], "x": cells})
    with pytest.raises(UserError, match=f"row {row}, column 'x': {cells[row - 1]!r}: is no date, or not one"):
        read_manifest(tmp_path / "t.csv", table=table, types={"x": "date"})


def test_the_first_cell_of_a_vector_that_is_no_number_is_named(tmp_path):
    table = pa.table({"label": [*"abab"], "x_0": [1, 2, 3, 4], "x_1": ["1", "", "red", "blue"]})
    with pytest.raises(UserError, match="row 3, column 'x_1': 'red': the cells are texts, not numbers"):
        read_manifest(tmp_path / "t.csv", {"x": {"prefix": "x_", "type": "vector"}}, table=table)
