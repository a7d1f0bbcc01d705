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
    """Return the mean ``q_y log(q_y / p_y)`` of a learner's p and the others' q, both as logits [n, C]."""
    p, q = (z.log_softmax(1).gather(1, labels.unsqueeze(1)) for z in (logits, others))
    return (q.exp() * (q - p)).mean()


class ReconBoost(Method):
    r"""Let one modality learn at a time, and learn what the ensemble of the others gets wrong.

    Training is a sequence of stages, each of one modality in turn. In a stage's first epochs its learner
    (encoder and classifier) trains alone, p being its probabilities, q those of the frozen sum of the others,
    and p' those of the learner of the stage before, from which it must not stray (memory consolidation):

    .. math:: L = CE(z_m, y) - \lambda\, q_y \log \frac{q_y}{p_y} + \alpha\, MSE(p, p')

    whose gradient for the logits, :math:`(1 - \lambda q_y)(p - y)` without the last term, counts a sample
    the less, the surer the others are of its class, as boosting does. In its last epochs (global
    rectification) all learners that have had a stage train together, :math:`L = CE(\sum_m z_m, y)`.

    Source: Hua, Xu, Bao, Yang, Huang, ICML 2024, arXiv 2405.09321.

    The reconcilement is KL(q || p) at the true class, as in the authors' code: over all classes the loss
    would have no lower bound. Deviations from their code: the consolidation has a gradient (theirs is
    detached on both sides); classifiers are separate and the ensemble has no learnt scale; one optimizer
    serves all stages; others are frozen as in use (no dropout). Stages shrink in proportion where the run
    is too short to give every modality two. Each term is over the rows that have all it compares; a batch
    without the stage's modality has no turn.

    Args:
        model: A classifier whose joint logits are the sum of the unimodal ones.
        stage_epochs: Epochs in which a stage's modality trains alone.
        rectify_epochs: Epochs of rectification after them.
        agreement: How much to leave to the others, :math:`\lambda`; the authors' 1 : 5.
        consolidation: :math:`\alpha`.
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
        """Return the logits [B, C] of learners that do not train, 0 for rows without them."""
        answers = {}
        with self.model.eval_mode():
            for m in modalities:
                z = self.model.classify(m, self.model.encode(m, batch.inputs[m]))
                answers[m] = z.new_zeros(len(batch), z.shape[1]).index_copy(0, batch.rows[m], z)
        return answers

    def _rows_with(self, modalities: Sequence[str], batch: Batch) -> Tensor:
        """Return which rows [B] have one of the modalities."""
        present = presence({m: batch.rows[m] for m in modalities}, modalities, len(batch))
        return present.any(0).to(batch.labels.device)
