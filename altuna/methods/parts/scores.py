"""Scores of modalities, for methods that balance them and for imbalance metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def scores(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each modality's mean probability of the true class (a scalar), without gradient.

    This is OGM's ``s_m`` (arXiv 2203.15332) divided by the number of rows, so that modalities with
    different numbers of rows are comparable. For complete batches the ratios of scores are those of the
    paper.

    Args:
        logits: Modality to its logits [n_m, C].
        labels: Modality to the labels [n_m] of its rows.

    Example:
        >>> scores({"audio": torch.zeros(3, 4)}, {"audio": torch.tensor([0, 1, 2])})
        {'audio': tensor(0.2500)}
    """
    with torch.no_grad():
        return {m: z.float().softmax(1).gather(1, labels[m].unsqueeze(1)).mean() for m, z in logits.items()}


def dominance(score: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each modality is ahead: its score divided by the mean of the others (1 if it is alone).

    Example:
        >>> dominance({"audio": torch.tensor(0.2), "image": torch.tensor(0.8)})
        {'audio': tensor(0.2500), 'image': tensor(4.)}
    """
    found = {}
    for m, mine in score.items():
        others = [s for v, s in score.items() if v != m]
        found[m] = mine / torch.stack(others).mean().clamp_min(1e-12) if others else torch.ones_like(mine)
    return found


def ogm_coefficients(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    r"""Return OGM's coefficient of each modality's gradients: below 1 if the modality is ahead.

    .. math:: \kappa_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1 \text{ else } 1

    with :math:`\rho_m` the ``dominance`` of the ``scores`` (arXiv 2203.15332, eq. 8-10).

    Args:
        logits: Modality to its logits [n_m, C].
        labels: Modality to the labels [n_m] of its rows.
        alpha: Strength of the modulation.

    Example:
        >>> logits = {"audio": torch.zeros(1, 2), "image": torch.tensor([[9.0, 0.0]])}
        >>> ogm_coefficients(logits, dict.fromkeys(logits, torch.tensor([0])), alpha=0.5)
        {'audio': tensor(1.), 'image': tensor(0.2385)}
    """
    ahead = dominance(scores(logits, labels))
    return {m: torch.where(rho > 1, 1 - torch.tanh(alpha * rho), 1.0) for m, rho in ahead.items()}


def modulated_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that OGM modulates: an encoder's convolution weights, or all if it is not a CNN.

    An encoder counts as a CNN if most of its weights are in convolutions. A transformer that cuts patches
    with a convolution is not one.

    Example:
        >>> cnn = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4))
        >>> [tuple(p.shape) for p in modulated_parameters(cnn)]
        [(8, 3, 3, 3)]
        >>> len(modulated_parameters(nn.Linear(8, 4)))  # no CNN: all of them
        2
    """
    parameters = [*encoder.parameters()]
    kernels = [cast(nn.Parameter, m.weight) for m in encoder.modules() if isinstance(m, _ConvNd)]
    most = sum(p.numel() for p in kernels) > sum(p.numel() for p in parameters) / 2
    return kernels if most else parameters
