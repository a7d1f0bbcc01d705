"""Encoding a batch in parts."""

import torch
from torch import nn

from altuna import MultimodalClassifier


def test_statistics_count_a_part_once():
    torch.manual_seed(0)
    encoders = {"a": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))}
    model = MultimodalClassifier(encoders, 2, feature_sizes={"a": 3})
    model.micro_batch = 8
    losses = [model.encode("a", torch.randn(20, 4)).square().mean() for _ in range(2)]
    norm = model.encoders[0][1]
    seen = norm.running_mean.clone()
    for loss in losses:
        loss.backward(retain_graph=True)
        loss.backward()
    assert torch.equal(norm.running_mean, seen)
    assert norm.num_batches_tracked == 2 * 3  # parts of 8, 8 and 4, whatever backward encodes again
    assert norm.momentum == 0.1
