"""MVSA-Single: tweets with an image and a text, positive, neutral or negative (Niu et al., 2016).

``data/<id>.jpg``, ``data/<id>.txt``; ``labelResultAll.txt`` has one label of the text and one of the image. A
sample gets their common label; if one is neutral, the other; if one is positive and the other negative, the
sample is left out. Split 60/15/25.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, lines

LABELS = "positive|neutral|negative"


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Yield the samples of a release."""
    labels = root / "labelResultAll.txt"
    if not labels.exists():
        raise UserError(f"{root}: not an MVSA-Single release: lacks {labels.name}")
    images = files(root / "data", (".jpg",), problems, beside=(".txt",))
    texts = files(root / "data", (".txt",), problems, beside=(".jpg",))
    for number, line in enumerate(lines(labels, problems)[1:], 2):
        if not line.strip():
            continue
        row = re.fullmatch(rf"\w+\s+({LABELS})\s*,\s*({LABELS})\s*", line)
        id = line.split()[0]
        image, text = images.pop(id, None), texts.pop(id, None)
        if not row:
            problems.left_out(id, "is not <id> <label of text>,<label of image>", labels, number)
            continue
        kinds = {row[1], row[2]}
        if kinds == {"positive", "negative"}:
            problems.left_out(id, f"has opposite labels: text {row[1]}, image {row[2]}", labels, number)
            continue
        label = row[1] if len(kinds) == 1 else (kinds - {"neutral"}).pop()
        yield Sample(id, label, {"image": image, "text": text})
    for id in sorted({*images, *texts}):
        problems.left_out(id, f"has no label in {labels.name}", images.get(id, texts.get(id)))


RECIPE = Recipe("MVSA-Single", read, {"image": "image", "text": "text"}, tag="mvsa")
