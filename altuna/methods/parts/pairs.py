"""Pairs of modalities, for losses that compare two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import torch
from torch import Tensor


def pairs(
    values: Mapping[str, Tensor], rows: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield both modalities' values [n, ...] and the rows [n] of the samples that have both, for every pair.

    Args:
        values: Modality to its values [n_m, ...].
        rows: Modality to the batch rows [n_m] of its values, ascending.

    Example:
        >>> values = {"audio": torch.tensor([1.0, 2.0]), "image": torch.tensor([3.0])}
        >>> rows = {"audio": torch.tensor([0, 1]), "image": torch.tensor([1])}
        >>> next(pairs(values, rows))
        (tensor([2.]), tensor([3.]), tensor([1]))
    """
    for one, other in combinations(values, 2):
        mine, theirs = torch.isin(rows[one], rows[other]), torch.isin(rows[other], rows[one])
        if mine.any():
            yield values[one][mine], values[other][theirs], rows[one][mine]
