"""What the learners of ``peers.py`` see of a data set: the same rows, splits, groups and folds as altuna.

Columns of a vector are taken as they are. Of a picture: histograms of oriented gradients, and of colours.
Of a text: tf-idf of its words and of its character n-grams (fitted later, on the rows that a learner is
fitted on).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from altuna.data.table.manifest import Manifest, Modality, read_manifest
from altuna.data.table.splits import cut_folds, group_codes, split_rows

Array = NDArray[Any]
SIZE, CELL, ANGLES = 64, 8, 9
FOLDS = 5
WORDS: dict[str, Any] = {"analyzer": "word", "ngram_range": [1, 2]}
CHARACTERS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": [2, 5]}


def gradients(grey: Array) -> Array:
    """Return histograms of oriented gradients (Dalal & Triggs, 2005) of a picture [SIZE, SIZE].

    Cells of 8 x 8 pixels, 9 unsigned angles, and blocks of 2 x 2 cells with unit L2 norm.
    """
    down, right = np.gradient(grey)
    place = (np.arctan2(down, right) % np.pi) / np.pi * ANGLES
    low, share = place.astype(int) % ANGLES, place % 1
    strength, cells = np.hypot(down, right), SIZE // CELL
    angles = np.zeros((SIZE, SIZE, ANGLES))
    at = np.indices(grey.shape)
    np.add.at(angles, (*at, low), strength * (1 - share))
    np.add.at(angles, (*at, (low + 1) % ANGLES), strength * share)
    histograms = angles.reshape(cells, CELL, cells, CELL, ANGLES).sum((1, 3))
    neighbours = [histograms[y : cells - 1 + y, x : cells - 1 + x] for y in (0, 1) for x in (0, 1)]
    blocks = np.concatenate(neighbours, -1)
    return (blocks / np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-4)).flatten()


def colours(picture: Array) -> Array:
    """Return the square roots of a histogram of 4 x 4 x 4 colours of a picture [SIZE, SIZE, 3]."""
    bins = np.minimum((picture * 4).astype(int), 3) @ [16, 4, 1]
    return np.sqrt(np.bincount(bins.flatten(), minlength=64) / bins.size)


def vector_parts(manifest: Manifest, name: str, modality: Modality) -> dict[str, tuple[Array, Any]]:
    columns = [manifest.table[column].to_numpy() for column in modality.columns]
    return {name: (np.stack(columns, 1).astype(np.float32), None)}


def image_parts(manifest: Manifest, name: str, modality: Modality) -> dict[str, tuple[Array, Any]]:
    (column,) = modality.columns
    shapes, hues = [], []
    for cell in manifest.table[column].to_pylist():
        with Image.open(io.BytesIO(cell)) as file:
            picture = np.asarray(file.convert("RGB").resize((SIZE, SIZE)), dtype=np.float64) / 255
        shapes.append(gradients(picture.mean(-1)))
        hues.append(colours(picture))
    found = {f"{name}/gradients": shapes, f"{name}/colours": hues}
    return {part: (np.array(x, dtype=np.float32), None) for part, x in found.items()}


def text_parts(manifest: Manifest, name: str, modality: Modality) -> dict[str, tuple[Array, Any]]:
    (column,) = modality.columns
    texts = np.array(manifest.table[column].to_pylist())
    return {f"{name}/words": (texts, WORDS), f"{name}/characters": (texts, CHARACTERS)}


PARTS = {"vector": vector_parts, "image": image_parts, "text": text_parts}


def fold_numbers(rows: Array, labels: Array, groups: Array, seed: int) -> Array:
    """Return the fold [rows] of each row, or -1 for one that belongs to no fold.

    A class with fewer than five groups lowers the number of folds: else folds would lack classes, whose
    out-of-fold predictions are not like those of a learner that has seen them as often as the others. If a
    class is in one group only (as in ``htad-sessions``), five stretches of consecutive rows of each class
    take the place of groups.
    """
    number = min(FOLDS, *(len(np.unique(groups[rows[labels[rows] == c]])) for c in np.unique(labels[rows])))
    if number == 1:
        groups, number = groups.copy(), FOLDS
        for label in np.unique(labels[rows]):
            own = rows[labels[rows] == label]
            groups[own] = label * FOLDS + np.arange(len(own)) * FOLDS // len(own)
    found = np.full(len(rows), -1)
    for fold, (_, inside) in enumerate(cut_folds(rows, labels, groups, number, seed)):
        found[np.isin(rows, inside)] = fold
    return found


class Data:
    """A data set as arrays for the processes of the learners.

    Args:
        path: The manifest.
    """

    def __init__(self, path: Path) -> None:
        self.path, manifest = path, read_manifest(path)
        whole = (manifest.filled(name).all() for name in manifest.modalities)
        assert all(whole), f"{path}: a cell is missing, and the learners need all"
        rows = split_rows(manifest)
        self.labels = np.unique(manifest.labels.to_pylist(), return_inverse=True)[1].astype(np.int64)
        self.groups = group_codes(manifest)
        parts = {
            name: PARTS[modality.type](manifest, name, modality)
            for name, modality in manifest.modalities.items()
        }
        self.modalities = {
            name: {part: options for part, (_, options) in some.items()} for name, some in parts.items()
        }
        self.arrays = {f"x/{part}": x for some in parts.values() for part, (x, _) in some.items()}
        self.arrays |= {"labels": self.labels, **rows}

    def write(self, path: Path, seed: int) -> None:
        """Write the arrays, with the folds of a seed."""
        train, val = self.arrays["train"], self.arrays["val"]
        fitted = {"train": train, "train+val": np.sort(np.concatenate([train, val]))}
        folds = {
            f"folds/{name}": fold_numbers(rows, self.labels, self.groups, seed)
            for name, rows in fitted.items()
        }
        np.savez(path, **self.arrays, **folds)
