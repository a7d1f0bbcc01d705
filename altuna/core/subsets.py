"""Subsets of the modalities of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from random import Random

MAX_MODALITIES = 6  # of which all subsets are tested
MAX_SUBSETS = 32  # of one size that are looked at where all would be too many


def subsets(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the non-empty subsets, small ones first; of many modalities those of one, all but one, all."""
    number = len(modalities)
    sizes = range(1, number + 1) if number <= MAX_MODALITIES else (1, number - 1, number)
    for size in sizes:
        yield from combinations(modalities, size)


def some_subsets(number: int, size: int) -> list[tuple[int, ...]]:
    """Return subsets of so many of ``number`` modalities: all or, where there are more, ``MAX_SUBSETS``.

    These are dealt out of shuffled modalities, so that each is in about as many; always the same ones.
    """
    if comb(number, size) <= MAX_SUBSETS:
        return [*combinations(range(number), size)]
    random, found = Random(size), dict[tuple[int, ...], None]()
    while len(found) < MAX_SUBSETS:
        order = random.sample(range(number), number)
        for start in range(0, number, size):
            found[tuple(sorted((order * 2)[start : start + size]))] = None
    return [*found][:MAX_SUBSETS]
