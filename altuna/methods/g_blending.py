"""G-Blending: gradient blending by overfitting-to-generalisation ratios."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch, stable_uniform
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn

# Measured on few rows, a smaller change of the overfitting is noise, and the weights divide by its square.
MIN_OVERFITTING = 0.01


def blend(before: Tensor, after: Tensor) -> Tensor:
    """Return the weights [K] of K losses, which sum to 1, from measurements at two points of the training.

    Args:
        before: The losses [2, K] at the first point, on the training rows and on the held-out rows.
        after: The losses [2, K] at the second point.

    Example:
        >>> before = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
        >>> after = torch.tensor([[0.4, 0.1], [0.5, 0.8]])  # the second learns by heart
        >>> blend(before, after)
        tensor([0.9919, 0.0081])
    """
    gained = (before[1] - after[1]).abs()
    overfitted = (after[1] - after[0]) - (before[1] - before[0])
    ratio = gained / overfitted.square().clamp_min(MIN_OVERFITTING**2)
    ratio = ratio.clamp_min(torch.finfo(ratio.dtype).tiny)
    return ratio / ratio.sum()


class GBlending(JointMethod):
    r"""Train on a weighted sum of the joint and unimodal losses, with low weights for losses that overfit.

    Modalities overfit at different speeds. Therefore the weights of their losses should change during the
    training. The training is divided into super-epochs of several epochs each. After each super-epoch,
    G-Blending computes new weights :math:`w_k`:

    .. math:: L = \sum_k w_k L_k, \qquad w_k \propto \frac{|\Delta L_k^{held}|}{(\Delta O_k)^2}, \qquad
        k \in \{1 \dots M, joint\}

    - :math:`L_k^{held}` is loss k on held-out rows. The held-out rows are a fixed part of the training rows,
      and the model is never trained on them.
    - :math:`O_k` is the overfitting of loss k: loss k on held-out rows minus loss k on training rows.
    - :math:`\Delta` is the change over the previous super-epoch.

    Source: Wang, Tran, Feiszli, CVPR 2020, arXiv 1905.12681 (online G-Blend).

    Deviations:

    - altuna measures all losses on the one model that is trained with the weighted sum. To measure a loss,
      the paper trains a copy of the model with this loss alone.
    - altuna's measurement of a loss is a mean over an epoch. The batches contain the held-out rows, whose
      losses are computed without gradients and without dropout.
    - altuna weights all losses equally until the first super-epoch has been measured.
    - If :math:`|\Delta O_k|` is below 0.01, altuna uses 0.01.
    - altuna computes the loss of a modality over the rows that have this modality.

    Args:
        model: A classifier with a joint head and unimodal classifiers.
        super_epochs: Number of super-epochs of a training.
        held_out: Fraction of the training rows that is held out.
    """

    head = "multitask"
    weights: Tensor
    before: Tensor
    totals: Tensor
    counts: Tensor

    def __init__(self, model: MultimodalClassifier, *, super_epochs: int = 4, held_out: float = 0.1) -> None:
        super().__init__(model)
        if super_epochs < 1:
            raise ValueError(f"super_epochs must be at least 1, got {super_epochs}")
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}")
        self.super_epochs, self.held_out = super_epochs, held_out
        number = len(model.modalities) + 1
        self.register_buffer("weights", torch.full((number,), 1 / number))
        self.register_buffer("before", torch.full((2, number), torch.nan))
        self.register_buffer("totals", torch.zeros(2, number))
        self.register_buffer("counts", torch.zeros(2, number))

    def turns(self, batch: Batch) -> Iterable[Turn]:
        keep = stable_uniform(batch.indices) >= self.held_out
        return super().turns(batch.take(keep)) if keep.any() else ()

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        keep = stable_uniform(batch.indices) >= self.held_out
        losses = self._losses(turn, batch.take(keep), 0)
        if not keep.all():
            held = batch.take(~keep)
            with self.model.eval_mode():
                self._losses(Turn(tuple(held.inputs)), held, 1)
        return torch.stack([self.weights[k] * loss for k, loss in losses.items()]).sum()

    def _losses(self, turn: Turn, batch: Batch, row: int) -> dict[int, Tensor]:
        """Return each loss by its number (the joint loss is last), and add it to the sums of the epoch."""
        self._forward(turn, batch)
        assert turn.joint is not None
        answers = {self.model.modalities.index(m): (z, batch.labels_of(m)) for m, z in turn.logits.items()}
        answers[len(self.model.modalities)] = turn.joint, batch.labels
        losses = {k: cross_entropy(z, labels) for k, (z, labels) in answers.items()}
        for k, loss in losses.items():
            self.totals[row, k] += loss.detach() * len(answers[k][1])
            self.counts[row, k] += len(answers[k][1])
        return losses

    def after_epoch(self) -> None:
        length = max(1, round(self.clock.epochs / self.super_epochs))
        due = self.clock.epoch == 0 or (self.clock.epoch + 1) % length == 0
        if due and self.counts.all():
            now = self.totals / self.counts
            if self.before.isfinite().all():
                self.weights.copy_(blend(self.before, now))
            self.before.copy_(now)
        self.totals.zero_()
        self.counts.zero_()
