"""Count how many training samples of each class have each modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from altuna.data.dataset import MultimodalDataset

MIN_SHARE = 0.1  # of the samples: a modality that fewer have is reported
MAX_CLASSES_NAMED = 5


def learnt_from(dataset: MultimodalDataset, classes: Sequence[str]) -> dict[str, Any]:
    """Return the number of samples ``n``, their ``classes`` by modality, and ``remarks`` on rarities.

    Example:
        >>> cells = {"sound": np.ones((2, 3), np.float32)}
        >>> dataset = MultimodalDataset(cells, {"sound": np.array([0, 1, -1])}, np.array([0, 0, 1]))
        >>> learnt_from(dataset, ["cat", "owl"])["classes"]
        {'sound': {'cat': 2, 'owl': 0}}
    """
    balance = class_balance(dataset, classes)
    return {"n": len(dataset), "classes": balance, "remarks": [*rarities(balance, len(dataset))]}


def class_balance(dataset: MultimodalDataset, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return modality to class to the number of samples that have both.

    Example:
        >>> cells = {"sound": np.ones((2, 3), np.float32)}
        >>> dataset = MultimodalDataset(cells, {"sound": np.array([0, 1, -1])}, np.array([0, 0, 1]))
        >>> class_balance(dataset, ["cat", "owl"])  # no owl has a sound
        {'sound': {'cat': 2, 'owl': 0}}
    """
    counts = (np.bincount(dataset.labels[mine], minlength=len(classes)) for mine in dataset.present)
    return {
        name: dict(zip(classes, count.tolist(), strict=True))
        for name, count in zip(dataset.position, counts, strict=True)
    }


def rarities(balance: Mapping[str, Mapping[str, int]], samples: int) -> Iterator[str]:
    """Yield a sentence for each modality that is rare in training, or that no sample of some class has.

    Example:
        >>> [*rarities({"sound": {"cat": 60, "owl": 0}}, samples=100)]
        ["no training sample of class 'owl' has 'sound'"]
    """
    for name, counts in balance.items():
        share = sum(counts.values()) / samples
        if share < MIN_SHARE:
            yield f"only {share:.1%} of the training samples have {name!r} (under {MIN_SHARE:.0%})"
        if unseen := [c for c, count in counts.items() if not count]:
            more = f" and {len(unseen) - MAX_CLASSES_NAMED} more" * (len(unseen) > MAX_CLASSES_NAMED)
            named = ", ".join(map(repr, unseen[:MAX_CLASSES_NAMED]))
            yield f"no training sample of class {named}{more} has {name!r}"
