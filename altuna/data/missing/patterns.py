"""Which cells to take away, to study missing modalities."""

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
    """Return the share of the cells of [M, N] bool that can go while every sample keeps one."""
    return float(1 - present.shape[1] / max(1, present.sum()))


def missing_mask(present: Mask, rate: float, seed: Seed = 0, first: Mask | None = None) -> Mask:
    """Return [M, N] bool, True where a cell stays (CPM-Nets: Zhang et al., NeurIPS 2019).

    Every sample keeps one of its modalities, drawn uniformly; of the other cells as many are kept at random
    as make the share taken away of all cells ``rate`` (exact to one cell). Same seed, same mask.

    Args:
        present: [M, N] bool, the cells that are there; every sample has one.
        rate: Share of these cells to take away, in [0, 1 - N / cells]: 1 - 1/M where none is missing.
        seed: Of the draws.
        first: [M, N] bool, cells that go before all others, and that samples keep only if they have no other.

    Raises:
        UserError: The rate is outside its range.
    """
    samples, cells, highest = present.shape[1], int(present.sum()), highest_rate(present)
    if not 0 <= rate <= highest + 1e-9:
        raise UserError(
            f"missing rate {rate}: must be between 0 and {floor(1000 * highest + 1e-6) / 1000}, "
            "where every sample is left with one modality (1 - 1/M if none was missing before)"
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
    """Return [M, N] bool, True where a cell stays, by a named pattern.

    - ``random``: ``missing_mask``;
    - ``group``: the same for whole groups, as when a device lacks a sensor: ``rate`` is of (group, modality)
      cells, and a sample keeps what it has rather than nothing;
    - ``label``: the same, but of class c modality ``c mod M`` goes first, so that absence tells the class;
    - ``only:NAME``, ``never:NAME``: a share ``rate`` of the samples (all when None) has only this modality,
      or never. A sample that is left with nothing has no cell that stays.

    Args:
        pattern: One of these.
        rate: Share to take away, or of samples concerned.
        present: [M, N] bool, the cells that are there.
        modalities: Their names.
        labels: [N] class numbers.
        groups: [N] group numbers.
        seed: Of the draws.

    Raises:
        UserError: Unknown pattern or modality, or a rate outside its range.
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
    """Return a pattern's kind and the modality that it names, if it is of a kind that names one.

    Raises:
        UserError: Unknown pattern or modality.
    """
    kind, colon, name = pattern.partition(":")
    if kind in NAMED and colon:
        if name not in modalities:
            raise UserError(f"missing pattern {pattern!r}: no modality {name!r}{nearest(name, modalities)}")
        return kind, name
    if pattern not in PATTERNS:
        raise UserError(f"missing pattern: no {pattern!r}{nearest(pattern, PATTERNS)}")
    return pattern, None


def by_group(present: Mask, groups: Codes) -> tuple[Mask, Codes]:
    """Return which modalities each group has [M, G], of [M, N] bool, and each sample's group [N]."""
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
            f"missing rate {rate}: with the pattern {pattern!r} it is a share of samples, from 0 to 1"
        )
    samples = present.shape[1]
    concerned = np.zeros(samples, dtype=bool)
    concerned[np.random.default_rng(seed).permutation(samples)[: round(rate * samples)]] = True
    mine = np.array([modality == name for modality in modalities])[:, None]
    stays: Mask = present & ~(concerned & (mine != only))
    return stays
