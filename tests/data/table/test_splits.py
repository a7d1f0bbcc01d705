"""Splits: the shares, no leak, and what cannot be split."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError


def manifest(folder, labels, splits=None, groups=None):
    columns = {"label": labels, "split": splits, "group": groups, "t": ["x"] * len(labels)}
    path = folder / "m.parquet"
    pyarrow.parquet.write_table(pa.table({n: c for n, c in columns.items() if c is not None}), path)
    return read_manifest(path)


def shares(rows, n):
    return [len(rows[name]) / n for name in ("train", "val", "test")]


def test_60_15_25_of_every_class(tmp_path):
    labels = ["a"] * 400 + ["b"] * 200 + ["c"] * 40
    rows = split_rows(manifest(tmp_path, labels))
    assert np.array_equal(np.sort(np.concatenate([*rows.values()])), np.arange(640))
    for start, n in ((0, 400), (400, 200), (600, 40)):
        mine = {name: part[(part >= start) & (part < start + n)] for name, part in rows.items()}
        assert np.allclose(shares(mine, n), [0.6, 0.15, 0.25], atol=0.01)


def test_val_is_carved_from_train_and_test_stays(tmp_path):
    labels, splits = ["a", "b"] * 100, ["train"] * 160 + ["test"] * 40
    rows = split_rows(manifest(tmp_path, labels, splits))
    assert rows["test"].tolist() == [*range(160, 200)]
    assert len(rows["val"]) == 24
    assert (rows["val"] % 2).sum() == 12


def test_stated_splits_stay(tmp_path):
    rows = split_rows(manifest(tmp_path, list("abab"), ["train", "train", "val", "test"]))
    assert {name: part.tolist() for name, part in rows.items()} == {"train": [0, 1], "val": [2], "test": [3]}


def test_test_may_be_absent(tmp_path):
    rows = split_rows(manifest(tmp_path, ["a", "b"] * 20, ["train"] * 40))
    assert len(rows["test"]) == 0
    assert len(rows["val"]) == 6


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_never_split(seed, tmp_path):
    rng = np.random.default_rng(seed)
    groups = [f"g{g}" if g else None for g in rng.integers(0, 60, 500)]
    labels = rng.choice(list("abc"), 500).tolist()
    rows = split_rows(manifest(tmp_path, labels, None, groups), seed)
    home = {}
    for name, part in rows.items():
        for group in {groups[row] for row in part} - {None}:
            assert home.setdefault(group, name) == name
    assert np.allclose(shares(rows, 500), [0.6, 0.15, 0.25], atol=0.06)


def test_the_seed_decides(tmp_path):
    m = manifest(tmp_path, ["a", "b"] * 50)
    first, again, other = (split_rows(m, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["test"], other["test"])


@pytest.mark.parametrize("seed", range(8))
def test_every_label_stays_in_train(seed, tmp_path):
    """Label c lives only inside groups whose first row has label a."""
    labels, groups = [], []
    for g in range(20):
        labels += ["a", "a", "c" if g % 7 == 0 else "b"]
        groups += [f"g{g}"] * 3
    rows = split_rows(manifest(tmp_path, labels, None, groups), seed)
    assert {labels[row] for row in rows["train"]} == {"a", "b", "c"}


def test_a_class_of_two(tmp_path):
    labels = ["a"] * 30 + ["b"] * 2
    rows = split_rows(manifest(tmp_path, labels))
    assert {labels[row] for row in rows["train"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("labels", "splits", "words"),
    [
        (["a", "a", "b"], None, r"row 3 \(id '3'\), column 'label': label 'b' has only this one sample"),
        ([None, None, None], None, r"column 'label': empty in all rows"),
        (["a", "a"], None, "column 'label': only one class"),
        (list("aabb"), ["train", "train", "val", "val"], r"row 3.*label 'b' is in val but never in train"),
        (
            list("ababcc"),
            ["train", "train", "val", "test", "test", "test"],
            r"row 5 \(id '5'\), column 'label': label 'c' is in test but never in train",
        ),
        (list("aabb"), ["val", "test", "val", "test"], "column 'split': no row is in train"),
        (list("aabb"), None, "too few samples"),
    ],
)
def test_what_cannot_be_split(labels, splits, words, tmp_path):
    with pytest.raises(UserError, match=rf"m\.parquet.*{words}"):
        split_rows(manifest(tmp_path, labels, splits))


def test_no_label_column(tmp_path):
    (tmp_path / "m.csv").write_text("t\nx\n")
    with pytest.raises(UserError, match=r"m\.csv: no column 'label'"):
        split_rows(read_manifest(tmp_path / "m.csv"))


def test_a_large_table_is_quick(tmp_path):
    rng = np.random.default_rng(0)
    n = 200_000
    labels = np.char.add("c", rng.integers(0, 300, n).astype(str)).tolist()
    groups = np.char.add("g", rng.integers(0, 50_000, n).astype(str)).tolist()
    started = time.perf_counter()
    rows = split_rows(manifest(tmp_path, labels, None, groups))
    assert time.perf_counter() - started < 10
    assert np.allclose(shares(rows, n), [0.6, 0.15, 0.25], atol=0.02)
