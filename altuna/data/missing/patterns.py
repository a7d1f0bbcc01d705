"""Patterns of missing modalities: which cells to mask at random."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.errors import UserError
from altuna.options import nearest

PATTERNS = ("random", "group", "label", "only:MODALITY", "never:MODALITY")
NAMED = ("only", "never")

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
Seed = int | Sequence[int]


def highest_rate(present: Mask) -> float:
    """Return the largest fraction of the cells of [M, N] bool to mask such that each sample keeps one.

    Example:
        >>> highest_rate(np.ones((2, 5), bool))
        0.5
    """
    return float(1 - present.shape[1] / max(1, present.sum()))


def missing_mask(present: Mask, rate: float, seed: Seed = 0, first: Mask | None = None) -> Mask:
    """Return which cells are kept, [M, N] bool, with a random mask (CPM-Nets: Zhang et al., NeurIPS 2019).

    Each sample keeps one of its modalities, drawn uniformly. Other cells are masked at random such that
    ``rate`` of all cells is masked (exact to one cell). The same seed gives the same mask.

    Args:
        present: [M, N] bool, the cells that are present; each sample has at least one.
        rate: Fraction of these cells to mask, from 0 to 1 - N / cells (1 - 1/M if none was missing).
        seed: Random seed.
        first: [M, N] bool, cells to mask before all others; a sample keeps one only if it has no other.

    Raises:
        UserError: The rate is outside its range.

    Example:
        >>> kept = missing_mask(np.ones((2, 10), bool), rate=0.3)
        >>> int(kept.sum()), bool(kept.any(axis=0).all())
        (14, True)
    """
    samples, cells, highest = present.shape[1], int(present.sum()), highest_rate(present)
    if not 0 <= rate <= highest + 1e-9:
        raise UserError(
            f"missing rate {rate}: must be between 0 and {floor(1000 * highest + 1e-6) / 1000}, "
            "so that each sample keeps one modality (1 - 1/M if no cell is empty)"
        )
    rng = np.random.default_rng(seed)
    late = np.zeros_like(present) if first is None else ~first
    kept = np.zeros_like(present)
    kept[np.where(present, rng.random(present.shape) + late, -1).argmax(axis=0), np.arange(samples)] = True
    others = rng.permutation(np.flatnonzero(present & ~kept))
    others = others[np.argsort(~late.flat[others], kind="stable")]
    more = round((1 - rate) * cells) - samples
    kept.flat[others[: max(0, more)]] = True
    return kept


def pattern_mask(
    pattern: str,
    rate: float | None,
    present: Mask,
    modalities: Sequence[str],
    labels: Codes,
    groups: Codes,
    seed: Seed = 0,
) -> Mask:
    """Return which cells are kept, [M, N] bool, with a named pattern.

    - ``random``: ``missing_mask``.
    - ``group``: ``missing_mask`` of whole groups, as when a device lacks a sensor. ``rate`` is a fraction of
      (group, modality) cells; a sample that would be left with nothing keeps what it has.
    - ``label``: ``missing_mask``, but class c loses modality ``c mod M`` first: absence reveals the class.
    - ``only:NAME``, ``never:NAME``: a fraction ``rate`` of the samples (all if None) has this modality only,
      or lacks it. A sample may be left with no cell.

    Args:
        pattern: One of these.
        rate: Fraction of the cells to mask, or of the samples (``only``, ``never``).
        present: [M, N] bool, the cells that are present.
        modalities: Names of the modalities.
        labels: [N] class numbers.
        groups: [N] group numbers.
        seed: Random seed.

    Raises:
        UserError: Unknown pattern or modality, or a rate outside its range.

    Example:
        >>> present, numbers = np.ones((2, 3), bool), np.arange(3)
        >>> pattern_mask("never:text", None, present, ["image", "text"], numbers, numbers).tolist()
        [[True, True, True], [False, False, False]]
    """
    kind, name = check_pattern(pattern, modalities)
    if name is not None:
        return _named(pattern, kind == "only", name, 1.0 if rate is None else rate, present, modalities, seed)
    if rate is None:
        raise UserError(f"the missing pattern {pattern!r} needs a missing rate")
    if pattern == "random":
        return missing_mask(present, rate, seed)
    if pattern == "label":
        first = labels % len(modalities) == np.arange(len(modalities))[:, None]
        return missing_mask(present, rate, seed, first)
    have, codes = by_group(present, groups)
    stays = present & missing_mask(have, rate, seed)[:, codes]
    return np.where(stays.any(axis=0), stays, present)


def check_pattern(pattern: str, modalities: Sequence[str]) -> tuple[str, str | None]:
    """Return the kind of a pattern, and the modality that it names (None if it names none).

    Raises:
        UserError: Unknown pattern or modality.

    Example:
        >>> check_pattern("only:text", ["image", "text"]), check_pattern("group", ["image", "text"])
        (('only', 'text'), ('group', None))
    """
    kind, colon, name = pattern.partition(":")
    if kind in NAMED and colon:
        if name not in modalities:
            raise UserError(f"missing pattern {pattern!r}: no modality {name!r}{nearest(name, modalities)}")
        return kind, name
    if pattern not in PATTERNS:
        raise UserError(f"missing pattern: unknown pattern {pattern!r}{nearest(pattern, PATTERNS)}")
    return pattern, None


def by_group(present: Mask, groups: Codes) -> tuple[Mask, Codes]:
    """Return which modalities each group has, [M, G] bool, and the group of each sample [N].

    Example:
        >>> have, codes = by_group(np.array([[True, False, False]]), groups=np.array([7, 7, 9]))
        >>> have.tolist(), codes.tolist()  # group 7 has the modality, group 9 has not
        ([[True, False]], [0, 0, 1])
    """
    _, codes = np.unique(groups, return_inverse=True)
    have = np.zeros((len(present), codes.max(initial=-1) + 1), dtype=bool)
    for modality, there in zip(have, present, strict=True):
        modality[codes[there]] = True
    return have, codes


def _named(
    pattern: str, only: bool, name: str, rate: float, present: Mask, modalities: Sequence[str], seed: Any
) -> Mask:
    if not 0 <= rate <= 1:
        raise UserError(
            f"missing rate {rate}: must be a fraction of the samples, from 0 to 1, for pattern {pattern!r}"
        )
    samples = present.shape[1]
    affected = np.zeros(samples, dtype=bool)
    affected[np.random.default_rng(seed).permutation(samples)[: round(rate * samples)]] = True
    named = np.array([modality == name for modality in modalities])[:, None]
    stays: Mask = present & ~(affected & (named != only))
    return stays
