"""ReconBoost: modalities take turns as boosting learners."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from altuna.core.batch import Batch, presence
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import Method, Turn


def reconcilement(logits: Tensor, others: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of ``q_y log(q_y / p_y)``; p is from ``logits``, q from ``others``, both [n, C].

    Example:
        >>> logits, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
        >>> reconcilement(logits, logits, labels).item()
        0.0
        >>> round(reconcilement(logits, torch.tensor([[3.0, 0.0]]), labels).item(), 3)  # the others are surer
        0.252
    """
    p, q = (z.log_softmax(1).gather(1, labels.unsqueeze(1)) for z in (logits, others))
    return (q.exp() * (q - p)).mean()


class ReconBoost(Method):
    r"""Train one modality at a time, on what the ensemble of the other modalities gets wrong.

    A learner is the encoder and the classifier of one modality, and the ensemble is the sum of the logits of
    all learners. Training is a sequence of stages. Each stage belongs to one modality, and the modalities
    take turns. In the first epochs of a stage, only the learner of its modality m is trained:

    .. math:: L = CE(z_m, y) - \lambda\, q_y \log \frac{q_y}{p_y} + \alpha\, MSE(p, p')

    - p are the probabilities of the learner that is trained.
    - q is the softmax of the sum of the logits of the other learners, which are frozen in these epochs.
    - :math:`q_y` and :math:`p_y` are the probabilities of the true class.
    - p' are the probabilities of the learner of the previous stage. The MSE term keeps p close to p' (memory
      consolidation).

    Without the MSE term, the gradient of the loss with respect to the logits is :math:`(1 - \lambda q_y)(p -
    y)`, where y is one-hot. Therefore, as in boosting, a sample counts less if the other learners already
    predict its class with confidence.

    In the last epochs of a stage, all learners that have already had a stage are trained together. The joint
    training at the end of a stage is called global rectification. The loss of global rectification is
    :math:`L = CE(\sum_m z_m, y)`.

    Source: Hua, Xu, Bao, Yang, Huang, ICML 2024, arXiv 2405.09321.

    The second term of the loss is called reconcilement. The reconcilement is the summand of the true class in
    KL(q || p), as in the authors' code. With the KL divergence over all classes, the loss would have no lower
    bound.

    Deviations from the authors' code:

    - altuna's memory consolidation has a gradient for p. The authors' code stops the gradients for both p and
      p'.
    - altuna has a separate classifier for each modality, and adds their logits without a learnt scale.
    - altuna uses one optimizer for all stages.
    - altuna sets the other learners to eval mode (no dropout).
    - altuna shortens all stages in proportion if the training is too short for two stages per modality.
    - altuna computes the reconcilement over the rows that have modality m and at least one modality of the
      other learners.
    - altuna computes the consolidation over the rows that have modality m and the modality of the previous
      stage.
    - altuna skips a batch that lacks the modality of the stage.

    Args:
        model: A classifier whose joint logits are the sum of the unimodal logits.
        stage_epochs: Number of epochs at the start of a stage, in which only one modality is trained.
        rectify_epochs: Number of epochs of global rectification at the end of a stage.
        agreement: Weight :math:`\lambda` of the reconcilement. The default 0.2 is the authors' ratio of
            1 : 5 between reconcilement and cross-entropy.
        consolidation: Weight :math:`\alpha` of the memory consolidation.
    """

    head = "sum"
    min_modalities = 2
    length: Tensor

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        stage_epochs: int = 4,
        rectify_epochs: int = 4,
        agreement: float = 0.2,
        consolidation: float = 0.5,
    ) -> None:
        super().__init__(model)
        if stage_epochs < 1:
            raise ValueError(f"stage_epochs must be at least 1, got {stage_epochs}")
        if not 0 <= agreement <= 1:
            raise ValueError(f"agreement must be between 0 and 1, got {agreement}")
        for name, value in (("rectify_epochs", rectify_epochs), ("consolidation", consolidation)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self.stage_epochs, self.rectify_epochs = stage_epochs, rectify_epochs
        self.agreement, self.consolidation = agreement, consolidation
        self.register_buffer("length", torch.tensor(stage_epochs + rectify_epochs))

    def turns(self, batch: Batch) -> Iterable[Turn]:
        modalities, usual = self.model.modalities, self.stage_epochs + self.rectify_epochs
        if self.clock.epoch == 0:  # once: what a budget allows is only estimated, and anew in every epoch
            self.length.fill_(min(usual, max(1, self.clock.epochs // (2 * len(modalities)))))
        stage, epoch = divmod(self.clock.epoch, int(self.length))
        boosts = epoch < math.ceil(int(self.length) * self.stage_epochs / usual)
        self._members, self._before = modalities[: stage + 1], modalities[stage % len(modalities) - 1]
        chosen = modalities[stage % len(modalities) :][:1] if boosts else self._members
        if present := tuple(m for m in chosen if m in batch.inputs):
            yield Turn(present, kind="" if boosts else "rectify")

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)
        if turn.kind:
            assert turn.joint is not None
            known = self._rows_with(turn.modalities, batch)
            return cross_entropy(turn.joint[known], batch.labels[known])
        (modality,) = turn.modalities
        logits = turn.logits[modality]
        loss = cross_entropy(logits, batch.labels_of(modality))
        others = [m for m in self._members if m != modality and m in batch.inputs]
        answers, mine = self._frozen(others, batch), batch.rows[modality]
        if (both := self._rows_with(others, batch)[mine]).any():
            ensemble = torch.stack([*answers.values()]).sum(0)[mine]
            loss = loss - self.agreement * reconcilement(
                logits[both], ensemble[both], batch.labels_of(modality)[both]
            )
        if (both := self._rows_with([self._before] if self._before in others else [], batch)[mine]).any():
            before = answers[self._before][mine]
            loss = loss + self.consolidation * mse_loss(logits[both].softmax(1), before[both].softmax(1))
        return loss

    def _frozen(self, modalities: Sequence[str], batch: Batch) -> dict[str, Tensor]:
        """Return the logits [B, C] of frozen learners by modality, 0 for rows without the modality."""
        answers = {}
        with self.model.eval_mode():
            for m in modalities:
                z = self.model.classify(m, self.model.encode(m, batch.inputs[m]))
                answers[m] = z.new_zeros(len(batch), z.shape[1]).index_copy(0, batch.rows[m], z)
        return answers

    def _rows_with(self, modalities: Sequence[str], batch: Batch) -> Tensor:
        """Return which rows [B] have at least one of the modalities."""
        present = presence({m: batch.rows[m] for m in modalities}, modalities, len(batch))
        return present.any(0).to(batch.labels.device)
