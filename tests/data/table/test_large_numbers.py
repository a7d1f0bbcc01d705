"""Numbers far from 0 keep what tells them apart, and whole numbers of any size are read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import altuna
from altuna.data.readers.base import NotFiniteError
from altuna.data.readers.vector import VectorReader
from altuna.runs.directory import read_metrics

OFFSETS = {"unix time": 1_700_000_000, "milliseconds": 1_700_000_000_000, "negative": -(2**40), "none": 0}


def table(path, offset, dtype):
    """Rows whose class is whether the number is above the middle of 0 to 100."""
    draws = np.random.default_rng(0).integers(0, 100, 300)
    numbers = pa.array((draws + offset).astype(dtype))
    pq.write_table(pa.table({"label": ["high" if d >= 50 else "low" for d in draws], "t": numbers}), path)
    return path


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_accuracy_does_not_depend_on_the_offset(offset, dtype, tmp_path):
    path = table(tmp_path / "t.parquet", offset, dtype)
    options = {"epochs": 15, "lr": 0.01, "quiet": True, "report": False, "logger": "none"}
    run = altuna.fit(path, out=tmp_path / "run", **options)
    assert read_metrics(run)["fused"]["accuracy"] > 0.95
    rows = [{"t": np.array([offset + x], dtype)} for x in (5, 95)]
    assert altuna.load(run).predict(rows)["prediction"].to_pylist() == ["low", "high"]
    assert altuna.load(run).predict([{"t": [offset + 95]}])["prediction"].to_pylist() == ["high"]


def test_only_numbers_that_need_it_are_moved():
    cells = [[1.7e9 + i, i / 10, 5e9, -3.0] for i in range(50)]
    origin = VectorReader.fit(cells).origin
    assert origin == (pytest.approx(1.7e9, abs=50), 0.0, 0.0, 0.0)
    assert VectorReader.fit([[i, 5.0] for i in range(50)]).origin == ()


@pytest.mark.parametrize("count", [10, 300])
def test_a_zero_among_unix_times_does_not_move_the_origin(count):
    cells = [[0.0], *([1.7e9 + i] for i in range(count - 1))]
    reader = VectorReader.fit(cells)
    moved = np.array([reader.read(cell)[0] for cell in cells[1:]])
    assert np.array_equal(np.diff(moved), np.ones(count - 2))


def test_numbers_beyond_the_range_of_float32_are_refused_as_before():
    with pytest.raises(NotFiniteError, match="too large or infinite"):
        VectorReader(1).read([1e39])
