"""How far the modalities are apart."""

from __future__ import annotations

from typing import Any


def imbalance(metrics: dict[str, Any], history: list[dict[str, float]]) -> dict[str, Any]:
    """Say how far the modalities are apart, and what the turns did to the head.

    ``gap``: best minus worst modality's accuracy. ``fusion_gain``: fused minus the best modality's.
    ``interference``: mean change of the loss of the modality before by the head step of each one's turns.
    ``gradient_kept``: norm of the projected head gradient over the norm before, likewise.
    """
    accuracy = [m["accuracy"] for m in metrics["modalities"].values() if m["n"]]

    def mean(figure: str) -> dict[str, float]:
        names = {key for row in history for key in row if key.startswith(f"train/{figure}/")}
        values = {key: [row[key] for row in history if key in row] for key in sorted(names)}
        return {key.split("/", 2)[2]: sum(v) / len(v) for key, v in values.items()}

    before, after = mean("head_gradient"), mean("head_gradient_projected")
    return {
        "gap": max(accuracy) - min(accuracy),
        "fusion_gain": metrics["fused"]["accuracy"] - max(accuracy),
        "interference": mean("interference"),
        "gradient_kept": {name: after[name] / before[name] for name in before if before[name]},
    }
