"""Shapley values of a set function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb

import torch
from torch import Tensor


def shapley(value: Callable[[tuple[str, ...]], Tensor], players: Sequence[str]) -> dict[str, Tensor]:
    r"""Return the Shapley value of each player, exactly, from the value of all ``2 ** len(players)`` subsets.

    .. math:: \phi_m = \sum_{S \not\ni m} \frac{|S|! (M - |S| - 1)!}{M!} (v(S \cup m) - v(S))

    Args:
        value: From a subset, in the order of ``players``, to a tensor of any shape.
        players: Their names.
    """
    number = len(players)
    known = {s: value(s) for k in range(number + 1) for s in combinations(players, k)}
    found = {}
    for m in players:
        total = torch.zeros_like(known[()])
        for subset, without in known.items():
            if m not in subset:
                joined = tuple(p for p in players if p in subset or p == m)
                total = total + (known[joined] - without) / (number * comb(number - 1, len(subset)))
        found[m] = total
    return found
