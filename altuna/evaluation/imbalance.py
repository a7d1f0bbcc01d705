"""Imbalance of modalities: gaps between their accuracies, conflicts, and what each contributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from altuna.core.calibration import MIN_ROWS
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features
from altuna.core.shapley import shapley

MAX_MODALITIES = 8  # Shapley values need all subsets
MAX_SAMPLES = 2000  # pairs of samples are compared among these


def imbalance(
    metrics: dict[str, Any],
    history: list[dict[str, float]],
    right: Tensor,
    present: Tensor,
) -> dict[str, Any]:
    """Return metrics of the imbalance between modalities, and of the effect of turns on the head.

    ``gap``: accuracy of the best modality minus that of the worst. ``fusion_gain``: fused accuracy minus the
    accuracy of a modality on the samples that have it, the minimum over modalities. Both are computed over
    the modalities that are ``well_measured``. The following have one value per turn:
    ``interference``: mean change of the loss of the previous turn by the head's step.
    ``gradient_kept``: norm of the head's gradient after projection, divided by the norm before.
    ``conflict``: fraction of the turns with conflicting gradients (see ``conflicts``).

    Args:
        metrics: The metrics of an evaluation, with ``modalities``.
        history: The training log, one row per epoch.
        right: Which fused predictions are right [N] bool.
        present: Which samples have a modality [M, N] bool.

    Example:
        >>> alone = {"audio": {"accuracy": 0.5, "n": 20}, "image": {"accuracy": 0.75, "n": 20}}
        >>> right, present = torch.arange(20) < 16, torch.ones(2, 20, dtype=torch.bool)
        >>> found = imbalance({"modalities": alone}, [], right, present)
        >>> found["gap"], round(found["fusion_gain"], 2)
        (0.25, 0.05)
    """
    names = well_measured(metrics["modalities"])
    accuracy = [metrics["modalities"][name]["accuracy"] for name in names]
    gains = fusion_gains(metrics["modalities"], right, present)

    def mean(metric: str) -> dict[str, float]:
        names = {key for row in history for key in row if key.startswith(f"train/{metric}/")}
        values = {key: [row[key] for row in history if key in row] for key in sorted(names)}
        return {key.split("/", 2)[2]: sum(v) / len(v) for key, v in values.items()}

    before, after = mean("head_gradient"), mean("head_gradient_projected")
    return {
        "gap": max(accuracy) - min(accuracy),
        "fusion_gain": min(gains.values()),
        "interference": mean("interference"),
        "gradient_kept": {name: after[name] / before[name] for name in before if before[name]},
        "conflict": mean("conflict"),
    }


def fusion_gains(modalities: Mapping[str, Any], right: Tensor, present: Tensor) -> dict[str, float]:
    """Return fused accuracy minus that of each modality alone, on the samples that have the modality.

    Only modalities that are ``well_measured`` count.

    Args:
        modalities: The metrics of each modality, with ``accuracy`` and ``n``.
        right: Which fused predictions are right [N] bool.
        present: Which samples have a modality [M, N] bool.

    Example:
        >>> alone = {"audio": {"accuracy": 0.5, "n": 20}}
        >>> fusion_gains(alone, torch.arange(20) < 15, torch.ones(1, 20, dtype=torch.bool))
        {'audio': 0.25}
    """
    of = dict(zip(modalities, present, strict=True))
    return {
        name: right[of[name]].float().mean().item() - modalities[name]["accuracy"]
        for name in well_measured(modalities)
    }


def well_measured(modalities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the modalities that enough samples have, or all that any has if there are none such.

    The accuracy on two samples cannot be compared with that on hundreds.

    Example:
        >>> well_measured({"audio": {"n": 300}, "image": {"n": 2}})
        ['audio']
    """
    enough = [name for name, metrics in modalities.items() if metrics["n"] >= MIN_ROWS]
    return enough or [name for name, metrics in modalities.items() if metrics["n"]]


Gradients = Mapping[nn.Parameter, Tensor]


def conflicts(pairs: Iterable[tuple[Gradients, Gradients]]) -> Tensor | None:
    """Return the fraction of pairs of gradients that conflict, which means a negative inner product.

    A step along one gradient then increases the loss of the other, to first order (Yu et al., 2020, arXiv
    2001.06782). Only common parameters count. Pairs without any are left out; None if no pair remains.

    Example:
        >>> p = nn.Parameter(torch.zeros(2))
        >>> against, along = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> conflicts([({p: along}, {p: against}), ({p: along}, {p: along})])
        tensor(0.5000)
    """
    found = [
        torch.stack([(one[p] * other[p]).sum() for p in both]).sum() < 0
        for one, other in pairs
        if (both := [p for p in one if p in other])
    ]
    return torch.stack(found).float().mean() if found else None


@torch.no_grad()
def shapley_accuracy(model: MultimodalClassifier, features: Features) -> dict[str, float]:
    """Return the Shapley value of every modality for the fused accuracy.

    The value of a subset is the accuracy with the other modalities absent; for a sample without any modality
    of the subset, the most frequent class is predicted. Empty with more than ``MAX_MODALITIES`` modalities.

    Example:
        >>> from altuna.core.model import MultimodalClassifier
        >>> model = MultimodalClassifier({"audio": nn.Linear(2, 4), "image": nn.Linear(2, 4)}, num_classes=2)
        >>> of, rows = {m: torch.zeros(3, 4) for m in model.modalities}, torch.arange(3)
        >>> features = Features(of, dict.fromkeys(of, rows), labels=torch.tensor([0, 1, 1]))
        >>> [*shapley_accuracy(model, features)]
        ['audio', 'image']
    """
    if len(features.of) > MAX_MODALITIES:
        return {}
    labels = features.labels
    guess = labels.bincount().argmax()

    def value(subset: tuple[str, ...]) -> Tensor:
        predicted = guess.expand(len(labels)).clone()
        some, there = features.restricted(subset, features.present(subset))
        if len(there):
            outputs = model.outputs_of(some.of, some.rows, len(there))
            predicted[there] = model.fuse(outputs).logits.argmax(1)
        return (predicted == labels).double().mean()

    return {m: phi.item() for m, phi in shapley(value, [*features.of]).items()}


@torch.no_grad()
def geometry(features: Features) -> dict[str, dict[str, float]]:
    r"""Return metrics of the modalities' features on the unit sphere.

    ``modality_gap``: distance of the mean features of a pair (Liang et al., 2022, arXiv 2203.02053);
    ``alignment``: mean squared distance of a pair's features of one sample; ``uniformity``: of a modality,
    :math:`\log E\, e^{-2 |f(x) - f(y)|^2}` over pairs of samples (both Wang and Isola, 2020, arXiv
    2005.10242). Pairs of modalities whose features differ in size are left out.

    Example:
        >>> of = {"audio": torch.eye(2), "image": torch.eye(2).flip(0)}
        >>> rows = dict.fromkeys(of, torch.arange(2))
        >>> found = geometry(Features(of, rows, labels=torch.tensor([0, 1])))
        >>> round(found["alignment"]["audio+image"], 3)
        2.0
    """
    number = len(features.labels)
    chosen = torch.linspace(0, number - 1, min(number, MAX_SAMPLES)).round().long()
    some = {m: torch.isin(rows, chosen) for m, rows in features.rows.items()}
    rows = {m: features.rows[m][mine] for m, mine in some.items()}
    unit = {m: normalize(features.of[m][mine].double(), dim=1) for m, mine in some.items()}
    found: dict[str, dict[str, float]] = {"modality_gap": {}, "alignment": {}, "uniformity": {}}
    for m, f in unit.items():
        if len(f) > 1:
            found["uniformity"][m] = torch.pdist(f).square().mul(-2).exp().mean().log().item()
    for a, b in combinations(unit, 2):
        if unit[a].shape[1] != unit[b].shape[1]:
            continue
        found["modality_gap"][f"{a}+{b}"] = (unit[a].mean(0) - unit[b].mean(0)).norm().item()
        mine, theirs = rows[a], rows[b]
        same = mine[torch.isin(mine, theirs)]
        if len(same):
            pair = [f[torch.searchsorted(r, same)] for f, r in ((unit[a], mine), (unit[b], theirs))]
            found["alignment"][f"{a}+{b}"] = (pair[0] - pair[1]).square().sum(1).mean().item()
    return found
