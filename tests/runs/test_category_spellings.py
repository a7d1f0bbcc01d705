"""A category is the same one in every spelling, whichever rows stand beside it: tables, frames, records."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import altuna
from altuna.errors import UserError

SPELLINGS = (1, 1.0, "1", "1.0", " 1.0 ", True, "True", "TRUE", np.float32(1), np.int64(1), np.True_)


def write(path, codes):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["code", "age", "label"], *codes])
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The label is the code: 1 or 2; some rows have other spellings, and some other codes."""
    folder = tmp_path_factory.mktemp("codes")
    codes = [["1", "1.0", "2", "2.0", "2.5", "red"][i % 6] for i in range(120)]
    rows = [[code, i % 7, "one" if code[0] == "1" else "two"] for i, code in enumerate(codes)]
    options = {"types": {"code": "category"}, "epochs": 5, "report": False, "quiet": True}
    return altuna.load(altuna.fit(write(folder / "t.csv", rows), out=folder / "run", **options))


def chances(model, data):
    return model.predict(data)["p_one"].to_pylist()


@pytest.fixture(scope="module")
def wanted(model):
    one, two, new = chances(model, [{"code": code, "age": 3} for code in ("1", "2", "pink")])
    assert len({round(p, 4) for p in (one, two, new)}) == 3
    return one


def test_categories_are_listed_once(model):
    assert model.description.readers["tabular"].categories == (("code", ("1", "2", "2.5", "red")),)


@pytest.mark.parametrize("code", SPELLINGS, ids=lambda code: f"{type(code).__name__} {code}")
@pytest.mark.parametrize("beside", [(), (2.5,), ("red",)], ids=["alone", "beside 2.5", "beside red"])
def test_records(code, beside, model, wanted):
    found = chances(model, [{"code": code, "age": 3} for code in (code, *beside)])
    assert found[0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "codes",
    [[1, 2], [1.0, 2.0], [1.0, 2.5], [1.0, None], ["1", "2"], ["1.0", "red"], ["1.0", "2.0"], [True, False]],
    ids=str,
)
def test_frames_and_csv(codes, model, wanted, tmp_path):
    frame = pa.table({"code": codes, "age": [3, 3]})
    assert chances(model, frame)[0] == pytest.approx(wanted, abs=1e-6)
    path = write(tmp_path / "new.csv", [["" if code is None else code, 3, "one"] for code in codes])
    assert chances(model, path)[0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "code", [["red"], ("red",), {"a": "red"}, b"red", np.array(["red"])], ids=lambda code: type(code).__name__
)
def test_what_can_be_no_category_is_refused(code, model):
    with pytest.raises(UserError, match=r"column 'code': .*red.* is not a category or a date"):
        model.predict([{"code": code, "age": 3}])


ODD = [
    1j,
    [None],
    {},
    {1},
    b"",
    bytearray(b"3"),
    memoryview(b"3"),
    range(2),
    object(),
    lambda: 1,
    "\ud800",
]
ODD += [10**5000, np.zeros((2, 2)), np.array([object()]), Image.new("RGB", (2, 2))]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("column", ["code", "age"])
def test_odd_values_are_refused_in_one_line(value, column, model):
    """Their texts may be long, and objects without one have an address."""
    other = {"age": 3} if column == "code" else {"code": "1"}
    with pytest.raises(UserError) as caught:
        model.predict([{**other, column: value}])
    line = str(caught.value)
    assert f"column {column!r}" in line or "too large or infinite" in line
    assert len(line.splitlines()) == 1
    assert len(line) < 300
    assert "0x" not in line


def test_a_column_that_can_have_no_categories_is_missing_with_a_line(model, capsys):
    found = chances(model, pa.table({"code": [["red"], None], "age": [3, 3]}))
    assert found[0] == pytest.approx(found[1])
    assert "code: missing, as they are no categories: 1 cells" in capsys.readouterr().err
