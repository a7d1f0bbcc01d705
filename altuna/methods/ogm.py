"""OGM: on-the-fly gradient modulation."""

from __future__ import annotations

from torch import Tensor

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.scores import modulated_parameters, ogm_coefficients


class OGM(JointMethod):
    r"""Train jointly, with smaller encoder gradients for a modality that is ahead of the others.

    The score :math:`s_m` of a modality is the probability that its own logits give to the true class,
    averaged over the rows of the batch that have the modality. The gradients of encoder m's convolutions
    (of all its weights, if it is not a CNN) are multiplied by

    .. math:: \kappa_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1 \text{ else } 1, \qquad
        \rho_m = \frac{s_m}{\mathrm{mean}_{v \ne m} s_v}

    Source: Peng, Wei, Deng, Wang, Hu, CVPR 2022, arXiv 2203.15332.

    Deviations: with more than two modalities, each modality is compared with the mean of the other
    modalities. The score is the mean over the rows that have the modality; the authors use the sum. A
    batch with one modality is not modulated. The authors use SGD. AdamW and other optimizers that
    normalise the size of gradients cancel most of the effect of :math:`\kappa_m` when it changes slowly.

    Args:
        model: A classifier with a joint head.
        alpha: Strength of the modulation; the authors use 0.8 for CREMA-D, 0.1 for VGGSound.
        modulation_starts: First epoch with modulation, counted from 0.
        modulation_ends: Last epoch with modulation.
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
