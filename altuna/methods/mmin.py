"""MMIN: missing modality imagination network."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.core.cascade import Cascade
from altuna.core.heads import Imagined
from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining, distance


class MMIN(Imagining):
    r"""Classify what a cascade of autoencoders knows while it imagines absent features from those present.

    The cascade takes a sample's features, zeros where absent; its latent vectors are the joint
    representation. What it imagines must find back, through a second cascade, what it was imagined from:

    .. math::
        (\hat h, c) = F(h_S), \qquad L = CE(W c + b, y)
        + \lambda_1 \, \mathrm{mean}_H (\hat h - sg(h))^2
        + \lambda_2 \, \mathrm{mean}_S (G(\hat h_{\bar S}) - sg(h))^2

    with S the cells of a sample that are seen, :math:`\bar S` the others, F and G cascades of five residual
    autoencoders and c [B, latents] the latent vectors of F. H are cells that the sample has and that are
    hidden in this step: each is with probability ``drop``, one stays. Samples of which all is seen have no
    cycle. Any subset of any number of modalities may be absent, in training too.

    Source: Zhao, Li, Jin, ACL 2021 (no arXiv version); code: github.com/AIM3-RUC/MMIN, whose weights for
    IEMOCAP, number of autoencoders and ratios of layers these are.

    Deviations from the authors' code: the features to imagine come from the encoders in training, held
    constant, where theirs come from encoders trained before on all modalities; what is absent is zero
    features, there the features of zero input; the distance of what is imagined is over hidden cells, there
    over all, the features of zero input where something was seen; the cycle takes what was imagined alone,
    there all that the cascade gives; cells are hidden one by one, there one of the incomplete combinations
    is drawn, and complete samples never seen; ReLUs for leaky ones, a linear classifier, no layers after a
    cascade, no clipping of gradients.

    Args:
        model: A classifier with a head ``mmin``.
        imagination: The weight of the distance between imagined and hidden features, :math:`\lambda_1`.
        cycle: The weight of the distance between features found back and seen, :math:`\lambda_2`.
        drop: How likely a cell is hidden.
    """

    head = "mmin"

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        imagination: float = 4.0,
        cycle: float = 2.0,
        drop: float = 0.5,
    ) -> None:
        super().__init__(model, weight=imagination, drop=drop)
        if not cycle >= 0:
            raise ValueError(f"cycle must not be negative, got {cycle}")
        self.cycle = cycle
        self.back = Cascade(sum(model.head.sizes), self._head[0].blocks)

    def _more(self, view: Imagined) -> Tensor:
        found, _ = self.back(torch.where(view.has, 0, view.features))
        incomplete = ~view.has.all(1, keepdim=True)
        return self.cycle * distance(found, view.given, view.has & incomplete)
