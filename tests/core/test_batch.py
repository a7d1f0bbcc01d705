"""Batches, and which modalities their samples have."""

import pytest
import torch

from altuna import Batch
from altuna.core.batch import presence


def test_presence():
    rows = {"b": torch.tensor([0, 2]), "a": torch.tensor([1])}
    want = torch.tensor([[False, True, False], [True, False, True], [False] * 3])
    assert torch.equal(presence(rows, ("a", "b", "c"), 3), want)
    assert presence({}, ("a",), 2).tolist() == [[False, False]]


def test_batch():
    batch = Batch(
        {"a": torch.zeros(2, 3)}, {"a": torch.tensor([1, 3])}, torch.tensor([5, 6, 7, 8]), torch.arange(4)
    )
    assert len(batch) == 4
    assert batch.labels_of("a").tolist() == [6, 8]
    moved = batch.to("meta")
    tensors = [*moved.inputs.values(), *moved.rows.values(), moved.labels, moved.indices]
    assert len(tensors) == 4
    assert all(t.is_meta for t in tensors)
    assert not batch.labels.is_meta
    with pytest.raises(AttributeError):
        batch.labels = torch.zeros(4)
