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
    """Return the fused metrics for each subset of modalities; keys are names joined by a plus.

    Each is computed over the ``n`` samples that have all modalities of the subset. Subsets that no sample
    has are left out.

    Example:
        >>> encoders = {"audio": torch.nn.Linear(2, 4), "image": torch.nn.Linear(2, 4)}
        >>> model = MultimodalClassifier(encoders, num_classes=2)
        >>> of, rows = {m: torch.zeros(3, 4) for m in model.modalities}, torch.arange(3)
        >>> features = Features(of, dict.fromkeys(of, rows), labels=torch.tensor([0, 1, 1]))
        >>> {subset: metrics["n"] for subset, metrics in by_subset(model, features).items()}
        {'audio': 3, 'image': 3, 'audio+image': 3}
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
    """Return the fused metrics for each missing rate, as a list with one entry per mask.

    Args:
        model: The classifier.
        features: Features of the N samples before masking.
        modalities: The M modalities of the model that the data have.
        rates: Missing rates.
        masks: Number of masks to draw at each rate; at rate 0 one is enough, because all are equal.
        draw: Returns the cells to keep [M, N] from a rate and a seed. If no cell is kept, there are no
            metrics.

    Example:
        >>> encoders = {"audio": torch.nn.Linear(2, 4), "image": torch.nn.Linear(2, 4)}
        >>> model, rows = MultimodalClassifier(encoders, num_classes=2), torch.arange(20)
        >>> of = {m: torch.zeros(20, 4) for m in encoders}
        >>> features = Features(of, dict.fromkeys(of, rows), labels=rows % 2)
        >>> draw = lambda rate, seed: missing_mask(features.present([*of]).numpy(), rate, seed)
        >>> [len(each) for each in by_rate(model, features, [*of], rates=[0.0, 0.5], masks=3, draw=draw)]
        [1, 3]
    """

    def at(rate: float, seed: int) -> list[dict[str, Any]]:
        stays = torch.from_numpy(draw(rate, seed))
        return [metrics_of_cells(model, features, modalities, stays)] if stays.any() else []

    return [[f for seed in range(masks if rate else 1) for f in at(rate, seed)] for rate in rates]


def by_missing_rate(model: MultimodalClassifier, features: Features) -> dict[str, list[dict[str, Any]]]:
    """Return ``by_rate`` for the rates 0, 0.1, ... at which every sample keeps a modality; keys are text.

    Example:
        >>> encoders = {"audio": torch.nn.Linear(2, 4), "image": torch.nn.Linear(2, 4)}
        >>> model = MultimodalClassifier(encoders, num_classes=2)
        >>> of, rows = {m: torch.zeros(20, 4) for m in model.modalities}, torch.arange(20)
        >>> features = Features(of, dict.fromkeys(of, rows), labels=rows % 2)
        >>> [*by_missing_rate(model, features)]
        ['0.0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    names, present = [*features.of], features.present([*features.of]).numpy()
    rates = [rate for rate in RATES if rate <= highest_rate(present) + 1e-9]
    each = by_rate(model, features, names, rates, MASKS, lambda rate, seed: missing_mask(present, rate, seed))
    return {str(rate): one for rate, one in zip(rates, each, strict=True)}


@torch.no_grad()
def metrics_of_cells(
    model: MultimodalClassifier, features: Features, modalities: Sequence[str], present: torch.Tensor
) -> dict[str, Any]:
    """Return the fused metrics, and the number of samples ``n``, with only the cells ``present`` [M, N].

    Example:
        >>> encoders = {"audio": torch.nn.Linear(2, 4), "image": torch.nn.Linear(2, 4)}
        >>> model, rows = MultimodalClassifier(encoders, num_classes=2), torch.arange(3)
        >>> of = {m: torch.zeros(3, 4) for m in encoders}
        >>> features = Features(of, dict.fromkeys(of, rows), labels=rows % 2)
        >>> cells = torch.tensor([[True, True, False], [True, False, False]])
        >>> metrics_of_cells(model, features, ["audio", "image"], cells)["n"]  # the third has no cell left
        2
    """
    some, _ = features.restricted(modalities, present)
    prediction = model.fuse(model.outputs_of(some.of, some.rows, len(some.labels)))
    return {**classification_metrics(prediction.probabilities, some.labels), "n": len(some.labels)}
