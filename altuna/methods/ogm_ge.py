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
    r"""Train as ``ogm``, and add Gaussian noise to the gradients.

    The method ``ogm`` multiplies a gradient g by a coefficient :math:`\kappa_m`. The method ``ogm_ge`` also
    adds Gaussian noise :math:`\epsilon`, so that the new gradient is

    .. math:: \kappa_m g + \epsilon, \qquad \epsilon \sim N(0, \mathrm{std}(g)^2)

    std(g) is the standard deviation of the entries of g, computed separately for each parameter tensor. The
    noise is added for every modality, even if :math:`\kappa_m` is 1.

    Source: Peng, Wei, Deng, Wang, Hu, CVPR 2022, arXiv 2203.15332.

    Deviations: the deviations of ``ogm`` also apply to ``ogm_ge``. The noise of the paper has the covariance
    of the SGD gradients. altuna computes the noise from std(g), as the authors' code does.

    Args:
        model: A classifier with a joint head.
        alpha: Strength :math:`\alpha` of the scaling. The authors use 0.8 for CREMA-D and 0.1 for VGGSound.
        modulation_starts: First epoch in which gradients are changed, counted from 0.
        modulation_ends: Last epoch in which gradients are changed, counted from 0.
    """

    def _modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        return enhanced(gradient, factor)
