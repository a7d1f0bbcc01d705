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
        >>> text[:72]
        "The fused accuracy is below the accuracy of 'audio' alone, by 5.0 points"
    """
    worst = {split: min(of.items(), key=lambda item: item[1]) for split, of in gains.items() if of}
    below = {split: (name, gain) for split, (name, gain) in worst.items() if gain < -ROUNDING}
    if not below:
        return None
    names = " and ".join(dict.fromkeys(repr(name) for name, _ in below.values()))
    points = " and ".join(f"{-100 * gain:.1f} points on {split}" for split, (_, gain) in below.items())
    if "val" in below:
        reason = "On average, the other modalities make the predictions worse"
        remedy = f"Try more validation rows, fewer weak modalities, or --method unimodal with {names}"
    else:
        reason = "The validation split, on which the fusion was fitted, does not show this"
        remedy = (
            "Check that val has enough rows and resembles test, with other people, places or times in each"
        )
    return f"The fused accuracy is below the accuracy of {names} alone, by {points}. {reason}. {remedy}."
