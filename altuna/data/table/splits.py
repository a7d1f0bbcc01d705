"""Split the rows of a manifest into train, val and test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.table.manifest import SPLITS, Manifest
from altuna.errors import UserError
from altuna.options import shown

VAL_SHARE, TEST_SHARE = 0.15, 0.25


Rows = np.ndarray[Any, np.dtype[np.int64]]


def split_rows(manifest: Manifest, seed: int = 0) -> dict[str, Rows]:
    r"""Return the row numbers of ``train``, ``val`` and ``test`` (test may be empty).

    A manifest without splits is split 60/15/25; without val, 15 % of train are carved out for it. Both are
    stratified by label and never divide a group. Rows without a label are in none of them.

    Raises:
        UserError: All labels are missing, or one has only one sample, or is in val or test but not in train.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc\n" + "a,1\nb,2\n" * 20)
        >>> {split: len(rows) for split, rows in split_rows(read_manifest(path)).items()}
        {'train': 24, 'val': 6, 'test': 10}
    """
    _check_labels(manifest)
    labels = np.asarray(manifest.labels.dictionary_encode().indices.fill_null(-1), dtype=np.int64)
    groups = group_codes(manifest)
    rows = np.flatnonzero(labels >= 0)
    if manifest.splits.null_count == len(manifest):
        remaining, test = carve(rows, labels, groups, TEST_SHARE, seed)
        train, val = carve(remaining, labels, groups, VAL_SHARE / (1 - TEST_SHARE), seed)
    else:
        train, val, test = (rows[np.asarray(pc.equal(manifest.splits, s).take(rows))] for s in SPLITS)
        if not len(train):
            raise UserError(f"{manifest.path}, column {manifest.columns['split']!r}: no row is in train")
        if not len(val):
            train, val = carve(train, labels, groups, VAL_SHARE, seed)
    if not len(val):
        raise UserError(f"{manifest.path}: too few samples (or groups) in train to split off a val part")
    for name, part in (("val", val), ("test", test)):
        unseen = part[~np.isin(labels[part], labels[train])]
        if len(unseen):
            row = int(unseen[0])
            raise UserError(
                f"{manifest.where(row, 'label')}: label {shown(manifest.labels[row].as_py())} is in {name} "
                "but never in train"
            )
    return {"train": train, "val": val, "test": test}


def _check_labels(manifest: Manifest) -> None:
    manifest.check_labelled()
    if manifest.labels.null_count == len(manifest):
        raise UserError(f"{manifest.path}, column {manifest.columns['label']!r}: empty in all rows")
    counts = manifest.labels.drop_null().value_counts()
    fractions = pc.match_substring_regex(manifest.labels.unique().drop_null(), r"^[+-]?\d*\.\d+$")
    if len(counts) > len(manifest) / 2 and pc.all(fractions).as_py():
        raise UserError(
            f"{manifest.path}, column {manifest.columns['label']!r}: has {len(counts):,} different numbers "
            f"in {len(manifest):,} rows; a label is the name of a class: cut the numbers into ranges first"
        )
    for entry in counts:
        if entry["counts"].as_py() == 1:
            label = entry["values"]
            row = manifest.labels.index(label).as_py()
            raise UserError(
                f"{manifest.where(row, 'label')}: label {shown(label.as_py())} has only this one sample; "
                "a class needs at least two"
            )
    if len(counts) < 2:
        raise UserError(f"{manifest.path}, column {manifest.columns['label']!r}: only one class")


def group_codes(manifest: Manifest) -> Rows:
    r"""Return the number of each row's group; a row without a group is a group of its own.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc,group\na,1,ann\nb,2,bob\na,3,ann\nb,4,\n")
        >>> group_codes(read_manifest(path)).tolist()  # the last row is a group of its own
        [0, 1, 0, 7]
    """
    codes = np.asarray(manifest.groups.dictionary_encode().indices.cast(pa.int64()).fill_null(-1))
    own = len(manifest) + np.arange(len(manifest))
    return np.where(codes < 0, own, codes)


def carve(rows: Rows, labels: Rows, groups: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Split rows into (rest, carved), stratified by the label of each group's first row.

    Args:
        rows: The rows to split, as places in ``labels`` and ``groups``.
        labels: [all rows] the number of each row's label.
        groups: [all rows] the number of each row's group; no group is divided.
        share: Approximate fraction of the rows to carve out; some rows of each label are kept. Where labels
            have too few rows each, the fraction is that of all of them together.
        seed: Random seed.

    Example:
        >>> labels, groups = np.repeat([0, 1], 10), np.arange(20)
        >>> rest, carved = carve(np.arange(20), labels, groups, share=0.2, seed=0)
        >>> np.bincount(labels[rest]).tolist(), np.bincount(labels[carved]).tolist()
        ([8, 8], [2, 2])
    """
    rng = np.random.default_rng(seed)
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    main, sizes = labels[rows][first], np.bincount(group)
    carved = np.zeros(len(sizes), dtype=bool)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(main[order], kind="stable")]
    small, lacking = [], 0.0
    for mine in np.split(order, np.flatnonzero(np.diff(main[order])) + 1):
        end = sizes[mine].cumsum()
        wanted = share * end[-1]
        if wanted < sizes[mine[0]] and len(mine) > 1:  # less than a group
            small.append(mine[0])
            lacking += wanted
            continue
        carved[mine] = end - sizes[mine] / 2 <= wanted
        carved[mine[-1]] = False
    # Of such labels, some give a group, so that together they give their share.
    for one in rng.permutation(small):
        if lacking >= sizes[one] / 2:
            carved[one] = True
            lacking -= sizes[one]
    lost = np.setdiff1d(labels[rows], labels[rows[~carved[group]]])
    # A label that occurs only in groups stratified by another label would be missing in train: give it back.
    carved[np.unique(group[np.isin(labels[rows], lost)])] = False
    return rows[~carved[group]], rows[carved[group]]


def cut_folds(rows: Rows, labels: Rows, groups: Rows, number: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Cut rows into folds; return for each (rest, fold). No group is divided, and labels are spread evenly.

    The groups of a label that would be in one fold alone are in none: they belong to every rest.

    Args:
        rows: The rows to cut, as places in ``labels`` and ``groups``.
        labels: [all rows] the number of each row's label.
        groups: [all rows] the number of each row's group.
        number: Number of folds.
        seed: Random seed.

    Raises:
        ValueError: There are fewer groups than folds, or a fold gets no row.

    Example:
        >>> labels, groups = np.repeat([0, 1], 6), np.repeat(np.arange(6), 2)
        >>> [fold.tolist() for rest, fold in cut_folds(np.arange(12), labels, groups, number=3, seed=0)]
        [[4, 5, 6, 7], [0, 1, 10, 11], [2, 3, 8, 9]]
    """
    label = np.unique(labels[rows], return_inverse=True)[1]
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    if len(first) < number:
        raise ValueError(f"there are only {len(first)} groups")
    sizes = np.bincount(group)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.lexsort((-sizes[order], label[first][order]))]
    of_group, filled = np.empty(len(sizes), np.int64), np.zeros((number, label.max() + 1))
    for one in order:
        mine = label[first[one]]
        fold = np.lexsort((filled.sum(1), filled[:, mine]))[0]
        of_group[one] = fold
        filled[fold, mine] += sizes[one]
    of_row = of_group[group]
    for one in range(label.max() + 1):
        if len({*of_row[label == one]}) == 1:
            of_group[np.unique(group[label == one])] = -1
    of_row = of_group[group]
    parts = [(rows[of_row != fold], rows[of_row == fold]) for fold in range(number)]
    if not all(len(fold) for _, fold in parts):
        raise ValueError("a fold would be empty, because too many labels are in one group only")
    return parts
