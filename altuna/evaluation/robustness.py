"""Metrics of a trained model when modalities or cells are missing at test time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features
from altuna.core.subsets import subsets
from altuna.data.missing.patterns import Mask, highest_rate, missing_mask
from altuna.evaluation.metrics import classification_metrics

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
MASKS = 3  # drawn at each rate for a run's own metrics


@torch.no_grad()
def by_subset(model: MultimodalClassifier, features: Features) -> dict[str, dict[str, Any]]:
    """Return the fused metrics where nothing but a subset of modalities is given, by its names with a plus.

    Each is over the ``n`` samples that have all of the subset; subsets that no sample has are left out.
    """
    found = {}
    for subset in subsets(model.modalities):
        here = features.present(subset).all(0)
        if here.any():
            found["+".join(subset)] = metrics_of_cells(model, features, subset, here.expand(len(subset), -1))
    return found


def by_rate(
    model: MultimodalClassifier,
    features: Features,
    modalities: Sequence[str],
    rates: Sequence[float],
    masks: int,
    draw: Callable[[float, int], Mask],
) -> list[list[dict[str, Any]]]:
    """Return the fused metrics for each missing rate, one for each of several masks.

    Args:
        model: The classifier.
        features: Of the N samples, as complete as they are.
        modalities: M of the model's, which the data have.
        rates: To take away.
        masks: How many to draw at each rate; at 0 all are the same, and one is enough.
        draw: Returns which cells [M, N] stay at a rate, by a seed. A rate that leaves none has no metrics.
    """

    def at(rate: float, seed: int) -> list[dict[str, Any]]:
        stays = torch.from_numpy(draw(rate, seed))
        return [metrics_of_cells(model, features, modalities, stays)] if stays.any() else []

    return [[f for seed in range(masks if rate else 1) for f in at(rate, seed)] for rate in rates]


def by_missing_rate(model: MultimodalClassifier, features: Features) -> dict[str, list[dict[str, Any]]]:
    """Return ``by_rate`` at the usual rates, as far as every sample keeps a modality, by the rate as text."""
    names, present = [*features.of], features.present([*features.of]).numpy()
    rates = [rate for rate in RATES if rate <= highest_rate(present) + 1e-9]
    each = by_rate(model, features, names, rates, MASKS, lambda rate, seed: missing_mask(present, rate, seed))
    return {str(rate): one for rate, one in zip(rates, each, strict=True)}


@torch.no_grad()
def metrics_of_cells(
    model: MultimodalClassifier, features: Features, modalities: Sequence[str], present: torch.Tensor
) -> dict[str, Any]:
    """Return the fused metrics, and ``n`` samples, where only the cells ``present`` [M, N] are given."""
    some, _ = features.restricted(modalities, present)
    prediction = model.fuse(model.outputs_of(some.of, some.rows, len(some.labels)))
    return {**classification_metrics(prediction.probabilities, some.labels), "n": len(some.labels)}
