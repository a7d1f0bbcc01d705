"""OGM-GE: on-the-fly gradient modulation with generalisation enhancement."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.methods.ogm import OGM


def enhanced(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return ``factor * gradient`` plus Gaussian noise of the gradient's standard deviation (same shape).

    Example:
        >>> gradient = torch.full((2, 3), 2.0)
        >>> enhanced(gradient, torch.tensor(0.5)).unique()  # entries that are all alike get no noise
        tensor([1.])
    """
    spread = gradient.std(correction=min(1, gradient.numel() - 1))
    return factor * gradient + spread * torch.randn_like(gradient)


class OGMGE(OGM):
    r"""Train as OGM does, and add Gaussian noise with the standard deviation of the gradient.

    The coefficient :math:`\kappa_m` is that of OGM (see ``ogm``). Every modulated gradient g becomes

    .. math:: \kappa_m g + \epsilon, \qquad \epsilon \sim N(0, \mathrm{std}(g)^2)

    Source: Peng, Wei, Deng, Wang, Hu, CVPR 2022, arXiv 2203.15332.

    The deviations of OGM apply here too (see ``ogm``). As in the authors' code, the noise has one
    variance per parameter tensor: the variance of the entries of the tensor's gradient before modulation.
    The noise is added for every modality, even if :math:`\kappa_m` is 1. The paper instead uses the
    covariance of the gradients of SGD.

    Args:
        model: A classifier with a joint head.
        alpha: Strength of the modulation; the authors use 0.8 for CREMA-D, 0.1 for VGGSound.
        modulation_starts: First epoch with modulation, counted from 0.
        modulation_ends: Last epoch with modulation.
    """

    def _modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        return enhanced(gradient, factor)
