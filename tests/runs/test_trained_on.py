"""Evaluation on rows that a run was trained on is named, on new rows it is not."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

import altuna
from altuna.errors import UserError
from altuna.runs.evaluate import evaluate_run
from altuna.runs.trained_on import FILE, count_known, read_keys

HEADER = ["id", "label", "photo", "x"]


def write(folder, name, numbers, header=HEADER):
    """Rows of a picture and a number; equal numbers give equal rows."""
    folder.mkdir(exist_ok=True)
    lines = []
    for i in numbers:
        colour = (i * 7 % 256, i // 4, 255 * (i % 2))
        Image.new("RGB", (8 + i % 3, 8), colour).save(folder / f"{i}.png")
        lines.append([f"s{i}", "ab"[i % 2], f"{i}.png", i / 3])
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(dict(zip(HEADER, line, strict=True)) for line in lines)
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write(folder, "train.csv", range(60))
    options = {"encoders": {"photo": {"width": 4}}, "epochs": 1, "missing_rate": 0.3, "seed": 1}
    return altuna.fit(folder / "train.csv", out=folder / "run", store=folder / "s", quiet=True, **options)


def warned(run, *given, **options):
    return evaluate_run(run, *given, store=run.parent / "s", one_rule=True, **options)["warnings"]


def line(n, of):
    return [f"{n} of {of} rows were in the training split of this run: these figures are not a test"]


def test_the_training_split_is_no_test(run):
    assert warned(run) == warned(run, split="val") == []
    assert warned(run, split="train") == line(36, 36)


def test_a_copy_of_the_table_in_another_order_and_place(run, tmp_path):
    moved = write(tmp_path / "elsewhere", "copy.csv", [*range(60)][::-1], ["x", "photo", "label"])
    assert warned(run, str(moved)) == line(36, 60)
    assert warned(run, str(write(tmp_path / "more", "more.csv", range(300)))) == line(36, 300)


def test_new_rows_are_a_test(run, tmp_path):
    assert warned(run, str(write(tmp_path / "new", "new.csv", range(60, 100)))) == []


def test_a_run_of_an_earlier_version_has_no_keys(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / FILE).unlink()
    assert (
        evaluate_run(tmp_path / "run", str(run.parent / "train.csv"), store=run.parent / "s")["warnings"]
        == []
    )
    for content in (b"", b"\x93NUMPY\x01\x00", np.zeros((2, 2)).tobytes()):
        (tmp_path / "run" / FILE).write_bytes(content)
        with pytest.raises(UserError, match=rf"{FILE}: cannot be read"):
            read_keys(tmp_path / "run")
    np.save(tmp_path / "run" / FILE, np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"must be uint64 \[n\], is float64 \[2, 2\]"):
        read_keys(tmp_path / "run")


@pytest.mark.parametrize("values", [2, 50, 1000, 10**6])
def test_what_equals_by_chance_is_no_leak(values):
    """Of few different rows, new ones equal some of training; a copy of training does so more often."""
    random = np.random.default_rng(values)
    trained, new = random.integers(values, size=(2, 1000)).astype(np.uint64)
    assert count_known(new, trained) == 0
    if values >= 1000:
        assert count_known(trained, trained) == 1000
    assert count_known(new, np.empty(0, np.uint64)) == 0
