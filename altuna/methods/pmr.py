"""PMR: prototypes push the slower modality and hold back the faster one."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.prototypes import Prototypes
from altuna.methods.parts.scores import dominance, scores


class PMR(JointMethod):
    r"""Train jointly; extra losses support modalities that are behind and slow down those that are ahead.

    A prototype of a class is a running mean of the features of this class, for one modality. PMR classifies
    features by their distance to the prototypes.

    Source: Fan et al., CVPR 2023, arXiv 2211.07089.

    .. math::
        L = CE(z, y) + \sum_m \alpha\, [\tfrac1{\rho_m} - 1]_0^1 \, CE(s_m, y)
        - \mu\, [\rho_m - 1]_0^1 \, H(s_m), \quad s_{mk} = -\|h_m - c_{mk}\|

    - ``c_mk`` is the prototype of class k in modality m. ``s_mk`` is the negative distance between ``h_m``
      and ``c_mk``. The values ``s_mk`` are logits.
    - ``rho_m`` compares modality m with the other modalities. ``rho_m`` is the mean probability that ``s_m``
      gives to the true class, divided by the mean of this probability over the other modalities.
    - The values in square brackets are clipped to the range from 0 to 1.
    - ``H(s_m)`` is the entropy of the softmax of ``s_m``. The entropy term is used only in the first epochs.
    - After each epoch, ``c <- momentum * c + (1 - momentum) * mean``, where ``mean`` is the mean of the
      features of the class in this epoch.

    Deviations:

    - altuna uses the coefficients and the entropy term of the paper. The authors' code has coefficients of 0
      or 1, and no entropy term.
    - altuna's prototypes are means of all features that were computed during the epoch. Therefore the first
      epoch has no prototypes. The authors compute prototypes from a tenth of the data in a separate pass.
    - With more than two modalities, altuna compares each modality with the mean of the other modalities.
    - altuna computes a loss term of modality m over the rows that have m and whose class has a prototype.

    Args:
        model: A classifier with a joint head.
        alpha: Weight of the cross-entropy of the prototype logits ``s_m``.
        mu: Weight of the entropy term.
        entropy_epochs: Number of first epochs with the entropy term.
        momentum: Momentum of the prototypes, in [0, 1).
    """

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        alpha: float = 1.0,
        mu: float = 0.01,
        entropy_epochs: int = 5,
        momentum: float = 0.2,
    ) -> None:
        super().__init__(model)
        for name, value in {"alpha": alpha, "mu": mu, "entropy_epochs": entropy_epochs}.items():
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        self.alpha, self.mu, self.entropy_epochs, self.momentum = alpha, mu, entropy_epochs, momentum
        self.prototypes = nn.ModuleList(Prototypes(model.num_classes, size) for size in model.head.sizes)

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        similarity, labels = {}, {}
        for m, features in turn.features.items():
            usable = self._of(m).known[batch.labels_of(m)]
            if usable.any():
                similarity[m] = self._of(m).similarity(features[usable])
                labels[m] = batch.labels_of(m)[usable]
        for m, ratio in dominance(scores(similarity, labels)).items():
            slower, faster = (1 / ratio - 1).clamp(0, 1), (ratio - 1).clamp(0, 1)
            loss = loss + self.alpha * slower * cross_entropy(similarity[m], labels[m])
            if self.clock.epoch < self.entropy_epochs:
                loss = loss - self.mu * faster * entropy(similarity[m])
        return loss

    def after_step(self, turn: Turn, batch: Batch) -> None:
        for m, features in turn.features.items():
            self._of(m).add(features, batch.labels_of(m))

    def after_epoch(self) -> None:
        for m in self.model.modalities:
            self._of(m).renew(self.momentum)

    def _of(self, modality: str) -> Prototypes:
        return cast(Prototypes, self.prototypes[self.model.modalities.index(modality)])


def entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the softmax of logits [n, C].

    Example:
        >>> import torch
        >>> entropy(torch.zeros(3, 2))  # log 2
        tensor(0.6931)
    """
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
