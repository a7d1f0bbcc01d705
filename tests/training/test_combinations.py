"""A label that only a combination of modalities tells is noticed, and no other."""

import numpy as np
import pytest
import torch
from torch import nn

from altuna.core.model import MultimodalClassifier
from altuna.data.dataset import MultimodalDataset
from altuna.training.combinations import combination_warning


def data(rng, label, rows=300, missing=0.0, names=("motion", "mode")):
    x = rng.normal(size=(2, rows, 2)).astype(np.float32)
    position = {}
    for name in names:
        here = rng.random(rows) >= missing
        position[name] = np.where(here, np.arange(rows), -1)
    labels = label(rng, *x).astype(np.int64)
    return MultimodalDataset(dict(zip(names, x, strict=True)), position, labels)


def product(rng, a, b):
    return (a[:, 0] > 0) ^ (b[:, 1] > 0)


def total(rng, a, b):
    return a[:, 0] + b[:, 1] > 0


def noise(rng, a, b):
    return rng.integers(2, size=len(a))


def model(**options):
    encoders = {name: nn.Linear(2, 4) for name in ("motion", "mode")}
    return MultimodalClassifier(encoders, num_classes=2, **options)


@pytest.mark.parametrize(
    ("label", "accuracy", "warns"),
    [(product, 0.5, True), (product, 0.97, False), (total, 0.93, False), (noise, 0.4, False)],
    ids=["combination", "learnt", "sum", "noise"],
)
def test_only_a_combination_that_is_not_learnt_has_a_warning(label, accuracy, warns):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        found = combination_warning(model(), data(rng, label), data(rng, label, 120), accuracy, seed)
        assert (found is not None) == warns
        if warns:
            assert found.startswith("Decision trees on 'motion' and 'mode' together are ")
            assert "the model 50.0 %" in found
            assert "--joint-expert apart" in found


def test_it_is_noticed_with_missing_cells():
    rng = np.random.default_rng(0)
    train, val = data(rng, product, 600, missing=0.1), data(rng, product, 200, missing=0.1)
    assert combination_warning(model(), train, val, 0.5) is not None


def test_there_is_none_where_it_would_tell_nothing():
    rng = np.random.default_rng(0)
    train, val = data(rng, product), data(rng, product, 120)
    few = data(rng, product, 20)
    assert combination_warning(model(), train, few, 0.5) is None
    assert combination_warning(model(head="concat"), train, val, 0.5) is None
    one = MultimodalDataset(
        {"motion": train.arrays["motion"]}, {"motion": train.position["motion"]}, train.labels
    )
    assert combination_warning(model(), one, val, 0.5) is None
    pictures = torch.zeros(300, 3, 2, 2).numpy()
    picture = MultimodalDataset({**train.arrays, "mode": pictures}, dict(train.position), train.labels)
    assert combination_warning(model(), picture, val, 0.5) is None
