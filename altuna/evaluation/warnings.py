"""Warnings about a run that a user must not miss."""

from __future__ import annotations

from collections.abc import Mapping

ROUNDING = 1e-6  # of accuracies in float32


def fusion_warning(gains: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return a warning if the fused accuracy is below that of a modality alone, else None.

    Args:
        gains: By split, ``val`` first, what ``fusion_gains`` returns.

    Example:
        >>> fusion_warning({"val": {"audio": 0.1}, "test": {"audio": 0.02}})
        >>> text = fusion_warning({"val": {"audio": 0.1}, "test": {"audio": -0.05, "image": 0.3}})
        >>> text[:66]
        "fused accuracy is below that of 'audio' alone: by 5.0 points on te"
    """
    worst = {split: min(of.items(), key=lambda item: item[1]) for split, of in gains.items() if of}
    below = {split: (name, gain) for split, (name, gain) in worst.items() if gain < -ROUNDING}
    if not below:
        return None
    names = " and ".join(dict.fromkeys(repr(name) for name, _ in below.values()))
    points = " and ".join(f"{-100 * gain:.1f} points on {split}" for split, (_, gain) in below.items())
    if "val" in below:
        reason = "the other modalities add less than they cost"
        remedy = f"try more validation rows, fewer weak modalities, or --method unimodal with {names}"
    else:
        reason = "validation, on which the fusion was fitted, does not show this"
        remedy = "check that val is like test: other people, places or times in each, and enough rows"
    return f"fused accuracy is below that of {names} alone: by {points}; {reason}; {remedy}"
