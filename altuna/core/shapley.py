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
        value: Maps a subset of the players, in their order, to a tensor of any shape.
        players: Names of the M players.

    Example:
        >>> import torch
        >>> shapley(lambda subset: torch.tensor(float(len(subset) == 2)), ["audio", "image"])
        {'audio': tensor(0.5000), 'image': tensor(0.5000)}
    """
    number = len(players)
    values = {s: value(s) for k in range(number + 1) for s in combinations(players, k)}
    shares = {}
    for m in players:
        total = torch.zeros_like(values[()])
        for subset, without in values.items():
            if m not in subset:
                joined = tuple(p for p in players if p in subset or p == m)
                total = total + (values[joined] - without) / (number * comb(number - 1, len(subset)))
        shares[m] = total
    return shares
