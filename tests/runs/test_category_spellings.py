"""A category is the same one in every spelling, whichever rows stand beside it: tables, frames, records."""

import csv

import numpy as np
import pyarrow as pa
import pytest

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


def test_a_column_that_can_have_no_categories_is_missing_with_a_line(model, capsys):
    found = chances(model, pa.table({"code": [["red"], None], "age": [3, 3]}))
    assert found[0] == pytest.approx(found[1])
    assert "code: missing, as they are no categories: 1 cells" in capsys.readouterr().err
