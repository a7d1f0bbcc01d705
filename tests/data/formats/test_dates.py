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


WORDED = {  # each way to write the same two days
    "german": ("3. März 2020", "21. Dezember 2021"),
    "french": ("3 mars 2020", "21 décembre 2021"),
    "spanish": ("3 de marzo de 2020", "21 de Diciembre de 2021"),
    "japanese": ("2020年3月3日", "2021年12月21日"),
    "korean": ("2020. 3. 3.", "2021. 12. 21."),
    "ordinal": ("March 3rd, 2020", "December 21st, 2021"),
    "weekday": ("Tuesday, March 03, 2020", "Tuesday, December 21, 2021"),
    "repr": ("datetime.datetime(2020, 3, 3, 0, 0)", "datetime.datetime(2021, 12, 21, 0, 0)"),
    "apache": ("[03/Mar/2020:00:00:00 +0000]", "[21/Dec/2021:00:00:00 +0000]"),
    "time": ("Tuesday, 03 March 2020, 12:00 AM", "Tuesday, 21 December 2021, 12:00 AM"),
}


@pytest.mark.parametrize("form", WORDED)
def test_dates_with_words(form):
    """They are read as the same days, in training and one at a time in a prediction."""
    cells = column(*WORDED[form], None)
    format, remark = date_format(cells)
    assert not remark
    wanted = calendar(column("2020-03-03", "2021-12-21", None), "%Y-%m-%d")
    np.testing.assert_array_equal(calendar(cells, format), wanted)
    np.testing.assert_array_equal(calendar(column(WORDED[form][1]), format), wanted[1:2])


@pytest.mark.parametrize(("cells", "month"), [(["2020Q3", "2021Q1"], 7), (["Q3 2020"], 7), (["2020m11"], 11)])
def test_quarters_and_months_are_their_first_days(cells, month):
    format, _ = date_format(column(*cells))
    assert calendar(column(*cells), format)[0, 1:4].tolist() == [2020, month, 1]


@pytest.mark.parametrize(
    "cells",
    [
        ["Toy Story 1995", "Heat 1995"],
        ["3 owls in 2020", "4 owls in May 2021"],
        ["Room 12, Monday", "Room 3, Sunday"],
        ["Q1 results 2020", "Q2 results 2021"],
    ],
)
def test_other_texts_with_years_are_no_dates(cells):
    assert date_format(column(*cells)) is None


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
