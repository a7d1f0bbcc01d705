"""Lists of numbers that are written as text, and dates."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest

from altuna.data.formats.dates import calendar, date_format
from altuna.data.formats.lists import read_lists
from altuna.data.table.manifest import read_manifest


def column(*cells):
    return pa.chunked_array([pa.array(cells, pa.string())])


@pytest.mark.parametrize(
    ("cells", "lists"),
    [
        (("[0.1, -0.3]", "[1, 2]"), [[0.1, -0.3], [1, 2]]),
        (("[ 0.1 -0.3\n 5.]", "[1.  2.  .5]"), [[0.1, -0.3, 5], [1, 2, 0.5]]),
        (("(1, 2)", "(3, 4,)"), [[1, 2], [3, 4]]),
        (("1;2;3", "4;5;6"), [[1, 2, 3], [4, 5, 6]]),
        (("0,25;-1,5;3", "0,125;2,5"), [[0.25, -1.5, 3], [0.125, 2.5]]),
        (("12,30;14,35", "13,30;15,35"), [[12, 30, 14, 35], [13, 30, 15, 35]]),
        (("48.1, 11.5", "48.2, 11.6"), [[48.1, 11.5], [48.2, 11.6]]),
        (("0 1 2 3 4 5 6 07", "7 6 5 4 3 2 1 0"), [[*range(8)], [*range(7, -1, -1)]]),
        (("120/80", "118.5 / 75"), [[120, 80], [118.5, 75]]),
        (("[1, null]", "[nan, 2]"), [[1, None], [None, 2]]),
        (("[[1,2],[3,4]]", "[[1 2]\n [3 4]\n [5 6]]"), [[[1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]]]),
        (("[+1, -2e-3, 1.5E+3]", ""), [[1, -0.002, 1500], None]),
    ],
)
def test_read_as_lists(cells, lists):
    assert read_lists(column(*cells)).column.to_pylist() == lists


@pytest.mark.parametrize(
    "cells",
    [
        ("1 2 3", "3 4 5"),
        ("a;b", "c;d"),
        ("['a', 'b']",),
        ("[]", "[]"),
        ("(0, 3]", "(3, 6]"),
        ("[0.5, 3)", "[3, 6)"),
        ("12:30", "11:20"),
        ("03/2015", "11/2016"),
        ("1/2/2015", "3/4/2016"),
        ("[" * 100_000,),
        ("1" * 1_000_000,),
        ("[" + "1" * 1_000_000 + "x]",),
        ("I saw [3] owls",),
    ],
)
def test_stay_texts(cells):
    assert not read_lists(column(*cells)).found


def test_what_is_no_list_is_missing_and_named():
    lists = read_lists(column(*["[1, 2]"] * 19, "[1, [2]]"))
    assert lists.column[19].as_py() is None
    assert lists.problem == "row 20 is '[1, [2]]', no list of numbers: missing"


def test_arrays_that_numpy_cut_are_remarked_on():
    lists = read_lists(column(*[str(np.arange(5000) + i) for i in range(3)]))
    assert not lists.found
    assert "was cut when it was printed" in lists.problem


@pytest.mark.parametrize("write", [json.dumps, lambda v: str(np.array(v)), lambda v: ";".join(map(str, v))])
def test_a_table_of_written_lists_is_one_of_vectors(write, tmp_path):
    vectors = np.round(np.random.default_rng(0).normal(size=(20, 6)), 3).tolist()
    rows = "".join(f'{"ab"[i % 2]},"{write(v)}"\n' for i, v in enumerate(vectors))
    (tmp_path / "t.csv").write_text("label,emb\n" + rows)
    manifest = read_manifest(tmp_path / "t.csv")
    assert manifest.modalities["emb"].type == "vector"
    assert np.allclose(manifest.table["emb"].to_pylist(), vectors)


DAY = datetime.datetime(2021, 3, 14, 15, 9, 26)
LATER = datetime.datetime(1999, 12, 31, 1, 2, 3)


@pytest.mark.parametrize(
    "format",
    [
        *("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%b %d %Y", "%d %b %Y", "%b %d, %Y", "%Y%m%d"),
        *("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    ],
)
def test_dates(format):
    cells = column(DAY.strftime(format), None, LATER.strftime(format))
    found, remark = date_format(cells)
    assert (found, remark) == (format, "")
    parts = calendar(cells, found)
    assert np.isnan(parts[1]).all()
    for part, day in ((parts[0], DAY), (parts[2], LATER)):
        hours = (day.hour + day.minute / 60) if "%H" in format else 0
        hours += day.second / 3600 if "%S" in format else 0
        assert np.allclose(part[1:], [day.year, day.month, day.day, day.weekday(), hours])
        whole = (datetime.datetime(day.year, day.month, day.day) - datetime.datetime(1970, 1, 1)).days
        assert int(part[0]) == whole


def test_whole_names_of_months():
    cells = column("14 March 2021", "1 May 1999")
    assert date_format(cells) == ("%d %b %Y", "")
    assert calendar(cells, "%d %b %Y")[:, 2].tolist() == [3, 5]


def test_fractions_and_zones_are_cut_off():
    cells = column("2024-01-02T03:04:05.123Z", "2024-01-02T03:04:05+02:00")
    assert date_format(cells) == ("%Y-%m-%dT%H:%M:%S", "")
    assert calendar(cells, "%Y-%m-%dT%H:%M:%S")[:, -1].astype(int).tolist() == [3, 3]


@pytest.mark.parametrize("cells", [("12:30", "11:20"), ("1,2", "3,4"), ("2020", "2021"), ("owl", "cat")])
def test_are_no_dates(cells):
    assert date_format(column(*cells)) is None


def test_a_date_of_another_format_is_named():
    found, remark = date_format(column(*["2020-01-01"] * 19, "01/02/2020"))
    assert found == "%Y-%m-%d"
    assert remark == "row 20 is '01/02/2020', no date like the others: missing"


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (("03/2015", "11/2016"), ("2015-03-01", "2016-11-01")),
        (("02 28, 2014", "11 3, 2015"), ("2014-02-28", "2015-11-03")),
        (("Tue Mar 05 10:20:30 +0000 2013", "Wed Mar 06 23:00:00 +0000 2013"), ("2013-03-05", "2013-03-06")),
        (("1/31/2024 2:30 PM", "2/1/2024 12:05 AM"), ("2024-01-31", "2024-02-01")),
        (
            ("2001-02-03", "2004", "2005-06", "2005-06-07"),
            ("2001-02-03", "2004-01-01", "2005-06-01", "2005-06-07"),
        ),
        (("-", "2001-02-03", "N/A", "2004-05-06"), (None, "2001-02-03", None, "2004-05-06")),
        (
            ("at once", "1.2.2020", "at once", "3.4.2021", "5.6.2022"),
            (None, "2020-02-01", None, "2021-04-03", "2022-06-05"),
        ),
    ],
)
def test_dates_as_people_write_them(cells, days):
    format, _ = date_format(column(*cells))
    found = calendar(column(*cells), format)[:, 0]
    right = [np.nan if day is None else np.datetime64(day).astype(float) for day in days]
    assert np.array_equal(np.floor(found), right, equal_nan=True)


def test_two_words_among_dates_are_no_missing_ones():
    assert date_format(column("now", "1.2.2020", "later", "3.4.2021", "5.6.2022")) is None


@pytest.mark.parametrize(
    "text",
    [
        "tensor([0.5, 2.0])",
        "tensor([0.5, 2.0], device='cuda:0', grad_fn=<AddBackward0>)",
        "array([0.5, 2. ], dtype=float32)",
        "[np.float64(0.5), np.float64(2.0)]",
        "{0.5,2}",
    ],
)
def test_lists_as_other_programs_print_them(text):
    assert read_lists(pa.chunked_array([[text] * 3])).column.to_pylist() == [[0.5, 2.0]] * 3


def test_sets_of_words_are_texts():
    assert not read_lists(pa.chunked_array([['{"Wifi","TV"}', "{a, b}"] * 5])).found


@pytest.mark.parametrize("cell", ["[" * 100_000 + "1" + "]" * 100_000, "[1" + "0" * 5000 + ", 2]"])
def test_lists_that_nothing_can_hold_are_none(cell):
    assert read_lists(column("[1, 2]", "[3, 4]", cell)).column[2].as_py() in (None, cell)
