"""Series: lists, arrays, files and channels give the same steps; what is wrong with a cell is a line."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from media import arrays_of, npy

from altuna.data.readers import READERS, BadCellError, InconsistentError, NotFiniteError
from altuna.data.readers.series import MAX_LENGTH, SeriesReader, resampled
from altuna.data.readers.steps import load_steps
from altuna.errors import UserError

STEPS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def padded(steps, length):
    """What a reader returns, written out."""
    out = np.full((length, len(steps[0])), np.nan, np.float32)
    out[: len(steps)] = steps
    return out


def same(found, wanted):
    np.testing.assert_array_equal(found, np.float32(wanted))


def test_every_form_of_a_cell(tmp_path):
    cells = [STEPS, np.array(STEPS), (np.array(STEPS), 50.0), npy(*STEPS), *arrays_of(STEPS).values()]
    cells += [[tuple(step) for step in STEPS], np.array(STEPS, np.int16), {"x": [1, 3, 5], "y": [2, 4, 6]}]
    texts = {"a.csv": "x,y\n1,2\n3,4\n5,6\n", "b.tsv": "1\t2\n3\t4\n5\t6\n", "c.csv": "x;y\n1;2\n3;4\n5;6\n"}
    texts["d.csv"] = "x,time,y\n1,0.1,2\n3,0.2,4\n5,0.3,6"
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        cells += [tmp_path / name, str(tmp_path / name)]
    pyarrow.feather.write_feather(pa.table({"x": [1, 3, 5], "y": [2.0, 4, 6]}), tmp_path / "e.feather")
    for cell in [*cells, tmp_path / "e.feather"]:
        same(SeriesReader(4, 2).read(cell), padded(STEPS, 4))


def test_a_list_of_numbers_has_one_channel():
    same(SeriesReader(3, 1).read([7, 8]), [[7], [8], [np.nan]])
    same(SeriesReader(3, 1).read(np.array([7, 8])), [[7], [8], [np.nan]])


def test_what_training_cells_choose():
    cells = [np.zeros((n, 3)) for n in range(1, 101)] + [[1.0], b"broken", None, []]
    reader = SeriesReader.fit(cells)
    assert reader.channels == 3
    assert reader.length == 99  # of every second cell
    assert SeriesReader.fit([np.zeros((n, 3)) for n in [*range(1, 41), 60]]).length == 39
    assert SeriesReader.fit([np.zeros((9999, 1))]).length == MAX_LENGTH
    assert SeriesReader.fit(cells, length=7, channels=2).shape == (7, 2)
    assert SeriesReader.fit([[1.0, 2.0], [3.0]]).shape == (2, 1)


def test_longer_series_are_cut_or_resampled_with_a_note():
    notes, cell = [], np.arange(8.0)
    same(SeriesReader(2, 1).read(cell, notes.append), [[0], [1]])
    same(SeriesReader(2, 1, longer="resample").read(cell, notes.append), [[1.5], [5.5]])
    assert notes == ["cut to its first 2 of 8 steps", "resampled from 8 to 2 steps"]


def test_resampling_to_a_rate(tmp_path):
    seconds = np.arange(400) / 100
    wave = np.sin(2 * np.pi * seconds)
    np.savez(tmp_path / "a.npz", wave=wave, rate=100)
    (tmp_path / "a.csv").write_text(
        "time,wave\n" + "".join(f"{t},{w}\n" for t, w in zip(seconds, wave, strict=True))
    )
    wanted = np.sin(2 * np.pi * (np.arange(80) + 0.5) / 20)
    for cell in (tmp_path / "a.npz", tmp_path / "a.csv", (wave, 100)):
        reader = SeriesReader.fit([cell], rate=20)
        assert reader.shape == (80, 1)
        np.testing.assert_allclose(reader.read(cell)[:, 0], wanted, atol=0.04)
    np.testing.assert_allclose(SeriesReader(80, 1, 20, 100).read(wave)[:, 0], wanted, atol=0.04)
    faster = SeriesReader(800, 1, 200, 100).read(wave)
    np.testing.assert_allclose(
        faster[:, 0], np.sin(2 * np.pi * ((np.arange(800) + 0.5) / 200 - 0.005)), atol=0.04
    )


@pytest.mark.parametrize(("size", "length"), [(7, 3), (9, 9), (3, 8), (1, 4), (10, 1)])
def test_resampling_against_slow_means(size, length):
    values = np.random.default_rng(0).normal(size=(size, 2)).astype(np.float32)
    fine = 840  # parts of a step
    if length < size:
        steps = np.repeat(values, fine, axis=0).reshape(length, -1, 2).mean(axis=1)
    else:
        at = (np.arange(length) + 0.5) * size / length
        steps = np.stack([np.interp(at, np.arange(size) + 0.5, column) for column in values.T], axis=1)
    np.testing.assert_allclose(resampled(values, length, length), steps, atol=1e-5)
    np.testing.assert_allclose(resampled(values, length, 1), steps[:1], atol=1e-5)


def test_missing_numbers_stay_missing_with_a_note():
    for cell in ([[1, None], None, [5, 6]], np.array([[1, np.nan], [np.nan, np.nan], [5, 6]])):
        notes = []
        same(SeriesReader(3, 2).read(cell, notes.append), [[1, np.nan], [np.nan, np.nan], [5, 6]])
        assert notes == ["3 of 6 numbers are empty: imputed by the training means"]
    notes = []
    same(SeriesReader(2, 2).read({"x": [1, 2], "y": None}, notes.append), [[1, np.nan], [2, np.nan]])
    assert notes == ["2 of 4 numbers are empty: imputed by the training means"]


def test_empty_cells_of_a_csv_are_missing(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,\nNA,4\n")
    same(SeriesReader(2, 2).read(tmp_path / "a.csv"), [[1, np.nan], [np.nan, 4]])
    (tmp_path / "b.csv").write_text("x\n1\n\n3\n")
    same(SeriesReader(3, 1).read(tmp_path / "b.csv"), [[1], [np.nan], [3]])


def test_numbers_far_from_zero_keep_their_differences():
    cells = [[1.7e9 + t, 1.7e9 + t + 1] for t in range(5)]
    reader = SeriesReader.fit(cells)
    assert np.diff(reader.read(cells[0])[:, 0]) == 1


@pytest.mark.parametrize(
    ("cell", "error", "words"),
    [
        ([[1, 2], [3]], BadCellError, "step 2 has 1 numbers, the first has 2"),
        ([[1, 2], 3], BadCellError, "step 2 is 3, others are lists"),
        ([[1, 2], [3, "a"]], BadCellError, "step 2 has 'a' in place of a number"),
        ([[1, 2], [3, [4]]], BadCellError, "step 2 has [4] in place of a number"),
        ([1, 2], BadCellError, "has 1 channel, the others have 2"),
        ([[1, 2, 3]], BadCellError, "has 3 channels, the others have 2"),
        ([], BadCellError, "an empty series (0 steps)"),
        (np.zeros((0, 2)), BadCellError, "an empty series (0 steps)"),
        ({"x": None, "y": None}, BadCellError, "an empty series (0 steps)"),
        ([[None, None]], BadCellError, "all its numbers are empty"),
        ([[None, None]] * 4 + [[1, 2]], BadCellError, "all numbers of its first 4 steps are empty"),
        ([[1, 2], [float("nan"), 3]], NotFiniteError, "step 2, channel 1: is NaN"),
        ([[1, 2], [3, 1e39]], NotFiniteError, "step 2, channel 2: is too large or infinite"),
        (
            npy([1, np.inf], [2, np.nan]),
            NotFiniteError,
            "channel 2: is too large or infinite (2 such numbers)",
        ),
        ({"x": [1, 2], "y": [1]}, InconsistentError, "has 1 steps in 'y', but 2 in 'x'"),
        ({"x": [[1, 2]], "y": [1]}, BadCellError, "'x' is no list of numbers"),
        (np.zeros((2, 2, 2)), BadCellError, "not a series [T] or [T, C]: has the shape [2, 2, 2]"),
        (np.array(["a"]), BadCellError, "not a series: its numbers are <U1"),
        (([1, 2], 0), BadCellError, "its rate must be more than 0, is 0.0"),
    ],
)
def test_what_is_wrong_is_a_line(cell, error, words):
    with pytest.raises(error, match=re.escape(words)):
        SeriesReader(4, 2).read(cell)


def test_what_is_wrong_with_files(tmp_path):
    np.savez(tmp_path / "two.npz", a=[1], b=[2])
    (tmp_path / "text.csv").write_text("x,y\n1,left\n")
    (tmp_path / "times.csv").write_text("time\n1\n")
    (tmp_path / "nan.csv").write_text("x,y\n1,nan\n")
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n3\n")
    for name, words in {
        "two.npz": "must have one array, beside 'rate'; has a, b",
        "text.csv": "its column 'y' has cells that are not numbers",
        "times.csv": "has no column of numbers besides the times",
        "nan.csv": "step 1, channel 2: is NaN",
        "rows.csv": "not a series: .*Expected 2 columns, got 1",
    }.items():
        with pytest.raises(BadCellError, match=words):
            SeriesReader(4, 2).read(tmp_path / name)


def test_options_that_cannot_be():
    for options, words in (
        ({"length": 0}, "length must be more than 0"),
        ({"rate": 10}, "the rate of the cells is not known: give source_rate too"),
        ({"longer": "wrap"}, "longer must be crop or resample, got 'wrap'"),
    ):
        with pytest.raises(UserError, match=words):
            SeriesReader.fit([[1.0]], **options)


def waves(channels, lengths):
    """Smooth channels of different scale, each cell [T, C]."""
    scale = 10.0 ** np.arange(channels)
    return [np.sin(np.arange(n)[:, None] / 4 + n + np.arange(channels)) * scale for n in lengths]


@pytest.mark.parametrize("lengths", [range(20, 40), [60] * 20], ids=["differ", "same"])
def test_channels_first_are_read_as_channels_last(tmp_path, lengths):
    steps = waves(3, lengths)
    turned = [cell.T for cell in steps]
    wanted = SeriesReader.fit(steps)
    assert not wanted.channels_first
    assert not wanted.remark
    for cells in (turned, [cell.tolist() for cell in turned], [npy(*cell) for cell in turned]):
        reader = SeriesReader.fit(cells)
        assert reader.shape == wanted.shape == (max(lengths), 3)
        assert reader.channels_first
        assert "the 3 channels, each with its steps ([C, T])" in reader.remark
        assert READERS["series"](**reader.settings()) == reader
        for cell, other in zip(cells, steps, strict=True):
            same(reader.read(cell), wanted.read(other))
    assert SeriesReader.fit(turned, channels_first=False).shape[0] == 3


def test_channels_last_stay(tmp_path):
    """Few steps of many features, axes with names, and single cells are no reason to exchange axes."""
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(16, 512)) for _ in range(20)]
    drift = [np.cumsum(rng.normal(size=(16, 300)), axis=0) for _ in range(20)]
    lists = [{"x": [*range(n)], "y": [*range(n)]} for n in range(20, 40)]
    for cells in (features, drift, waves(3, [60] * 20), lists, [[1.0, 2.0, 3.0]] * 20, waves(2, [9])):
        assert not SeriesReader.fit(cells).channels_first
    noise = [rng.normal(size=(3, 100)) for _ in range(20)]
    assert SeriesReader.fit(noise).channels_first  # three channels rather than a hundred


def test_a_bomb_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", np.zeros(1 << 25, np.int8))
    assert (tmp_path / "a.npz").stat().st_size < 1e6
    with pytest.raises(BadCellError, match="refused, too large"):
        load_steps(tmp_path / "a.npz")


def test_it_is_a_reader():
    reader = SeriesReader(3, 2, rate=5.0, longer="resample")
    assert READERS["series"](**reader.settings()) == reader
