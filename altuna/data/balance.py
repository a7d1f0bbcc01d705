"""Who is there to learn from: how many samples of each class have each modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from altuna.data.dataset import MultimodalDataset

LEAST_SHARE = 0.1  # of the samples that should have a modality
MOST_CLASSES_NAMED = 5


def learnt_from(dataset: MultimodalDataset, classes: Sequence[str]) -> dict[str, Any]:
    """Return the number of samples, ``n``, their ``classes`` by modality, and ``remarks`` on these."""
    balance = class_balance(dataset, classes)
    return {"n": len(dataset), "classes": balance, "remarks": [*rarities(balance, len(dataset))]}


def class_balance(dataset: MultimodalDataset, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return, by modality, how many samples of each class have it."""
    counts = (np.bincount(dataset.labels[mine], minlength=len(classes)) for mine in dataset.present)
    return {
        name: dict(zip(classes, count.tolist(), strict=True))
        for name, count in zip(dataset.position, counts, strict=True)
    }


def rarities(balance: Mapping[str, Mapping[str, int]], samples: int) -> Iterator[str]:
    """Say which modalities are rare in training, and which classes they never show."""
    for name, counts in balance.items():
        share = sum(counts.values()) / samples
        if share < LEAST_SHARE:
            yield f"only {share:.1%} of the training samples have {name!r} (under {LEAST_SHARE:.0%})"
        if unseen := [c for c, count in counts.items() if not count]:
            more = f" and {len(unseen) - MOST_CLASSES_NAMED} more" * (len(unseen) > MOST_CLASSES_NAMED)
            named = ", ".join(map(repr, unseen[:MOST_CLASSES_NAMED]))
            yield f"no training sample of class {named}{more} has {name!r}"
