"""The scripts of an export read numbers and dates as they were written in training."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from altuna.data.formats import dates as date_formats
from altuna.data.formats.date_words import SPELLINGS
from altuna.data.formats.numbers import MISSING, NumberFormat
from altuna.data.formats.styles import STYLES
from altuna.data.readers import READERS
from altuna.data.readers.base import BadCellError
from altuna.errors import UserError
from altuna.export import export as exporting
from altuna.export.export import script_format
from altuna.runs.records import Fields

SCRIPTS = Path(exporting.__file__).parent / "scripts"
COLUMNS = runpy.run_path(str(SCRIPTS / "columns.py"))
READ = runpy.run_path(str(SCRIPTS / "readers.py"))["READERS"]
FORMATS = [
    *({}, {"missing": (-999.0,)}, {"decimal": ",", "groups": "."}, {"decimal": ","}, {"groups": ","}),
    *({"groups": " "}, {"groups": "'"}, {"decimal": ",", "groups": " "}, {"bounds": True}),
    *({"prefix": "$", "groups": ","}, {"prefix": "USD"}, {"suffix": "%"}, {"suffix": "kg", "decimal": ","}),
    *(
        {"suffix": "W/(m²·K)"},
        {"suffix": "kW", "bounds": True},
        {"suffix": "€", "groups": ".", "decimal": ","},
    ),
    *({"style": style} for style in STYLES),
    {"style": "multiples", "prefix": "$"},
]
CELLS = [
    *("1", "1.5", "1,5", "1.234", "1,234", "1.234,5", "1,234.5", "1 234", "1\u202f234,5", "1'234.5", "1’234"),
    *(
        "-999",
        "-999,0",
        "-999 kg",
        "+3",
        "\u22125",
        "5-",
        "'5",
        "(5)",
        "($5)",
        "$-5",
        "-$5",
        "$ 5",
        "$1,200.50",
    ),
    *("€5", "USD 5", "5 %", "5%", "5 ‰", "12 kg", "12kg", "12,5 kg", "12 g", "45 lb", "-5 %", "1,5 €"),
    *("0,3 W/(m²·K)", "110 kW (150 PS)", "150 PS (110 kW)", "<0.5", "< 5 kW", ">=3", "≤ 2", "1e3", "1E-2 kg"),
    *("3:45", "1:02:03", "75:00", "2h 15min", "2h", "40 min", "40 MIN", "5'11\"", "6 ft", "5 ft 3 in"),
    *("1.2M", "$1.2M", "€1.2M", "7k", "7 K+", "3 MB", "3 MiB", "500 B", "1,200 KB", "2.5"),
    *(
        "NA",
        "n/a",
        "-",
        "tbd",
        "?",
        "",
        " ",
        "hoot",
        "12 kg and more",
        "1.2.3",
        "--5",
        "1_000",
        ".5",
        "5.",
        "0x1F",
    ),
    *("\uff12.\uff15", "\u0662\u066b\u0665", "12\u00a0kg", "1/2", "inf", "1e999", "007", "12\n", "1 2"),
    *(1, -999, -999.0, 2.5, True, None, 10**30),
]


def taken(read, *given, **formats):
    """Return what is read as a text, "no" for what is refused or not understood."""
    try:
        return str(read(*given, **formats))
    except (UserError, BadCellError, ValueError):
        return "no"


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_numbers_are_read_as_by_the_model(format):
    known = NumberFormat(**format)
    reader = READERS["tabular"]((("x", 10.0), ("y", 0.0)))
    fields = Fields({"t": reader}, {"t": ("x", "y")}, formats={"x": known})
    exported = json.loads(json.dumps(script_format(known)))
    for cell in CELLS:
        given = {"x": cell, "y": 3}
        mine = taken(lambda record: reader.read(fields.cells(record, "")["t"]), {"t": given})
        theirs = taken(READ["tabular"], json.dumps(given), reader.numbers, formats={"x": exported})
        assert mine == theirs, (cell, exported)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_numbers_of_vectors_are_read_as_by_the_model(format):
    known = NumberFormat(**format)
    reader = READERS["vector"](2)
    fields = Fields({"v": reader}, {"v": ("x", "y")}, formats={"x": known})
    exported = [json.loads(json.dumps(script_format(known))), {}]
    for cell in (c for c in CELLS if isinstance(c, str) and c.strip() and c != "inf" and "\n" not in c):
        mine = taken(lambda record: reader.read(fields.cells(record, "")["v"]), {"x": cell, "y": 3})
        theirs = taken(READ["vector"], f"{cell}; 3", 2, formats=exported)
        if known != NumberFormat():
            assert mine == theirs, (cell, exported)
    single = Fields({"v": READERS["vector"](1)}, {"v": ("x",)}, formats={"x": known})
    mine = READERS["vector"](1).read(single.cells({"v": known.sample}, "")["v"])
    assert mine == READ["vector"](known.sample, 1, formats=exported[:1])


@pytest.mark.parametrize(
    "format", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y %I:%M %p", "%d %b %Y", "%Y-%m-%d %H:%M:%S"]
)
def test_dates_are_read_as_by_the_model(format):
    reader = READERS["tabular"]((("y", 0.0),), (("x", format),))
    for cell in (
        *("2024-02-03", "2024-02", "2024", "03.02.2024", "3.2.2024 12:30", "3.2.24", "13.2.24", "02/03/2024"),
        *("02/13/2024", "13/02/2024", "Feb 2024", "3 Feb 2024", "3 February 2024", "Feb 3, 2024 1:05 PM"),
        *(
            "2024-02-03T04:05:06.789Z",
            "2024-02-03 04:05:06+01:00",
            "2024-02-03 04:05",
            "20240203",
            "202412",
            "NA",
            "",
        ),
        *("Sat Feb 03 04:05:06 2024", "2.2.1", "hoot", "31.02.2024", "2/3/2024 1:05 AM", "24", "5"),
    ):
        notes = []
        array = reader.read({"x": cell, "y": 3}, notes.append)
        unread = cell.lower() not in ("", *MISSING) and np.isnan(array).any()
        mine = "no" if unread else str(array)
        given = json.dumps({"x": cell, "y": 3})
        assert mine == taken(READ["tabular"], given, reader.numbers, reader.dates), cell


def test_the_scripts_know_the_same_words_and_formats():
    assert COLUMNS["MISSING"] == ("", *MISSING)
    assert COLUMNS["SPELLINGS"] == SPELLINGS
    assert (COLUMNS["DAYS"], COLUMNS["CLOCKS"], COLUMNS["WHOLE"]) == (
        date_formats.DAYS,
        date_formats.TIMES,
        date_formats.WHOLE,
    )
