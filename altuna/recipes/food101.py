"""UPMC Food-101: images of 101 dishes with the titles of their web pages (Wang et al., 2015).

``images/{train,test}/<class>/<class>_<n>.jpg``; ``texts/{train,test}_titles.csv`` without a header: image,
title, class. The train and test splits are those of the release; val is carved out of train.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, rows


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Yield the samples of a release."""
    for split in ("train", "test"):
        titles = root / "texts" / f"{split}_titles.csv"
        if not titles.exists():
            raise UserError(f"{root}: not a UPMC Food-101 release: lacks texts/{titles.name}")
        images = {
            path.name: path
            for folder in sorted((root / "images" / split).glob("*/"))
            for path in files(folder, (".jpg", ".jpeg", ".png"), problems).values()
        }
        for number, row in rows(titles, problems):
            if len(row) != 3:
                problems.note(f"{len(row)} cells instead of image, title, class: ignored", titles, number)
                continue
            name, title, label = row
            id = Path(name).stem
            path = images.pop(name, None)
            folder = path.parent.name if path else label
            if not label == folder == id.rpartition("_")[0]:
                problems.left_out(
                    id, f"is labelled {label!r} here, but its image is {folder}/{name}", titles, number
                )
                continue
            yield Sample(id, label, {"image": path, "text": " ".join(title.split())}, split)
        for path in images.values():
            yield Sample(path.stem, path.parent.name, {"image": path, "text": None}, split)


RECIPE = Recipe("UPMC Food-101", read, {"image": "image", "text": "text"}, tag="food")
