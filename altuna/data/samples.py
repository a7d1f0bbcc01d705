"""Make the data set of a split from a manifest and the stores of its modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.dataset import MultimodalDataset
from altuna.data.readers import Reader
from altuna.data.store.arrays import Store
from altuna.data.store.build import prepare_store
from altuna.data.store.problems import Problem
from altuna.data.table.manifest import Manifest
from altuna.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Samples:
    """A data set, and the manifest rows [N] of its samples."""

    dataset: MultimodalDataset
    rows: NDArray[np.int64]


def prepare_stores(
    manifest: Manifest,
    readers: Mapping[str, Reader],
    folder: Path,
    reporter: Reporter = SILENT,
) -> dict[str, Store]:
    r"""Open the store of each modality, after decoding what is new; see ``prepare_store``.

    Example:
        >>> import tempfile
        >>> from altuna.data.readers import READERS
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,note\na,hoot\nb,tu-whit\n")
        >>> reader = READERS["text"](vocabulary=("<hoot>",), length=2)
        >>> stores = prepare_stores(read_manifest(path), {"note": reader}, path.parent)
        >>> stores["note"].array[stores["note"].position].tolist()
        [[2, 0], [1, 0]]
    """
    return {name: prepare_store(manifest, name, reader, folder, reporter) for name, reader in readers.items()}


def problems_of(stores: Mapping[str, Store], manifest: Manifest) -> list[Problem]:
    r"""Return the problems with cells, and with rows that have no cell left, in the order of rows.

    Example:
        >>> import tempfile
        >>> from altuna.data.readers import READERS
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,photo\na,owl.png\nb,cat.png\n")
        >>> manifest = read_manifest(path)
        >>> stores = prepare_stores(manifest, {"photo": READERS["image"](32)}, path.parent)
        >>> [(problem.row, problem.reason) for problem in problems_of(stores, manifest)]
        [(1, 'no such file'), (2, 'no such file')]
    """
    problems = [problem for store in stores.values() for problem in store.problems]
    several = len(stores) > 1
    for row in sorted({problem.row - 1 for problem in problems if problem.row and several}):
        if all(store.position[row] < 0 for store in stores.values()):
            reason = "no cell of this row could be read: it is left out"
            problems.append(Problem(row + 1, manifest.ids[row].as_py(), "", "", reason))
    return sorted(problems, key=lambda problem: (problem.row, problem.column == ""))


def unread(rows: NDArray[np.int64], stores: Mapping[str, Store]) -> dict[str, list[Problem]]:
    """Return, by modality, the problems with cells of some manifest rows that cannot be read.

    Example:
        >>> problem = Problem(2, "owl", "photo", "owl.png", "no such file")
        >>> stores = {"photo": Store(np.zeros((1, 3)), np.array([0, -1]), (problem,))}
        >>> unread(np.array([0]), stores), [*unread(np.array([0, 1]), stores)]
        ({}, ['photo'])
    """
    wanted = {*(rows + 1).tolist()}
    found = {
        name: [problem for problem in store.problems if problem.kind != "note" and problem.row in wanted]
        for name, store in stores.items()
    }
    return {name: problems for name, problems in found.items() if problems}


def samples_at(rows: NDArray[np.int64], stores: Mapping[str, Store], labels: NDArray[np.int64]) -> Samples:
    """Return the samples of some manifest rows; rows without any readable cell are left out.

    ``labels`` [all rows] are class numbers, -1 where unknown.

    Example:
        >>> stores = {"photo": Store(np.zeros((1, 3), np.float32), np.array([0, -1]))}
        >>> samples = samples_at(np.array([0, 1]), stores, labels=np.array([4, 5]))
        >>> samples.rows.tolist(), samples.dataset.labels.tolist()  # the second row has no cell
        ([0], [4])
    """
    present = np.stack([store.position[rows] >= 0 for store in stores.values()])
    rows = rows[present.any(axis=0)]
    dataset = MultimodalDataset(
        {name: store.array for name, store in stores.items()},
        {name: store.position[rows] for name, store in stores.items()},
        labels[rows],
    )
    return Samples(dataset, rows)


def class_numbers(labels: pa.Array, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the class number of each label; -1 for an empty or unknown one.

    Example:
        >>> class_numbers(pa.array(["owl", "cat", None, "dog"]), ("cat", "owl")).tolist()
        [1, 0, -1, -1]
    """
    numbers = pc.index_in(labels, pa.array(classes, pa.string())).fill_null(-1)
    return np.asarray(numbers, dtype=np.int64)
