"""MVSA-Single: tweets of a picture and a text, positive, neutral or negative (Niu et al., 2016).

``data/<id>.jpg``, ``data/<id>.txt``; ``labelResultAll.txt`` has a label for the text and one for the image.
Equal labels stay, neutral yields to the other, positive against negative is left out. Split 60/15/25.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, lines

LABELS = "positive|neutral|negative"


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Give the samples below a root."""
    labels = root / "labelResultAll.txt"
    if not labels.exists():
        raise UserError(f"{root}: is no MVSA-Single release: lacks {labels.name}")
    images = files(root / "data", (".jpg",), problems, beside=(".txt",))
    texts = files(root / "data", (".txt",), problems, beside=(".jpg",))
    for number, line in enumerate(lines(labels, problems)[1:], 2):
        if not line.strip():
            continue
        row = re.fullmatch(rf"\w+\s+({LABELS})\s*,\s*({LABELS})\s*", line)
        id = line.split()[0]
        image, text = images.pop(id, None), texts.pop(id, None)
        if not row:
            problems.left_out(id, "not <id> <label of text>,<label of image>", labels, number)
            continue
        kinds = {row[1], row[2]}
        if kinds == {"positive", "negative"}:
            problems.left_out(id, f"labels that differ: text {row[1]}, image {row[2]}", labels, number)
            continue
        label = row[1] if len(kinds) == 1 else (kinds - {"neutral"}).pop()
        yield Sample(id, label, {"image": image, "text": text})
    for id in sorted({*images, *texts}):
        problems.left_out(id, f"has no label in {labels.name}", images.get(id, texts.get(id)))


RECIPE = Recipe("MVSA-Single", read, {"image": "image", "text": "text"}, tag="mvsa")
