"""The numbers, categories and dates of a table as one modality: reader, front end, and what is missing."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from altuna.data.readers import READERS, BadCellError, Columns
from altuna.encoders.tabular import TabularCodes

TabularReader = READERS["tabular"]
ROWS = [
    {"age": 3.0, "colour": "red", "born": "2020-01-02"},
    {"age": None, "colour": "blue", "born": None},
    {"age": 5.0, "colour": "red", "born": "2021-06-30"},
    {"age": 7.0, "colour": "blue", "born": "2019-12-31"},
    {"age": 9.0, "colour": "pink", "born": "2019-12-31"},
]


TRAINING = Columns(pa.Table.from_pylist(ROWS), {"age": "number", "colour": "category", "born": "%Y-%m-%d"})


@pytest.fixture
def reader():
    return TabularReader.fit(TRAINING)


def test_fit_lists_the_frequent_categories(reader):
    assert reader.categories == (("colour", ("blue", "red")),)
    assert reader.dates == (("born", "%Y-%m-%d"),)
    assert reader.shape == (1 + 6 + 1,)
    assert TabularReader(**reader.settings()).shape == reader.shape


def test_a_cell_is_read_as_in_the_table(reader):
    values, notes = reader.encode(TRAINING.table)
    for row, cell in enumerate(ROWS):
        assert np.array_equal(reader.read(cell), values[row], equal_nan=True)
    assert values[:, 0].tolist()[0] == 3
    assert np.isnan(values[1, 0])
    assert np.isnan(values[1, 1:7]).all()
    assert values[:, -1].tolist() == [1, 0, 1, 0, 2]
    assert [*map(str, notes)] == ["colour: cells with a rare or new category: 1 ('pink')"]


def test_columns_may_be_absent_or_in_another_order(reader):
    values, _ = reader.encode(TRAINING.table)
    swapped, _ = reader.encode(TRAINING.table.select(["born", "age"]))
    assert np.array_equal(swapped[:, :-1], values[:, :-1], equal_nan=True)
    assert np.isnan(swapped[:, -1]).all()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"age": "old"}, "column 'age': 'old' is not a number"),
        ({"agee": 3}, "unknown column 'agee'"),
        ({"age": float("nan"), "colour": " "}, "all its values are empty"),
        ({"age": 1e300}, "too large"),
        ([1, 2], "must be a mapping"),
    ],
)
def test_what_cannot_be_read(cell, words, reader):
    with pytest.raises(BadCellError, match=words):
        reader.read(cell)


def test_large_numbers_keep_what_tells_them_apart():
    table = pa.table({"time": [1_700_000_000 + i for i in range(50)]})
    reader = TabularReader.fit(Columns(table, {"time": "number"}))
    assert len(np.unique(reader.encode(table)[0])) == 50


def front_of(reader, **options):
    front = TabularCodes(reader, reader.shape, **options)
    front.fit(reader.encode(TRAINING.table)[0])
    return front


def test_codes_are_one_hot_and_mark_what_is_missing(reader):
    front = front_of(reader, bins=2)
    codes = front(torch.from_numpy(reader.encode(TRAINING.table)[0])).numpy()
    assert codes.shape == (5, *front.shape)
    marks = codes[:, -(7 + 25 + 4) :]
    assert marks[:, 0].tolist() == [0, 1, 0, 0, 0]  # the missing age
    assert marks[:, -4:].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert np.isfinite(codes).all()


def test_months_weekdays_and_hours_have_inputs():
    """A pattern of single weekdays is no line of few pieces: each has an input of its own."""
    reader = TabularReader((("age", 0.0),), (("day", "%Y-%m-%d %H:%M"),), ())
    times = ["2024-01-01 03:59", "2024-12-01 04:00", "2024-12-07 23:59", None]
    values = reader.encode(pa.table({"age": [1.0] * 4, "day": times}))[0]
    front = TabularCodes(reader, reader.shape, bins=1)
    front.fit(values)
    marks = front(torch.from_numpy(values))[:, -25:].split([12, 7, 6], dim=1)
    assert [part.sum(1).tolist() for part in marks] == [[1, 1, 1, 0]] * 3
    assert [part[:3].argmax(1).tolist() for part in marks] == [[0, 11, 11], [0, 6, 5], [0, 1, 5]]


def test_an_input_without_training_values_stays_zero(reader):
    """Weights that have learnt nothing must not decide: no training row lacks a colour."""
    front = front_of(reader)
    lacking = torch.from_numpy(reader.read({"age": 3.0}))[None]
    assert front(lacking)[0, -4:].tolist() == [0, 0, 0, 0]
    front.seen.fill_(1)
    assert front(lacking)[0, -4:].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("cell", [{"late": 5.0}, {"born": "2024-01-02"}, {"kind": "new"}], ids=str)
def test_a_column_that_training_never_had_counts_for_nothing(cell):
    numbers = (("age", 0.0), ("late", 0.0))
    reader = TabularReader(numbers, (("born", "%Y-%m-%d"),), (("kind", ()),))
    front = TabularCodes(reader, reader.shape)
    front.fit(np.stack([reader.read({"age": age}) for age in (1.0, 3.0, 5.0)]))
    found, bare = (torch.from_numpy(reader.read({"age": 3.0, **more}))[None] for more in (cell, {}))
    assert not torch.equal(found, bare)
    assert front(found).tolist() == front(bare).tolist()


def test_only_categories():
    reader = TabularReader((), (), (("colour", ("blue", "red")),))
    front = TabularCodes(reader, reader.shape)
    front.fit(np.array([[0.0], [1.0]]))
    assert front(torch.tensor([[1.0], [2.0]])).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    "cell", ["2024-03-05", "2024-03-05 00:00:00", "2024-03-05T00:00", "2024-03-05T00:00:00.000Z"]
)
@pytest.mark.parametrize("format", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%d.%m.%Y"])
def test_new_dates_may_have_a_time_or_none_or_be_iso(cell, format):
    table = pa.table({"day": [cell]})
    wanted = TabularReader((), (("day", "%Y-%m-%d"),), ()).encode(pa.table({"day": ["2024-03-05"]}))[0]
    values, notes = TabularReader((), (("day", format),), ()).encode(table)
    assert values.tolist() == wanted.tolist()
    assert not notes
