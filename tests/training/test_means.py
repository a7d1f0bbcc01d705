"""Means of figures that arrive one by one."""

import math
import random

import pytest
import torch

from altuna.training import means
from altuna.training.means import Mean


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(means, "MANY", 8)


def numbers(count):
    draw = random.Random(0)
    return [torch.tensor(draw.gauss(0, 1) * 10 ** draw.uniform(-20, 20)) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_it_is_the_mean(count):
    mean, values = Mean(), numbers(count)
    for value in values:
        mean.add(value)
    assert mean.value() == pytest.approx(math.fsum(v.item() for v in values) / count, rel=1e-12)


@pytest.mark.parametrize("stop", range(0, 20, 3))
def test_a_state_taken_at_any_time_changes_nothing(stop):
    whole, values = Mean(), numbers(30)
    for value in values:
        whole.add(value)
    mean = Mean()
    for value in values[:stop]:
        mean.add(value)
    mean = Mean(*mean.state())
    for value in values[stop:]:
        mean.add(value)
    assert mean.value() == whole.value()


def test_what_is_kept_does_not_grow():
    mean = Mean()
    for value in numbers(1000):
        mean.add(value)
        assert len(mean._waiting) < 8


def test_infinities_of_both_signs_have_none():
    mean = Mean()
    for value in (math.inf, 1, -math.inf):
        mean.add(torch.tensor(value))
    assert math.isnan(mean.value())
