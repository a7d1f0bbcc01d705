"""OGM-GE: on-the-fly gradient modulation with generalisation enhancement."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.methods.ogm import OGM


def enhanced(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return ``factor * gradient`` plus Gaussian noise of the gradient's own standard deviation."""
    spread = gradient.std(correction=min(1, gradient.numel() - 1))
    return factor * gradient + spread * torch.randn_like(gradient)


class OGMGE(OGM):
    r"""OGM, whose smaller steps are made up for by noise as large as the gradient was.

    The coefficient :math:`\kappa_m` is OGM's (see ``ogm``); every modulated gradient becomes

    .. math:: \kappa_m g + \epsilon, \qquad \epsilon \sim N(0, \mathrm{std}(g)^2)

    Source: Peng, Wei, Deng, Wang, Hu, CVPR 2022, arXiv 2203.15332.

    Deviations: OGM's. The noise has one variance a parameter tensor, that of its entries before modulation,
    as in the authors' code, and goes to every modality, also one that is not slowed; the paper writes the
    covariance of the gradients of SGD.

    Args:
        model: A classifier with a joint head.
        alpha: Strength of the modulation; the authors use 0.8 for CREMA-D, 0.1 for VGGSound.
        modulation_starts: First epoch, from 0, with modulation.
        modulation_ends: Last epoch with modulation.
    """

    def _modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        return enhanced(gradient, factor)
