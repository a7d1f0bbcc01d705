"""OGM: on-the-fly gradient modulation."""

from __future__ import annotations

from torch import Tensor

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.scores import modulated_parameters, ogm_coefficients


class OGM(JointMethod):
    r"""Train jointly, and scale down the encoder gradients of a modality that is ahead.

    The score :math:`s_m` of modality m is the mean probability of the true class in the softmax of the
    unimodal logits :math:`z_m`. The mean runs over the rows of the batch that have modality m. The ratio
    :math:`\rho_m` is :math:`s_m` divided by the mean score of the other modalities. If modality m is ahead,
    :math:`\rho_m` is above 1:

    .. math:: \kappa_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1 \text{ else } 1, \qquad
        \rho_m = \frac{s_m}{\mathrm{mean}_{v \ne m} s_v}

    If encoder m is a CNN, OGM multiplies the gradients of its convolutions by :math:`\kappa_m`. In any other
    encoder, OGM multiplies the gradients of all weights by :math:`\kappa_m`.

    Source: Peng, Wei, Deng, Wang, Hu, CVPR 2022, arXiv 2203.15332.

    Deviations:

    - With more than two modalities, altuna compares each modality with the mean of the other modalities.
    - altuna's score is a mean over the rows that have the modality. The authors' score is a sum over the
      batch.
    - altuna does not change the gradients in a batch with only one modality.

    The authors use SGD. AdamW normalises the size of gradients, and so cancels most of the effect of
    :math:`\kappa_m` if :math:`\kappa_m` changes slowly. To keep the effect of :math:`\kappa_m`, set
    ``--optimizer sgd``.

    Args:
        model: A classifier with a joint head.
        alpha: Strength :math:`\alpha` of the scaling. The authors use 0.8 for CREMA-D and 0.1 for VGGSound.
        modulation_starts: First epoch in which gradients are scaled, counted from 0.
        modulation_ends: Last epoch in which gradients are scaled, counted from 0.
    """

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        alpha: float = 0.8,
        modulation_starts: int = 0,
        modulation_ends: int = 50,
    ) -> None:
        super().__init__(model)
        if not alpha >= 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        self.alpha, self.modulated = alpha, range(modulation_starts, modulation_ends + 1)

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        if self.clock.epoch not in self.modulated or len(turn.modalities) < 2:
            return
        labels = {m: batch.labels_of(m) for m in turn.modalities}
        for m, factor in ogm_coefficients(turn.logits, labels, self.alpha).items():
            for p in modulated_parameters(self.model.encoder(m)):
                if p.grad is not None:
                    p.grad = self._modulated(p.grad, factor)

    def _modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        return factor * gradient
