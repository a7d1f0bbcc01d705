"""MMIN: missing modality imagination network."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.core.cascade import Cascade
from altuna.core.heads import Imagined
from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining, distance


class MMIN(Imagining):
    r"""Classify the latent vectors of autoencoders that reconstruct absent features from present ones.

    A cascade F of autoencoders takes the features of a sample, with zeros for absent modalities. Its latent
    vectors are the joint representation. A second cascade G must reconstruct the visible features from
    the features that F imagined (a cycle):

    .. math::
        (\hat h, c) = F(h_S), \qquad
        L = CE(W c + b, y) + \lambda_1 \, \mathrm{mean}_H (\hat h - sg(h))^2
        + \lambda_2 \, \mathrm{mean}_S (G(\hat h_{\bar S}) - sg(h))^2

    S are the visible cells of a sample, and :math:`\bar S` are all its other cells. F and G have five
    residual autoencoders each, and c [B, latents] are the latent vectors of F. H are the cells of the
    sample that are hidden in this step: each cell is hidden with probability ``drop``, but one cell of
    the sample always stays visible. sg stops the gradient. Samples of which all cells are visible have no
    cycle term. Any subset of any number of modalities may be absent, also in training.

    Source: Zhao, Li, Jin, ACL 2021 (no arXiv version); code: github.com/AIM3-RUC/MMIN. The loss weights (for
    IEMOCAP), the number of autoencoders and the ratios of layer sizes are taken from the authors' code.

    Deviations from the authors' code: altuna's target features are computed by the encoders that are
    being trained, without gradient; the authors' target features come from encoders that were trained
    before, on all modalities. In altuna absent cells have zero features; in the authors' code they have
    the features of a zero input. altuna computes the imagination loss over hidden cells; the authors'
    code computes it over all cells, and for visible cells the target is the features of a zero input.
    altuna's second cascade takes only the imagined features; the authors' second cascade takes the whole
    output of the first cascade. altuna hides each cell independently; the authors' code draws one of the
    incomplete combinations of modalities and never trains on complete samples. altuna uses ReLU instead
    of leaky ReLU, a linear classifier, no layers after a cascade, and no gradient clipping.

    Args:
        model: A classifier with a head ``mmin``.
        imagination: Weight of the distance between imagined and hidden features, :math:`\lambda_1`.
        cycle: Weight of the distance between reconstructed and visible features, :math:`\lambda_2`.
        drop: Probability of hiding a cell.
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
