"""MMIN: missing modality imagination network."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.core.cascade import Cascade
from altuna.core.heads import Imagined
from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining, distance


class MMIN(Imagining):
    r"""Reconstruct the features of missing modalities, and classify the latent vectors of the autoencoders.

    A cascade F of autoencoders takes the features of a sample, with zeros for missing modalities. F imagines
    the missing features. The latent vectors of F are the input of the classifier. A second cascade G takes
    the imagined features and must reconstruct the visible features (a cycle):

    .. math::
        (\hat h, c) = F(h_S), \qquad
        L = CE(W c + b, y) + \lambda_1 \, \mathrm{mean}_H (\hat h - sg(h))^2
        + \lambda_2 \, \mathrm{mean}_S (G(\hat h_{\bar S}) - sg(h))^2

    During training, some cells are hidden at random. A cell is hidden with probability ``drop``, but one cell
    of each sample always stays visible. The symbols are:

    - S are the visible cells of a sample, and :math:`\bar S` are all other cells of the sample.
    - H are the hidden cells. The means run over the features of the cells in H or S.
    - :math:`\hat h` are the features that F imagines, and c are the latent vectors of F.
    - sg means that no gradient is computed (stop-gradient).

    F and G have five residual autoencoders each. The term with :math:`\lambda_1` is the imagination loss, and
    the term with :math:`\lambda_2` is the cycle loss. A sample without hidden or missing cells has no cycle
    loss. Any subset of the modalities can be missing, also in training.

    Source: Zhao, Li, Jin, ACL 2021 (no arXiv version); code: github.com/AIM3-RUC/MMIN. altuna takes the loss
    weights (for IEMOCAP), the number of autoencoders and the ratios of layer sizes from the authors' code.

    Deviations from the authors' code:

    - altuna's target features come from the encoders that are being trained, without gradient. The authors'
      target features come from encoders that were trained before, on all modalities.
    - altuna sets the features of missing and hidden cells to zero. The authors' code encodes an input of
      zeros for these cells.
    - altuna computes the imagination loss over hidden cells. The authors' code computes this loss over all
      cells. For a visible cell, the target of the authors' code is the features of a zero input.
    - altuna's second cascade takes only the imagined features. The authors' second cascade takes the whole
      output of the first cascade.
    - altuna hides each cell independently. The authors' code draws one incomplete combination of modalities,
      and never trains on complete samples.
    - altuna uses ReLU instead of leaky ReLU, and the classifier is linear.
    - altuna has no layers after a cascade, and does not clip gradients.

    Args:
        model: A classifier with a head ``mmin``.
        imagination: Weight :math:`\lambda_1` of the distance between imagined and hidden features.
        cycle: Weight :math:`\lambda_2` of the distance between reconstructed and visible features.
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
