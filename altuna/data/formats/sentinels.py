"""Find numbers that stand for a missing one, such as -999."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NINES = tuple(int("9" * n) for n in range(2, 10))
CANDIDATES = frozenset(float(v) for v in (*NINES, *(-n for n in NINES), -(2**31), 2**31 - 1, -1e20, 1e20))
LOWEST = float(np.finfo(np.float32).min)  # is printed with 8 to 17 digits
FAR = 3  # times the range of the other numbers
SEVERAL = 3  # cells with such a number that are worth a remark, and other numbers to judge it by


class Sentinels(NamedTuple):
    """Numbers of a column that mean a missing one, and one that may do so, each with its count.

    Example:
        >>> Sentinels({-999.0: 3}, {}).missing
        {-999.0: 3}
    """

    missing: dict[float, int]
    doubtful: dict[float, int]


def find_sentinels(column: pa.ChunkedArray) -> Sentinels:
    """Find numbers made of nines (or the limits of 32 bits) at the ends of a column, far from the others.

    They mean a missing number without doubt if there are at least three other numbers, if they are three
    times as far from these as these are from each other, or are the only negative ones, and if they are at
    least half their size away (99 and 999 only if several cells have them).

    Example:
        >>> find_sentinels(pa.chunked_array([[3.0, 4.0, -999.0, 5.0, -999.0]])).missing
        {-999.0: 2}
        >>> find_sentinels(pa.chunked_array([[98, 99, 98, 99, 99]]))
        Sentinels(missing={}, doubtful={})
    """
    missing: dict[float, int] = {}
    rest = column
    while True:
        ends = pc.min_max(rest).as_py()
        number = next((v for v in (ends["min"], ends["max"]) if v is not None and _is_candidate(v)), None)
        if number is None:
            return Sentinels(missing, {})
        same = pc.equal(rest, pa.scalar(number, rest.type))
        count = pc.sum(same).as_py()
        others = rest.filter(pc.invert(same).fill_null(False))
        low, high = pc.min_max(others).as_py().values()
        if low is None:
            return Sentinels(missing, {})
        gap, spread = (low - number if number < low else number - high), high - low
        alone = number < 0 <= low  # the only negative number
        apart = (gap > FAR * spread or alone) and gap >= abs(number) / 2
        often = count >= 2 or abs(number) > 99_000 or (alone and number < -99)
        if apart and often and pc.count_distinct(others).as_py() >= SEVERAL:
            missing[float(number)] = count
            rest = others
            continue
        doubtful = gap > max(spread, abs(number) / 10) and count >= SEVERAL
        return Sentinels(missing, {float(number): count} if doubtful else {})


def _is_candidate(number: float) -> bool:
    return number in CANDIDATES or math.isclose(number, LOWEST, rel_tol=1e-6)
