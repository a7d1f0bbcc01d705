"""G2D: gradient-guided distillation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import Turn
from altuna.methods.parts.scores import scores
from altuna.methods.parts.teachers import KIND, Taught


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL(teacher || student)``, averaged over rows, of logits [n, C] at temperature T.

    Example:
        >>> teacher = torch.tensor([[2.0, 0.0]])
        >>> round(distillation(torch.zeros(1, 2), teacher, temperature=1.0).item(), 3)
        0.328
        >>> distillation(teacher, teacher, temperature=1.0).item()
        0.0
    """
    soft, target = ((z / temperature).log_softmax(1) for z in (student, teacher))
    return temperature**2 * kl_div(soft, target, reduction="batchmean", log_target=True)


def prioritized(score: dict[str, Tensor], number: int) -> set[str]:
    """Return the ``number`` modalities with the lowest scores.

    Example:
        >>> prioritized({"audio": torch.tensor(0.2), "image": torch.tensor(0.8)}, number=1)
        {'audio'}
    """
    return set(sorted(score, key=lambda m: score[m].item())[:number])


class G2D(Taught):
    r"""Distil unimodal teachers into the joint model, and first train only the encoders of weak modalities.

    A teacher is a model of one modality that was trained before the joint model and is then frozen. The joint
    model is the student. The features of the student learn to match the features of the teachers. The joint
    logits of the student learn to match the logits of each teacher:

    .. math:: L = CE(z, y) + \sum_m \alpha\, MSE(h_m, h_m^{teacher})
        + \beta\, T^2\, KL(\sigma(z_m^{teacher} / T) \,\|\, \sigma(z / T))

    T is the temperature, and :math:`\sigma` is the softmax. With two modalities, only one encoder is trained
    during the first epochs of the student. The option ``prioritized`` sets the fraction of the student's
    epochs in which only one encoder is trained. G2D trains the encoder of the weaker modality: the modality
    whose teacher gives the lower probability to the true classes of the batch. The encoder of the stronger
    modality is frozen.

    Source: Rakib, Bagavathi, ICCV 2025, arXiv 2506.21514.

    Deviations:

    - altuna trains the teachers in the first epochs of the same training. The authors train the teachers in
      separate trainings.
    - In altuna, teachers and student start from the same initial weights.
    - In altuna, the method ``g2d`` needs at least two epochs.
    - altuna supports any number M of modalities. altuna divides the prioritised epochs into M - 1 equal
      parts. In part k it trains the encoders of the k weakest modalities. The authors' code supports two
      modalities.
    - In altuna, a frozen encoder has no gradient, so momentum and weight decay do not change its weights. The
      authors set the gradients of convolutions to zero and leave other gradients unchanged.
    - altuna computes the loss terms of a modality over the rows that have this modality.

    Args:
        model: A classifier with a joint head.
        feature_weight: Weight :math:`\alpha` of the distance to the teachers' features.
        logit_weight: Weight :math:`\beta` of the divergence from the teachers' logits.
        temperature: Temperature T of the teachers' and the student's logits in the divergence.
        prioritized: Fraction of the student's epochs in which only weaker modalities are trained.
        teachers: Fraction of all epochs in which the teachers are trained, between 0 and 1.
    """

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        feature_weight: float = 1.0,
        logit_weight: float = 1.0,
        temperature: float = 1.0,
        prioritized: float = 0.5,
        teachers: float = 0.3,
    ) -> None:
        super().__init__(model, teachers=teachers)
        for name, value in (("feature_weight", feature_weight), ("logit_weight", logit_weight)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if not 0 <= prioritized <= 1:
            raise ValueError(f"prioritized must be between 0 and 1, got {prioritized}")
        self.feature_weight, self.logit_weight = feature_weight, logit_weight
        self.temperature, self.prioritized = temperature, prioritized
        self._score: dict[str, Tensor] = {}

    def _distillation(self, turn: Turn, batch: Batch) -> Tensor:
        assert turn.joint is not None
        answers = {m: self.teachers.answers(m, batch.inputs[m]) for m in turn.modalities}
        self._score = scores(
            {m: z for m, (_, z) in answers.items()}, {m: batch.labels_of(m) for m in answers}
        )
        terms = []
        for m, (features, logits) in answers.items():
            terms.append(self.feature_weight * mse_loss(turn.features[m], features))
            student = turn.joint[batch.rows[m]]
            terms.append(self.logit_weight * distillation(student, logits, self.temperature))
        return torch.stack(terms).sum()

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        if turn.kind == KIND:
            return
        leading = prioritized(self._score, self._leaders())
        for m in turn.modalities:
            if m not in leading:
                for p in self._encoder_parameters(m):
                    p.grad = None

    def _leaders(self) -> int:
        """Return how many modalities, from the weakest up, train their encoders in this epoch."""
        number, started = len(self.model.modalities), int(self.teachers.ended)
        epochs = round(self.prioritized * (self.clock.epochs - started))
        epoch = self.clock.epoch - started
        return number if epoch >= epochs else 1 + epoch * (number - 1) // epochs
