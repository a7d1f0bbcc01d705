"""UPMC Food-101: pictures of 101 dishes and the titles of the pages they were on (Wang et al., 2015).

``images/{train,test}/<class>/<class>_<n>.jpg``; ``texts/{train,test}_titles.csv`` without a header: image,
title, class. The release's own train and test; val is carved from train.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, rows


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Give the samples below a root."""
    for split in ("train", "test"):
        titles = root / "texts" / f"{split}_titles.csv"
        if not titles.exists():
            raise UserError(f"{root}: is no UPMC Food-101 release: lacks texts/{titles.name}")
        images = {
            path.name: path
            for folder in sorted((root / "images" / split).glob("*/"))
            for path in files(folder, (".jpg", ".jpeg", ".png"), problems).values()
        }
        for number, row in rows(titles, problems):
            if len(row) != 3:
                problems.note(f"{len(row)} cells, not image, title, class: passed over", titles, number)
                continue
            name, title, label = row
            id = Path(name).stem
            path = images.pop(name, None)
            folder = path.parent.name if path else label
            if not label == folder == id.rpartition("_")[0]:
                problems.left_out(id, f"is {label!r} here, and the image is {folder}/{name}", titles, number)
                continue
            yield Sample(id, label, {"image": path, "text": " ".join(title.split())}, split)
        for path in images.values():
            yield Sample(path.stem, path.parent.name, {"image": path, "text": None}, split)


RECIPE = Recipe("UPMC Food-101", read, {"image": "image", "text": "text"}, tag="food")
