"""HTAD: seven home tasks from a wrist accelerometer and a microphone (Garcia-Ceja et al., 2021).

1,386 windows of 16 accelerometer and 36 audio (MFCC) features, for research use, as shipped in the
PyPI package ``multiviewstacking``. The rows are consecutive windows and name no person, so a random
split puts near copies of its test rows into train. Here each run (an unbroken series of windows of one
class) is cut into one block per split, with val between train and test, so that those two never touch.

The order of the rows also shows three sessions, each with all seven tasks. ``prepare_sessions`` puts a whole
session in each split: a harder test, on a recording that training has no part of.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from importlib import resources
from itertools import groupby
from pathlib import Path

from altuna.errors import UserError
from altuna.files import write_csv

SPLITS = {"train": 0.60, "val": 0.15, "test": 0.25}
SESSIONS = ("train", "val", "test")
SENSORS = {"v1": "audio", "v2": "accelerometer"}


def prepare(out: Path, seed: int = 0) -> Path:
    """Write the manifest of HTAD.

    Args:
        out: Folder of the manifest, created if it does not exist.
        seed: Random seed: decides which runs start with their test block and which with their train block.

    Returns:
        The path of ``out/manifest.csv``: id, split, label, group (one per block), then 36 columns
        ``audio.<feature>`` and 16 columns ``accelerometer.<feature>``.

    Raises:
        UserError: The package that ships the data is not installed.
    """
    return _write(out, lambda labels: assign_blocks(labels, seed))


def prepare_sessions(out: Path) -> Path:
    """Write the manifest of HTAD with one session per split; see ``prepare`` and ``assign_sessions``."""
    return _write(out, assign_sessions)


def assign_blocks(labels: list[str], seed: int) -> list[tuple[str, str]]:
    """Return the split and the block of each window, given the classes of the windows in order.

    The runs of a class start alternately with train and with test, so that test is neither always the end
    of an activity nor always its start; the seed decides which is first.

    Example:
        >>> assign_blocks(["walk"] * 4, seed=0)
        [('train', 'run-00-train'), ('train', 'run-00-train'), ('val', 'run-00-val'), ('test', 'run-00-test')]
    """
    rng = random.Random(seed)
    backwards = {label: rng.random() < 0.5 for label in sorted(set(labels))}
    blocks: list[tuple[str, str]] = []
    for number, (label, windows) in enumerate(groupby(labels)):
        length = len(list(windows))
        train, test = round(length * SPLITS["train"]), round(length * SPLITS["test"])
        run = ["train"] * train + ["val"] * (length - train - test) + ["test"] * test
        if backwards[label]:
            run.reverse()
        backwards[label] = not backwards[label]
        blocks += [(split, f"run-{number:02d}-{split}") for split in run]
    return blocks


def assign_sessions(labels: list[str]) -> list[tuple[str, str]]:
    """Return the split and the session of each window, given the classes of the windows in order.

    A session ends with the run in which the last of all classes has occurred; the third one has the rest.

    Example:
        >>> assign_sessions(["walk", "eat", "eat", "walk", "walk", "eat"])[2:5]
        [('train', 'session-1'), ('val', 'session-2'), ('val', 'session-2')]
    """
    classes, seen, number = {*labels}, set[str](), 0
    sessions: list[tuple[str, str]] = []
    for label, windows in groupby(labels):
        if seen == classes and number + 1 < len(SESSIONS):
            seen, number = set(), number + 1
        seen.add(label)
        sessions += [(SESSIONS[number], f"session-{number + 1}") for _ in windows]
    return sessions


def _write(out: Path, assign: Callable[[list[str]], list[tuple[str, str]]]) -> Path:
    """Write the manifest, with the splits and groups that ``assign`` returns for the classes of the rows."""
    try:
        source = resources.files("multiviewstacking") / "data" / "htad.csv"
    except ImportError as error:
        raise UserError("HTAD needs the extra 'sensors': pip install 'altuna[sensors]'") from error
    header, *rows = csv.reader(source.read_text(encoding="utf-8").splitlines())
    assigned = assign([row[0] for row in rows])

    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.csv"
    table = [
        [f"window-{number:04d}", split, row[0], group, *row[1:]]
        for number, (row, (split, group)) in enumerate(zip(rows, assigned, strict=True))
    ]
    write_csv(manifest, [["id", "split", "label", "group", *map(_column, header[1:])], *table])
    return manifest


def _column(name: str) -> str:
    """Return the column of a feature: ``v1_mfcc3`` becomes ``audio.mfcc3``."""
    view, feature = name.split("_", 1)
    return f"{SENSORS[view]}.{feature}"
