"""Frames of pandas and polars themselves, where installed: trained on, and predicted as records are."""

import datetime

import numpy as np
import pytest
from PIL import Image

import altuna
from altuna.errors import UserError

ROWS = 40
DAY = datetime.date(2024, 1, 1)


def pictures():
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 40, (16, 12, 3)) + 180 * (i % 2)).astype(np.uint8) for i in range(ROWS)]


def of_pandas(pd):
    """A column of every kind, and what it is used as."""
    numbers = np.arange(ROWS)
    words = [["red", "blue"][i % 2] if i % 7 else None for i in range(ROWS)]
    return {
        "categorical": (pd.Categorical(words), "category"),
        "nullable whole numbers": (pd.array([i % 5 if i % 7 else pd.NA for i in numbers], "Int64"), "number"),
        "nullable booleans": (
            pd.array([bool(i % 2) if i % 7 else pd.NA for i in numbers], "boolean"),
            "number",
        ),
        "times in a zone": (pd.date_range("2024-01-01", periods=ROWS, freq="7h", tz="Europe/Berlin"), "date"),
        "times, some missing": (
            [pd.NaT if i % 5 == 0 else pd.Timestamp(2024, 1, 1 + i % 28) for i in numbers],
            "date",
        ),
        "periods": (pd.period_range("2020-01", periods=ROWS, freq="M"), "date"),
        "intervals": (pd.cut(numbers % 10, 3), "category"),
        "objects of several types": (pd.Series([1, "x", 2.5, None] * (ROWS // 4), dtype=object), "category"),
        "objects of numbers": (pd.Series([1, 2.5, None, 7] * (ROWS // 4), dtype=object), "number"),
        "dates": ([DAY + datetime.timedelta(days=i * 3 % 28) for i in range(ROWS)], "date"),
        "strings with NA": (
            pd.array([pd.NA if word is None else word for word in words], "string"),
            "category",
        ),
        "arrays": ([np.array([i / 4, 1.0]) for i in range(ROWS)], "vector"),
        "arrays of two axes": ([np.full((3 + i % 3, 2), i / 4) for i in range(ROWS)], "series"),
        "pictures of Pillow": ([*map(Image.fromarray, pictures())], "image"),
        "pictures as arrays": (pictures(), "image"),
    }


def of_polars(pl):
    words = [["red", "blue"][i % 2] if i % 7 else None for i in range(ROWS)]
    dates = [DAY + datetime.timedelta(days=i * 3 % 28) for i in range(ROWS)]
    return {
        "categorical": (pl.Series(words, dtype=pl.Categorical), "category"),
        "enum": (pl.Series(words, dtype=pl.Enum(["red", "blue"])), "category"),
        "numbers, some missing": (pl.Series([i % 5 if i % 7 else None for i in range(ROWS)]), "number"),
        "dates": (pl.Series(dates), "date"),
        "arrays": (pl.Series([[1.0, i] for i in range(ROWS)], dtype=pl.Array(pl.Float32, 2)), "vector"),
        "pictures of Pillow": (pl.Series([*map(Image.fromarray, pictures())], dtype=pl.Object), "image"),
    }


def check(frame, records, use, folder):
    """Train on a frame with the column ``c``, and predict the frame and its records."""
    run = altuna.fit(frame, out=folder / "run", epochs=1, report=False, quiet=True)
    assert f"({use})" in next(
        line for line in (run / "columns.csv").read_text().splitlines() if line[:2] == "c,"
    )
    model = altuna.load(run)
    found = model.predict(frame)["p_a"].to_pylist()
    assert model.predict(records)["p_a"].to_pylist() == pytest.approx(found, abs=1e-5)


def base():
    return {"label": ["a", "b"] * (ROWS // 2), "age": [float(i * 7 % 11) for i in range(ROWS)]}


@pytest.mark.slow
def test_columns_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    for name, (column, use) in of_pandas(pandas).items():
        frame = pandas.DataFrame({**base(), "c": column})
        check(frame, frame.to_dict("records"), use, tmp_path / name)


@pytest.mark.slow
def test_columns_of_polars(tmp_path):
    polars = pytest.importorskip("polars")
    for name, (column, use) in of_polars(polars).items():
        frame = polars.DataFrame({**base(), "c": column})
        check(frame, frame.to_dicts(), use, tmp_path / name)


def test_names_and_indices_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({**base(), 0: range(ROWS, 0, -1)})
    named = frame.set_index(pandas.Index([f"r{i}" for i in range(ROWS)], name="id"))
    model = altuna.load(altuna.fit(named, out=tmp_path / "run", epochs=1, report=False, quiet=True))
    assert model.predict(named)["id"].to_pylist() == [f"r{i}" for i in range(ROWS)]
    named["photo"] = pictures()  # Arrow cannot hold them: the rows are read one by one
    assert model.predict(named)["id"].to_pylist() == [f"r{i}" for i in range(ROWS)]
    frame.columns = ["label", "age", "age"]
    for use in (lambda: altuna.fit(frame, out=tmp_path / "other"), lambda: model.predict(frame)):
        with pytest.raises(UserError, match="DataFrame: column 'age' occurs twice"):
            use()
