"""How numbers are written in training holds for new data, in whatever form these come."""

from datetime import timedelta

import pyarrow as pa
import pytest
from described import described, numbers_of, written

from altuna.errors import UserError
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
