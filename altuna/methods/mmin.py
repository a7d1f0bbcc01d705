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
    those that F imagined (a cycle):

    .. math::
        (\hat h, c) = F(h_S), \qquad
        L = CE(W c + b, y) + \lambda_1 \, \mathrm{mean}_H (\hat h - sg(h))^2
        + \lambda_2 \, \mathrm{mean}_S (G(\hat h_{\bar S}) - sg(h))^2

    S are the visible cells of a sample and :math:`\bar S` the others. F and G have five residual
    autoencoders each, and c [B, latents] are the latent vectors of F. H are the cells of the sample that
    are hidden in this step: each cell is hidden with probability ``drop``, but one always stays visible. sg
    stops the gradient. Samples of which all cells are visible have no cycle term. Any subset of any number
    of modalities may be absent, also in training.

    Source: Zhao, Li, Jin, ACL 2021 (no arXiv version); code: github.com/AIM3-RUC/MMIN. The loss weights (for
    IEMOCAP), the number of autoencoders and the ratios of layer sizes are taken from the authors' code.

    Deviations from the authors' code: altuna's target features come from the encoders in training, as
    constants; their target features come from encoders that were trained beforehand on all modalities. Absent
    cells have zero features; in their code they have the features of a zero input. The imagination loss is
    computed over hidden cells; their loss is computed over all cells, with the features of a zero input as
    target for visible cells. The cycle takes only the imagined features; their cycle takes the whole output
    of the cascade. altuna hides cells independently; their code draws one of the incomplete combinations and
    never trains on complete samples. ReLU replaces leaky ReLU, the classifier is linear, no layers follow a
    cascade, and gradients are not clipped.

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
