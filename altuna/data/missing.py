"""Which cells to take away, to study missing modalities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from altuna.errors import UserError


def missing_mask(modalities: int, samples: int, rate: float, seed: int = 0) -> NDArray[np.bool_]:
    """Return [M, N] bool, True where a cell stays (CPM-Nets: Zhang et al., NeurIPS 2019).

    Every sample keeps one modality drawn uniformly; of the other cells, as many are kept at random as
    make the missing share of all M x N cells ``rate`` (exact to one cell). Same seed, same mask.

    Raises:
        UserError: The rate is outside [0, 1 - 1/M].
    """
    highest = 1 - 1 / modalities
    if not 0 <= rate <= highest + 1e-9:
        raise UserError(
            f"missing rate {rate}: must be between 0 and 1 - 1/M = {highest:.3f} for {modalities} modalities"
        )
    rng = np.random.default_rng(seed)
    kept = np.zeros((modalities, samples), dtype=bool)
    kept[rng.integers(modalities, size=samples), np.arange(samples)] = True
    others = np.flatnonzero(~kept)
    more = round((1 - rate) * kept.size) - samples
    kept.flat[rng.permutation(others)[: max(0, more)]] = True
    return kept
