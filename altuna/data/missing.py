"""Which cells to take away, to study missing modalities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from altuna.errors import UserError


def missing_mask(present: NDArray[np.bool_], rate: float, seed: int = 0) -> NDArray[np.bool_]:
    """Return [M, N] bool, True where a cell stays (CPM-Nets: Zhang et al., NeurIPS 2019).

    Every sample keeps one of its modalities, drawn uniformly; of the other cells as many are kept at random
    as make the share taken away of all cells ``rate`` (exact to one cell). Same seed, same mask.

    Args:
        present: [M, N] bool, the cells that are there; every sample has one.
        rate: Share of these cells to take away, in [0, 1 - N / cells]: 1 - 1/M where none is missing.
        seed: Of the draws.

    Raises:
        UserError: The rate is outside its range.
    """
    samples, cells = present.shape[1], int(present.sum())
    highest = 1 - samples / cells
    if not 0 <= rate <= highest + 1e-9:
        raise UserError(
            f"missing rate {rate}: must be between 0 and {highest:.3f}, "
            "where every sample is left with one modality (1 - 1/M if none was missing before)"
        )
    rng = np.random.default_rng(seed)
    kept = np.zeros_like(present)
    kept[np.where(present, rng.random(present.shape), -1).argmax(axis=0), np.arange(samples)] = True
    others = np.flatnonzero(present & ~kept)
    more = round((1 - rate) * cells) - samples
    kept.flat[rng.permutation(others)[: max(0, more)]] = True
    return kept
