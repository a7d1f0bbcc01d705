"""Training on a table in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import altuna
from altuna.errors import UserError
from altuna.training.frame import path_of

OPTIONS = {"epochs": 1, "report": False, "quiet": True}


class Frame:
    """What pandas has: columns of several types, and records."""

    def __init__(self, rows):
        self.rows = rows

    def __dataframe__(self):
        raise NotImplementedError

    def to_dict(self, orient):
        assert orient == "records"
        return self.rows


def rows(n=40):
    return [{"label": "ab"[i % 2], "x": float(i % 2), "y": i * 7 % 5, "title": f"owl {i}"} for i in range(n)]


@pytest.mark.parametrize("make", [pa.Table.from_pylist, lambda rows: rows, Frame])
def test_a_table_in_memory_is_trained_on(make, tmp_path):
    run = altuna.fit(make(rows()), out=tmp_path / "run", **OPTIONS)
    assert {*altuna.load(run).modalities} == {"title", "tabular"}


def test_the_same_table_has_the_same_copy():
    assert path_of(rows()) == path_of(pa.Table.from_pylist(rows())) != path_of(rows(30))
    assert path_of("owls.csv") == "owls.csv"


def test_cells_of_several_types_are_texts():
    mixed = [*rows(), {"label": "a", "x": "high", "y": 1, "title": 1776}]
    table = pa.parquet.read_table(path_of(Frame(mixed)))
    assert table["title"].to_pylist()[-1] == "1776"
    assert table["x"].to_pylist()[-1] == "high"


def test_paths_are_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("owl.png")
    table = pa.parquet.read_table(path_of([{"label": "a", "photo": "owl.png"}] * 3))
    assert table["photo"].to_pylist() == [str(Path("owl.png").absolute())] * 3


def test_other_data_are_refused():
    with pytest.raises(UserError, match="data must be a path, a frame or a list of dicts, not int"):
        altuna.fit(7)


def test_arrays_are_lists_and_other_objects_are_refused():
    table = pa.parquet.read_table(path_of([{"label": "a", "x": np.ones((3, 2))}, {"label": "b", "x": None}]))
    assert table["x"].to_pylist() == [[[1, 1]] * 3, None]
    with pytest.raises(UserError, match="data, row 2, column 'x': Image cannot be kept in a table"):
        path_of([{"label": "a", "x": "text"}, {"label": "b", "x": Image.new("RGB", (2, 2))}])
