"""Subsets of the modalities of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from random import Random

MAX_MODALITIES = 6  # of more than these, not all subsets are listed
MAX_SUBSETS = 32  # of one size that are sampled where there are more


def subsets(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the non-empty subsets, small ones first.

    Of more than ``MAX_MODALITIES`` modalities only those with one, with all but one, and with all.

    Example:
        >>> list(subsets(["audio", "image"]))
        [('audio',), ('image',), ('audio', 'image')]
    """
    number = len(modalities)
    sizes = range(1, number + 1) if number <= MAX_MODALITIES else (1, number - 1, number)
    for size in sizes:
        yield from combinations(modalities, size)


def sample_subsets(number: int, size: int) -> list[tuple[int, ...]]:
    """Return the subsets of ``size`` out of ``number`` modalities, or ``MAX_SUBSETS`` if there are more.

    These are cut from shuffled lists of the modalities, so that each modality is in about equally many; the
    same arguments always give the same subsets.

    Example:
        >>> sample_subsets(3, 2)
        [(0, 1), (0, 2), (1, 2)]
    """
    if comb(number, size) <= MAX_SUBSETS:
        return [*combinations(range(number), size)]
    random, found = Random(size), dict[tuple[int, ...], None]()
    while len(found) < MAX_SUBSETS:
        order = random.sample(range(number), number)
        for start in range(0, number, size):
            found[tuple(sorted((order * 2)[start : start + size]))] = None
    return [*found][:MAX_SUBSETS]
