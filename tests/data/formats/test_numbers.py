"""Numbers as people write them: read as numbers, or named."""

import numpy as np
import pyarrow as pa
import pytest

from altuna.data.formats.numbers import NumberFormat, read_known, read_numbers
from altuna.data.formats.styles import STYLES, parse_style
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError


def column(*cells):
    return pa.chunked_array([pa.array(cells, pa.string())])


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("3.5", " 7 ", "-1e3", ".5", "+2."), (3.5, 7, -1000, 0.5, 2)),
        (("4,215", "24,402", "5,1"), (4.215, 24.402, 5.1)),
        (("4,215", "1,024,000"), (4215, 1024000)),
        (("1.234,5", "7"), (1234.5, 7)),
        (("1 234", "12 345 678,5"), (1234, 12345678.5)),
        (("1\u202f234", "5"), (1234, 5)),
        (("1'234.5", "2"), (1234.5, 2)),
        (("$1,200.50", "$7", "($3)"), (1200.5, 7, -3)),
        (("3,50 €", "12,00 €"), (3.5, 12)),
        (("USD 12", "USD -3"), (12, -3)),
        (("12 %", "3.5%"), (12, 3.5)),
        (("21 °C", "-3 °C"), (21, -3)),
        (("12 km/h", "3 km/h"), (12, 3)),
        (("10,000+", "500+"), (10000, 500)),
        (("\u22125", "3"), (-5, 3)),
        (("12:30", "1:02:03"), (750, 3723)),
        (("1h 5min", "40 min", "2 h"), (3900, 2400, 7200)),
        (("5 ft 3", "6'1\""), (63, 73)),
        (("2.5M", "10k", "3"), (2.5e6, 1e4, 3)),
        (("<0.2 U/l", "<0.2 U/l", "4 U/l"), (0.2, 0.2, 4)),
        ((">60", ">60", "42"), (60, 60, 42)),
        (("70 kW (95 PS)", "110 kW (150 PS)"), (70, 110)),
        (("700 sq ft", "1,250 sq ft"), (700, 1250)),
        (("$90/mo", "$1,100/mo"), (90, 1100)),
        (("6,1 l/100 km", "7 l/100 km"), (6.1, 7)),
        (("0,3 W/(m²·K)", "1,1 W/(m²·K)"), (0.3, 1.1)),
    ],
)
def test_read_as_numbers(cells, numbers):
    assert read_numbers(column(*cells)).column.to_pylist() == list(numbers)


@pytest.mark.parametrize(
    "cells",
    [
        ("A12", "A13"),
        ("12A", "13B", "14C"),
        ("1.2.3", "2.3.4"),
        ("2020-01-01", "2021-02-02"),
        ("48.1, 11.5", "48.2, 11.6"),
        ("555-1234", "555-1235"),
        ("0.npy", "1.npy"),
        ("0.png", "1.png"),
        ("a 3", "b 4"),
        ("x" * 1_000_000,),
        ("1," * 500_000,),
    ],
)
def test_stay_texts(cells):
    assert read_numbers(column(*cells)).format is None


def test_one_word_among_numbers_is_a_missing_one():
    """However many cells have it; but not among so few numbers that all may be categories."""
    read = read_numbers(column(*map(str, range(20)), *["on request"] * 10))
    assert read.column.to_pylist() == [*range(20), *[None] * 10]
    assert read.words == {"on request": 10}
    assert read.problem == ""
    assert read_numbers(column(*"12345" * 4, *["top"] * 10)).format is None
    assert read_numbers(column(*map(str, range(20)), *["high", "low"] * 5)).format is None


def test_whole_numbers_that_start_with_0_and_repeat_are_codes(tmp_path):
    assert read_numbers(column(*["01067", "10115"] * 5)).format is None
    assert read_numbers(column(*(f"{i:04}" for i in range(20)))).column.to_pylist() == [*range(20)]
    path = tmp_path / "t.csv"
    path.write_text("label,plz,x\n" + "a,01067,1\nb,10115,2\n" * 20)
    manifest = read_manifest(path)
    assert manifest.table["plz"][0].as_py() == "01067"
    assert manifest.modalities["tabular"].kinds == ("category", "number")


@pytest.mark.parametrize("style", STYLES)
def test_no_style_reads_what_is_no_number(style):
    cells = pa.array(["", " ", "hoot", "12A", "1.2.3", None])
    assert parse_style(cells, style).null_count == len(cells)


def test_a_single_mistake_is_missing_and_named():
    read = read_numbers(column(*["1.5"] * 20, ">30"))
    assert read.column.to_pylist() == [*[1.5] * 20, None]
    assert read.problem == "row 21 is '>30', no number: missing; the other 20 cells are numbers"


def test_many_mistakes_make_a_text_that_is_remarked_on():
    read = read_numbers(column("1", "2", "high", "3"))
    assert read.format is None
    assert read.problem == "row 3 is 'high'; it is read as text, though 3 of 4 cells are numbers"


def test_the_format_of_training_decides():
    """One row alone cannot tell whether 4,215 has decimals."""
    assert read_numbers(column("4,215")).column.to_pylist() == [4215]
    assert read_known(column("4,215"), NumberFormat(decimal=",", groups=".")).column.to_pylist() == [4.215]


@pytest.mark.parametrize(
    ("known", "cells", "numbers"),
    [
        ({"suffix": "kg"}, ("72 kg", "20000 g", "0.1 t", "65"), (72, None, None, 65)),
        ({"suffix": "kg"}, ("20000 g", "3000 g"), (None, None)),
        ({}, ("45", "45 lb"), (45, None)),
        ({"prefix": "$", "groups": ","}, ("$1,200", "€1,200", "1,200 CHF"), (1200, None, None)),
        ({"suffix": "%"}, ("5 %", "5 ‰"), (5, None)),
        ({"style": "clock"}, ("3:45", "2h 15min", "40"), (225, None, None)),
        ({"style": "clock_ms"}, ("8:30", "8:30:00"), (510, None)),
        ({"style": "clock_hms"}, ("8:30", "8:30:00"), (None, 30_600)),
        ({"style": "duration"}, ("2h", "3:45"), (7200, None)),
        ({"style": "multiples"}, ("1.2M", "1.2 MB", "7"), (1.2e6, None, 7)),
        ({"prefix": "$", "style": "multiples"}, ("$1.2M", "€1.2M", "3k"), (1.2e6, None, 3e3)),
        ({}, ("12", "<5"), (12, None)),
        ({"suffix": "kg"}, ("0 kg", "0"), (0, 0)),
        ({}, ("12", "5K"), (12, None)),
        ({"decimal": ",", "groups": "."}, ("1.234", "2,5"), (1234, 2.5)),
        ({"decimal": ",", "groups": "."}, ("1.234", "2.5"), (1.234, 2.5)),  # no cell is as in training
        ({"decimal": ",", "groups": "."}, ("1.234", "2.5", "3,5"), (1234, None, 3.5)),
        ({}, ("1,234",), (None,)),  # 1234 or 1.234
        ({}, ("1,234", "900.50"), (1234, 900.5)),
        ({}, ("1.234", "2,5"), (1234, 2.5)),
        ({"missing": (-999.0,), "suffix": "kg"}, ("-999", "-999 kg", "3 kg"), (None, None, 3)),
    ],
)
def test_with_a_known_format_no_cell_is_read_on_another_scale(known, cells, numbers):
    format = NumberFormat(**known)
    read = read_known(column(*cells), format)
    column_read = read.column if read.format else format.parse(read.column)
    assert column_read.to_pylist() == [*numbers]
    sentinel = any(cell.startswith("-999") for cell in cells)
    if None in numbers and not sentinel:
        place = numbers.index(None)
        assert f"row {place + 1} is {cells[place]!r}, no number like {format.sample!r}" in read.problem
    assert NumberFormat(**known).parse(column(format.sample)).null_count == 0


def test_numbers_without_the_unit_of_training_have_a_remark():
    problem = read_known(column("0.5", "0.7"), NumberFormat(suffix="%")).problem
    assert problem.startswith("row 1 is '0.5': 2 numbers have no '%', which those of training have")
    problem = read_known(column("1.234", "2.5"), NumberFormat(decimal=",", groups=".")).problem
    assert problem.startswith("row 1 is '1.234', read as 1.234: the column is not written as in training")


def test_other_columns_tell_what_a_comma_is(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,size,weight,more\n" + 'a,"4,215","3,5",1\nb,"5,225","4,75",2\n' * 12)
    table = read_manifest(path).table
    assert table["size"][0].as_py() == 4.215
    assert table["weight"][0].as_py() == 3.5


@pytest.mark.parametrize("cell", ["NA", "nan", "#DIV/0!", "n.a.", "?"])
def test_words_for_a_missing_number_are_counted(cell, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,x,y\n" + f"a,1.5,2\nb,{cell},3\n" * 3)
    manifest = read_manifest(path)
    assert manifest.table["x"].null_count == 3
    assert any(note.endswith(" in x (3)") and cell.lower() in note.lower() for note in manifest.notes)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([3, 4, -999, 5, -999], {-999}),
        ([3.5, 4, -999999, 5], {-999999}),
        ([20, 21, 9999, 22, 9999], {9999}),
        ([-20, 35, -999, 0], set()),  # once, and not the only negative number
        ([97, 98, 99, 99], set()),
        ([1, 2, 3, 10], set()),
        ([0, 1, -1, -1], set()),
        ([98, 99] * 8, set()),
        ([99, 100] * 8, set()),
        ([0, -99] * 8, set()),
        ([99, 100, 100.1, 100.2, 99], set()),  # near, for numbers of this size
        ([0.5, -3.4028234663852886e38, 1.5, 2.5], {-3.4028234663852886e38}),
    ],
)
def test_sentinels_are_missing_where_they_are_unmistakable(values, missing, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,x,y\n" + "".join(f"{'ab'[i % 2]},{v},{i}\n" for i, v in enumerate(values)))
    manifest = read_manifest(path)
    kept = [None if value in missing else value for value in values]
    assert manifest.table["x"].to_pylist() == kept
    assert any("read as missing" in note for note in manifest.notes) == bool(missing)


def test_a_stated_number_that_is_none_is_an_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,x\na,1\nb,low\na,2\nb,high\n")
    with pytest.raises(UserError, match=r"t\.csv, row 2, column 'x': 'low': is not a number"):
        read_manifest(path, types={"x": "number"})


def test_multiples_beside_plain_numbers():
    assert read_numbers(column("5.1M", "131000", "2.5M", "131,000")).column.to_pylist() == [
        5_100_000,
        131_000,
        2_500_000,
        131_000,
    ]
    cells = [*[f"{i}.5M" for i in range(92)], *["157K"] * 8]
    assert read_numbers(column(*cells)).column.to_pylist()[-9:] == [91_500_000, *[157_000] * 8]


@pytest.mark.parametrize(("with_unit", "unit"), [("31%", "%"), ("51 kg", "kg")])
@pytest.mark.parametrize("lacking", [3, 7])
def test_units_on_a_part_of_the_cells_have_a_remark(with_unit, unit, lacking):
    read = read_numbers(column("0", *["0.47"] * lacking, *[with_unit] * (10 - lacking)))
    assert read.column.to_pylist()[:2] == [0, 0.47]
    assert read.column.null_count == 0
    assert f"row 2 is '0.47': {lacking} numbers have no {unit!r}" in read.problem
    assert not read_numbers(column("0", *[with_unit] * 10)).problem


def test_against_numbers_that_python_formats():
    rng = np.random.default_rng(0)
    numbers = np.round(rng.normal(0, 10**4, 500), 2)
    for text in ("{:,.2f}", "{:.2f}", "{:.2f} kg", "${:,.2f}", "{:e}"):
        cells = [text.format(number).replace("$-", "-$") for number in numbers]
        read = read_numbers(column(*cells)).column.to_pylist()
        assert np.allclose(read, numbers, rtol=1e-6)
    german = [f"{n:,.2f}".translate(str.maketrans(",.", ".,")) for n in numbers]
    assert np.allclose(read_numbers(column(*german)).column.to_pylist(), numbers)


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (("3.5-", "2"), (-3.5, 2)),  # as SAP writes
        (("'3.5", "2"), (3.5, 2)),  # as Excel marks texts
        (("$-5", "$3"), (-5, 3)),
        (("\uff12.\uff15", "\uff13"), (2.5, 3)),
        (("\u0662\u066b\u0665", "\u0663"), (2.5, 3)),
    ],
)
def test_further_ways_to_write_numbers(cells, wanted):
    assert read_numbers(column(*cells)).column.to_pylist() == [*wanted]


def test_a_column_of_words_for_a_missing_number_is_one_of_numbers():
    read = read_known(column("NA", "", None, "?"), NumberFormat())
    assert read.column.type == pa.float64()
    assert read.column.null_count == 4
    assert read.problem == ""
    assert read.words == {"NA": 1, "?": 1}


def test_how_many_parts_a_clock_has_is_told_by_the_whole_column():
    assert read_numbers(column("8:30", "9:45")).format.style == "clock_ms"
    assert read_numbers(column("8:30:00", "9:45:00")).format.style == "clock_hms"
    assert read_numbers(column("59:30", "1:02:03")).format.style == "clock"
    assert read_numbers(column(*[f"{i}:30" for i in range(50)], "1:02:03")).format.style == "clock"
    rare = [f"{i % 60}:30" for i in range(5000)]
    rare[-2] = "1:02:03"  # beyond the cells that are looked at first
    read = read_numbers(column(*rare))
    assert read.format.style == "clock"
    assert read.column.null_count == 0
