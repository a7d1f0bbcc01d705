"""How numbers are written in training holds for new data, in whatever form these come."""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from described import described, numbers_of, written

from altuna.errors import UserError
from altuna.runs.data import open_manifest
from altuna.runs.records import Fields


def trained(folder, cells):
    return described(written(folder / "train.csv", {"label": ["a", "b"] * (len(cells) // 2), "x": cells}))


GERMAN = ["1.234", "2.345,5", "1,5", "900", "3.000", "7,25"] * 4


def test_numbers_that_arrow_knows_are_read_as_in_training(tmp_path):
    description = trained(tmp_path, GERMAN)
    new = written(tmp_path / "new.csv", {"x": ["1.234", "7", "3.000"]})
    assert numbers_of(description, new)[0] == [1234, 7, 3000]
    new.write_text("X \n1.234\n7\n")  # another name
    assert numbers_of(description, new)[0] == [1234, 7]
    frame = pa.table({"x": ["1.234", "7", None]})
    assert numbers_of(description, new, table=frame)[0] == [1234, 7, None]


def test_numbers_in_python_and_parquet_stay_as_they_are(tmp_path):
    description = trained(tmp_path, GERMAN)
    assert numbers_of(description, tmp_path / "x.csv", table=pa.table({"x": [1.234, 7.0]}))[
        0
    ] == pytest.approx([1.234, 7])
    path = tmp_path / "new.jsonl"
    path.write_text('{"x": 1.234}\n{"x": "1.234"}\n{"x": "2,5"}\n')
    assert numbers_of(description, path)[0] == pytest.approx([1.234, 1234, 2.5])


def test_records_are_read_as_in_training(tmp_path):
    description = trained(tmp_path, GERMAN)
    fields = Fields(description.readers, description.columns, formats=description.formats)
    given = {"1.234": 1234, "2,5": 2.5, "7": 7, 1.234: 1.234}
    for value, number in given.items():
        assert fields.cells({"x": value}, "sample 0") == {"t": {"x": number}}
    with pytest.raises(UserError, match=r"sample 3, column 'x': '2.5' is no number like '1.234,5'"):
        fields.cells({"t": {"x": "2.5"}}, "sample 3")


def test_numbers_without_a_unit_have_a_remark(tmp_path):
    description = trained(tmp_path, [f"{i} min" for i in range(20)])
    found, notes = numbers_of(description, tmp_path / "f", table=pa.table({"x": [3, 4]}))
    assert found == [3, 4]
    assert "numbers without a unit, read in that of training: x (min)" in notes
    fields = Fields(description.readers, description.columns, formats=description.formats)
    assert fields.cells({"x": 3}, "sample 0") == {"t": {"x": 3}}
    assert fields.notes == ["numbers of 'x' are read in 'min', as in training"]


def test_durations_are_seconds_in_whatever_form(tmp_path):
    description = trained(tmp_path, ["2h 15min", "40 min", "3 h", "1 h 1 min"] * 5)
    hours = [timedelta(hours=2), timedelta(minutes=40), None]
    for unit in ("s", "ms", "ns"):
        frame = pa.table({"x": pa.array(hours, pa.duration(unit))})
        assert numbers_of(description, tmp_path / "f", table=frame)[0] == [7200, 2400, None]
    fields = Fields(description.readers, description.columns, formats=description.formats)
    assert fields.cells({"x": hours[1]}, "sample 0") == {"t": {"x": 2400}}


TIMES = [datetime(2000 + i, 1 + i % 12, 1 + 3 * i % 28, i % 24, 5, 7) for i in range(24)]
WRITTEN = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S")
TYPES = [pa.date32(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", tz="UTC")]
LABELS = ["a", "b"] * 12


def days_of(description, path, table=None):
    manifest = open_manifest(description, path, table=table)
    values, notes = description.readers["t"].encode(manifest.table)
    return [*values[:, 0]], [*map(str, notes)]


def days(times):
    return [float((time.date() - date(1970, 1, 1)).days) for time in times]


@pytest.mark.parametrize("form", WRITTEN)
def test_dates_are_the_same_as_texts_and_as_times(form, tmp_path):
    texts = [time.strftime(form) for time in TIMES]
    as_text = described(written(tmp_path / "train.csv", {"label": LABELS, "x": texts}))
    for kind in TYPES:
        frame = pa.table({"label": LABELS, "x": pa.array(TIMES, pa.timestamp("us")).cast(kind)})
        found, notes = days_of(as_text, tmp_path / "frame", frame)
        assert np.floor(found).tolist() == days(TIMES)
        assert notes == []
        as_times = described(tmp_path / "frame", frame)
        new = written(tmp_path / "new.csv", {"x": texts, "y": LABELS})
        assert np.floor(days_of(as_times, new)[0]).tolist() == days(TIMES)
    for value in (TIMES[5], TIMES[5].date(), np.datetime64(TIMES[5])):
        cell = Fields(as_text.readers, as_text.columns).cells({"x": value}, "sample 0")["t"]
        assert np.floor(as_text.readers["t"].read(cell)[0]) == days(TIMES)[5]


def test_dates_that_may_mean_two_days_are_missing_and_named(tmp_path):
    description = described(written(tmp_path / "train.csv", {"label": LABELS, "x": TIMES}))
    found, notes = days_of(description, written(tmp_path / "new.csv", {"x": ["1/2/2024", "3/4/2024"]}))
    assert np.isnan(found).all()
    assert notes == [
        "x: missing, as they are no dates like %Y-%m-%d %H:%M:%S: 2 cells, the first is '1/2/2024'"
    ]
    found, notes = days_of(description, written(tmp_path / "new.csv", {"x": ["1/2/2024", "3/14/2024"]}))
    assert found == days([datetime(2024, 1, 2), datetime(2024, 3, 14)])
    assert notes == ["x: dates are read as %m/%d/%Y, unlike in training: 2, such as '1/2/2024'"]
    found, notes = days_of(
        description, written(tmp_path / "new.csv", {"x": ["2024-01-02", "NA", "3/14/2024"]})
    )
    assert np.isnan(found).tolist() == [False, True, True]
