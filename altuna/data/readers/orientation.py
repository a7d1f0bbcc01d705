"""Tell series [C, T], with a list per channel, from series [T, C], with a list per step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers.steps import Steps

MIN_SHARE = 0.95  # of the cells that have one length: then the others are mistakes
SMOOTH = 0.5  # of the roughness of noise, which is 1: neighbours that differ by less are in time order
LONGER, MAX_CHANNELS = 8, 12  # times as many steps as channels, and channels, where nothing else tells


def channels_come_first(found: Sequence[Steps]) -> bool:
    """Return whether series are [C, T]: the first number is the same in all cells, and the second one is not.

    Where both are the same in all cells, the longer axis is that of time if neighbours along it differ less
    than along the other one, or if the other one is much shorter and neither is smooth.

    Example:
        >>> from altuna.data.readers.steps import load_steps
        >>> channels_come_first([load_steps(np.zeros((2, n))) for n in (30, 40, 50)])
        True
        >>> channels_come_first([load_steps(np.zeros((n, 2))) for n in (30, 40, 50)])
        False
    """
    free = [steps.values for steps in found if not steps.fixed]
    if len(free) < 3 or len(free) < len(found):
        return False
    (first, often), (second, often2) = (
        Counter(values.shape[axis] for values in free).most_common(1)[0] for axis in (0, 1)
    )
    if often < MIN_SHARE * len(free):
        return False
    if often2 < MIN_SHARE * len(free):
        return True
    if second <= first or second < 3:
        return False
    along, across = (
        float(np.median([roughness(values if axis == 0 else values.T) for values in free])) for axis in (1, 0)
    )
    if min(along, across) < SMOOTH:
        return bool(along < across)
    return bool(first <= MAX_CHANNELS and second >= LONGER * first)


def roughness(values: NDArray[np.float64]) -> float:
    """Return how much neighbours along axis 0 differ: about 1 for noise, and less in the order of time.

    Example:
        >>> roughness(np.arange(100.0)[:, None]) < 0.01
        True
    """
    if len(values) < 3:
        return 1.0
    steps = np.nanmean(np.diff(values, axis=0) ** 2) / 2
    spread = np.nanmean(np.nanvar(values, axis=0, ddof=1))
    return float(steps / spread) if spread > 0 else 1.0
