"""Batches: only what is there, in an order that the seed and the epoch decide."""

import numpy as np
import torch

from altuna.data.dataset import BatchSampler, MultimodalDataset, loader
from altuna.data.missing.patterns import missing_mask


def dataset():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([[10], [11]], np.int16)}
    position = {"a": np.array([0, -1, 2, 1]), "b": np.array([-1, 0, 1, -1])}
    return MultimodalDataset(arrays, position, np.array([5, 6, 7, -1]))


def test_a_batch_has_only_the_rows_that_are_there():
    batch = dataset()[[3, 1, 2]]
    assert len(batch) == 3
    assert batch.rows["a"].tolist() == [0, 2]
    assert batch.inputs["a"].tolist() == [[2, 3], [4, 5]]
    assert batch.rows["b"].tolist() == [1, 2]
    assert batch.inputs["b"].tolist() == [[10], [11]]
    assert batch.inputs["b"].dtype == torch.int16
    assert batch.labels.tolist() == [-1, 6, 7]
    assert batch.labels_of("a").tolist() == [-1, 7]
    assert batch.indices.tolist() == [3, 1, 2]


def test_a_modality_that_nobody_has_is_not_in_the_batch():
    batch = dataset()[[0, 3]]
    assert set(batch.inputs) == set(batch.rows) == {"a"}


def test_masked():
    data = dataset()
    assert data.present.tolist() == [[True, False, True, True], [False, True, True, False]]
    mask = np.array([[True] * 4, [False] * 4])
    left = data.masked(mask)
    assert left.labels.tolist() == [5, 7, -1]
    assert left.present.tolist() == [[True] * 3, [False] * 3]
    assert left[[0, 1, 2]].inputs["a"].tolist() == [[0, 1], [4, 5], [2, 3]]
    # What is absent does not come back, and the data set itself is as it was.
    assert data.masked(np.ones((2, 4), bool)).present.tolist() == data.present.tolist()
    assert len(data) == 4
    assert len(data.masked(np.zeros((2, 4), bool))) == 0


def test_the_mask_has_the_rate_and_leaves_no_sample_empty():
    mask = missing_mask(np.ones((3, 1000), dtype=bool), 0.5, seed=1)
    assert mask.mean() == 0.5
    assert mask.any(axis=0).all()
    assert np.array_equal(mask, missing_mask(np.ones((3, 1000), dtype=bool), 0.5, seed=1))


def order(seed, epoch, size=100):
    sampler = BatchSampler(size, 32, seed)
    sampler.set_epoch(epoch)
    batches = [*sampler]
    assert len(batches) == len(sampler)
    return [row for batch in batches for row in batch]


def test_the_sampler_depends_on_seed_and_epoch_alone():
    assert order(0, 3) == order(0, 3)
    assert sorted(order(0, 3)) == [*range(100)]
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(None, 5) == [*range(100)]


def test_every_sample_comes_once():
    for workers in (0, 2):
        batches = [*loader(dataset(), 3, shuffle_seed=0, workers=workers)]
        assert [len(batch) for batch in batches] == [3, 1]
        assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == [0, 1, 2, 3]
