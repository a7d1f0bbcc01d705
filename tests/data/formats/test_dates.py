"""Texts that only resemble dates are none, and dates of several formats have a remark."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from altuna.data.formats.dates import DAYS, calendar, date_format, mixed_dates, other_format
from altuna.data.table.manifest import read_manifest


def column(*cells):
    return pa.chunked_array([pa.array([*cells])])


@pytest.mark.parametrize(
    ("cells", "format"),
    [
        (["2.2.1", "9.9.8", "1.10.3"], None),
        (["2.2.10", "9.9.18", "1.10.13"], None),  # versions, or dates without a zero
        (["02.02.10", "09.09.18"], "%d.%m.%y"),
        (["2.2.10", "30.9.18", "1.10.13"], "%d.%m.%y"),
        (["1/2/20", "3/14/21"], "%m/%d/%y"),
        (["1/2/2", "3/14/1"], None),
    ],
)
def test_years_of_two_digits(cells, format):
    assert (date_format(column(*cells)) or (None,))[0] == format


@pytest.mark.parametrize("repeats", [1, 25])
def test_dates_of_two_formats_have_a_remark(repeats, tmp_path):
    days = [d for i in range(1, 29) for d in (f"2024-01-{i:02}", f"{i:02}.03.2024")]
    days = (days if repeats == 1 else days[:2]) * repeats
    path = tmp_path / "t.csv"
    path.write_text(
        "label,born,x\n" + "".join(f"{'ab'[i % 3 > 0]},{d},{i / 8}\n" for i, d in enumerate(days))
    )
    (note,) = [note for note in read_manifest(path).notes if "'born'" in note]
    assert "row 2 is '01.03.2024', though" in note
    assert f"{len(days) // 2} of {len(days)} cells are dates like '2024-01-01'" in note


@pytest.mark.parametrize(
    "cells", [["2015", "2016"], ["an owl", "2024-01-01"], ["2.2.1", "3.4.5"], ["10-12", "3-4"], ["a1", "b2"]]
)
def test_other_texts_have_none(cells):
    assert mixed_dates(column(*cells)) == ""


@pytest.mark.parametrize(("text", "day"), [("Aug 2017", "2017-08-01"), ("Aug 20, 2017", "2017-08-20")])
def test_a_year_is_no_day_of_a_month(text, day):
    column = pa.chunked_array([[text, text.replace("2017", "2016")]])
    format, _ = date_format(column)
    assert calendar(column, format)[0, 0] == np.datetime64(day).astype(int)


@pytest.mark.parametrize("format", [f"{day} %H:%M" for day in DAYS if "%d" in day])
def test_a_day_that_a_month_has_not_is_none(format):
    for there in ("2023-01-31", "2023-03-02", "2024-02-29"):
        text = datetime.fromisoformat(there).strftime(format)
        assert np.isfinite(calendar(column(text), format)[0, 0]), text
    for there, absent in (("2023-03-03", "31"), ("2024-06-15", "31"), ("2023-02-15", "29")):
        text = datetime.fromisoformat(there).replace(month=2).strftime(format.replace("%d", absent))
        assert np.isnan(calendar(column(text), format)[0, 0]), text


def test_months_of_six_digits_are_no_days():
    assert other_format(column("20241202", "20241103")) == "%Y%m%d"
    assert other_format(column("202412", "202411")) is None
    assert date_format(column("202412", "202411")) is None
