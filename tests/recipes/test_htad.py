"""HTAD is split by contiguous blocks within each run of a class."""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from importlib import resources
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from altuna.errors import UserError
from altuna.recipes.htad import assign_blocks, assign_sessions, prepare, prepare_sessions

LABELS = ["eat"] * 40 + ["mop"] * 63 + ["eat"] * 20 + ["mop"] * 21 + ["eat"] * 7
Rows = list[dict[str, str]]


def runs(labels: list[str], seed: int) -> list[list[tuple[str, str]]]:
    """The blocks of every window, one list a run."""
    blocks = iter(assign_blocks(labels, seed))
    return [[next(blocks) for _ in run] for _, run in groupby(labels)]


@pytest.mark.parametrize("seed", range(4))
def test_one_block_a_split_with_val_between(seed: int) -> None:
    for run in runs(LABELS, seed):
        order = [split for split, _ in groupby(split for split, _ in run)]
        assert order in (["train", "val", "test"], ["test", "val", "train"])


def test_proportions_of_every_run() -> None:
    for run in runs(LABELS, 0):
        counts = Counter(split for split, _ in run)
        for split, share in {"train": 0.60, "val": 0.15, "test": 0.25}.items():
            assert abs(counts[split] - share * len(run)) <= 1


def test_a_group_is_one_block() -> None:
    blocks = assign_blocks(LABELS, 0)
    stretches = [block for block, _ in groupby(blocks)]
    assert len(stretches) == 5 * 3
    assert len({group for _, group in stretches}) == len(stretches)


@pytest.mark.parametrize("seed", range(4))
def test_runs_of_a_class_alternate(seed: int) -> None:
    first = [run[0][0] for run in runs(LABELS, seed)]
    eat, mop = first[0::2], first[1::2]
    assert all(a != b for part in (eat, mop) for a, b in pairwise(part))


def test_the_seed_decides() -> None:
    assert assign_blocks(LABELS, 0) == assign_blocks(LABELS, 0)
    assert len({tuple(assign_blocks(LABELS, seed)) for seed in range(30)}) == 4


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "multiviewstacking", None)
    with pytest.raises(UserError, match=r"extra 'sensors': pip install 'altuna\[sensors\]'"):
        prepare(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def source() -> Rows:
    pytest.importorskip("multiviewstacking", reason="HTAD needs the extra 'sensors'")
    path = resources.files("multiviewstacking") / "data" / "htad.csv"
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def manifest(source: Rows, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    out = tmp_path_factory.mktemp("htad") / "new"
    path = prepare(out)
    assert path == out / "manifest.csv"
    assert [item.name for item in out.iterdir()] == ["manifest.csv"]
    return list(csv.DictReader(path.open()))


def test_manifest_holds_the_source(source: Rows, manifest: Rows) -> None:
    columns = list(manifest[0])
    assert columns[:4] == ["id", "split", "label", "group"]
    sensors = Counter(name.split(".")[0] for name in columns[4:])
    assert sensors == {"audio": 36, "accelerometer": 16}
    assert len({row["id"] for row in manifest}) == len(manifest) == len(source) == 1386
    for row, original in zip(manifest, source, strict=True):
        assert row["label"] == original["class"]
        assert row["audio.mfcc7"] == original["v1_mfcc7"]
        assert row["accelerometer.meanDif"] == original["v2_meanDif"]
        assert list(row.values())[4:] == list(original.values())[1:]


def test_no_train_window_touches_a_test_window(manifest: Rows) -> None:
    touching = [
        (a["id"], b["id"])
        for a, b in pairwise(manifest)
        if a["label"] == b["label"] and {a["split"], b["split"]} == {"train", "test"}
    ]
    assert not touching


def test_groups_and_classes(manifest: Rows) -> None:
    splits = defaultdict(set)
    for row in manifest:
        splits[row["group"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 3 * 22
    sizes = Counter(row["label"] for row in manifest)
    counts = Counter((row["label"], row["split"]) for row in manifest)
    assert len(sizes) == 7
    for label, size in sizes.items():
        assert counts[label, "train"] / size == pytest.approx(0.60, abs=0.02)
        assert counts[label, "test"] / size == pytest.approx(0.25, abs=0.02)


def test_same_seed_same_bytes(source: Rows, tmp_path: Path) -> None:
    paths = [prepare(tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same != other


def test_blocks_do_not_leak(manifest: Rows) -> None:
    """Logistic regression: about 0.77 on blocks, 0.85 where test rows stand among train rows."""
    values = np.array([list(row.values())[4:] for row in manifest], dtype=float)
    labels = np.array([row["label"] for row in manifest])
    splits = np.array([row["split"] for row in manifest])

    def accuracy(assigned: np.ndarray) -> float:
        train, test = assigned == "train", assigned == "test"
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        return float(model.fit(values[train], labels[train]).score(values[test], labels[test]))

    blocks = accuracy(splits)
    assert blocks == pytest.approx(0.77, abs=0.03)
    assert accuracy(np.random.default_rng(0).permutation(splits)) > blocks + 0.04


def test_a_session_has_all_classes() -> None:
    labels = ["eat"] * 3 + ["mop"] * 2 + ["eat"] * 4 + ["mop", "eat"] + ["mop"] * 2 + ["eat"]
    assert [session for _, session in assign_sessions(labels)] == (
        ["session-1"] * 5 + ["session-2"] * 5 + ["session-3"] * 4
    )
    assert [split for split, _ in assign_sessions(labels)] == ["train"] * 5 + ["val"] * 5 + ["test"] * 4


def test_sessions_of_the_source(source: Rows, manifest: Rows, tmp_path: Path) -> None:
    with prepare_sessions(tmp_path).open() as file:
        rows = list(csv.DictReader(file))
    assert Counter((row["split"], row["group"]) for row in rows) == {
        ("train", "session-1"): 466,
        ("val", "session-2"): 466,
        ("test", "session-3"): 454,
    }
    assert all(
        len({r["label"] for r in rows if r["split"] == split}) == 7 for split in ("train", "val", "test")
    )
    for row, same in zip(rows, manifest, strict=True):
        assert list(row.values())[4:] == list(same.values())[4:]
