"""How much each modality contributes: what balancing methods and imbalance metrics share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def scores(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each modality's mean probability of the true class (a scalar), without gradient.

    OGM's ``s_m`` (arXiv 2203.15332) over the number of rows, so that modalities that are present in
    different numbers of rows compare; for complete batches their ratios are the paper's.

    Args:
        logits: Modality to its logits [n_m, C].
        labels: Modality to the labels [n_m] of its rows.
    """
    with torch.no_grad():
        return {m: z.float().softmax(1).gather(1, labels[m].unsqueeze(1)).mean() for m, z in logits.items()}


def dominance(score: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each modality is ahead: its score over the mean of the others' (1 if it is alone)."""
    found = {}
    for m, mine in score.items():
        others = [s for v, s in score.items() if v != m]
        found[m] = mine / torch.stack(others).mean().clamp_min(1e-12) if others else torch.ones_like(mine)
    return found


def ogm_coefficients(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    r"""Return OGM's coefficient of each modality's gradients: below 1 for those that are ahead.

    .. math:: \kappa_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1 \text{ else } 1

    with :math:`\rho_m` the ``dominance`` of the ``scores`` (arXiv 2203.15332, eq. 8-10).

    Args:
        logits: Modality to its logits [n_m, C].
        labels: Modality to the labels [n_m] of its rows.
        alpha: Strength of the modulation.
    """
    ahead = dominance(scores(logits, labels))
    return {m: torch.where(rho > 1, 1 - torch.tanh(alpha * rho), 1.0) for m, rho in ahead.items()}


def modulated_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that OGM modulates: an encoder's convolution weights, or all if it is not a CNN.

    A CNN has most of its weights in convolutions; a transformer that cuts patches by one is none.
    """
    parameters = [*encoder.parameters()]
    kernels = [cast(nn.Parameter, m.weight) for m in encoder.modules() if isinstance(m, _ConvNd)]
    most = sum(p.numel() for p in kernels) > sum(p.numel() for p in parameters) / 2
    return kernels if most else parameters
