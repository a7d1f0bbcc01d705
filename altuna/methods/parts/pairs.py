"""What the losses of several methods share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import torch
from torch import Tensor


def pairs(
    values: Mapping[str, Tensor], rows: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, for every two modalities, what each has for the samples that have both, and these samples' rows.

    Args:
        values: Modality to its values [n_m, ...].
        rows: Modality to the batch rows [n_m] of its values, ascending.
    """
    for one, other in combinations(values, 2):
        mine, theirs = torch.isin(rows[one], rows[other]), torch.isin(rows[other], rows[one])
        if mine.any():
            yield values[one][mine], values[other][theirs], rows[one][mine]
