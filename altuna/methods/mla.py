"""MLA: multimodal learning with alternating unimodal adaptation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.heads import SharedHead
from altuna.core.model import MultimodalClassifier
from altuna.core.projection import OrthogonalProjector
from altuna.methods.base import Method, Turn


class MLA(Method):
    r"""Train one modality per turn, and project the gradient of the shared head to protect earlier turns.

    Each batch has one turn per modality. The turn of modality m trains only encoder m and the shared head, on
    the rows that have modality m:

    .. math:: L_m = CE(W h_m + b, y), \qquad \nabla W \leftarrow \nabla W\, P

    :math:`L_m` is the loss of the turn. W and b are the weight and the bias of the shared head,
    :math:`\nabla W` is the gradient of W, and P is a projection matrix. The projection removes the directions
    of the mean features of earlier turns from :math:`\nabla W`. Therefore a turn hardly changes the logits
    that the head computes for the mean features of earlier turns. The gradients of b and of the encoder are
    not projected. After each turn, MLA updates P by recursive least squares, with the mean of ``h_m`` over
    the rows of the turn.

    Source: Zhang, Yoon, Bansal, Yao, CVPR 2024, arXiv 2311.10707.

    Deviations from the paper:

    - altuna resets P to the identity matrix at the start of every batch. The paper never resets P. Without
      resets, P shrinks with every turn, until the head can no longer learn.
    - In altuna, every second batch takes its turns in reverse order. In the first turn of a batch, P is the
      identity matrix, which leaves the gradient unchanged. In a fixed order, the first turn would always
      belong to the same modality, whose gradient would never be projected.

    To train as in the paper, set the option ``order`` to ``given`` and the option ``reset`` to ``never``.

    In three points altuna follows the paper, but the authors' code does not:

    - altuna projects the gradient of W. The authors' code never projects a gradient, because it looks for a
      parameter name that does not exist.
    - In the update of P, altuna divides by the scalar ``alpha + r^T P r``, where r is the mean of ``h_m``.
      The authors' code divides by a matrix.
    - In altuna, ``alpha`` is constant by default. In the authors' code, ``alpha`` decreases within each
      epoch. To use the authors' schedule, set the option ``alpha`` to ``schedule``.

    altuna stores a square root of P instead of P, so that P stays positive definite despite rounding errors.

    With AdamW, momentum or weight decay, the optimizer does not change W in the direction of the projected
    gradient. To project the change of W itself, set the option ``project`` to ``step``.

    Args:
        model: A classifier with a shared head.
        order: Order of the turns of a batch. ``given``: the order of the modalities in the data.
            ``alternating``: the order of the modalities in the data, reversed in every second batch.
            ``random``: a random order. ``weakest``: the modality with the highest running loss comes first.
        alpha: Regulariser of the update of P: a number above 0, or ``schedule``. With a smaller number, an
            update removes more of the direction of the mean features. With ``schedule``, ``alpha`` is
            ``10 ** -(1 + i / N)`` in batch i of an epoch with N batches, where i counts from 0.
        reset: When P is reset to the identity matrix: at the start of every batch (``batch``), at the start
            of every epoch (``epoch``), or never (``never``).
        project: What is projected: the gradient of W, as in the paper (``gradient``), the change of W by the
            optimizer (``step``), or nothing (``off``).
    """

    running_loss: Tensor

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        order: Literal["given", "alternating", "random", "weakest"] = "alternating",
        alpha: float | Literal["schedule"] = 0.1,
        reset: Literal["never", "epoch", "batch"] = "batch",
        project: Literal["gradient", "step", "off"] = "gradient",
    ) -> None:
        super().__init__(model)
        if not isinstance(model.head, SharedHead):
            raise ValueError(f"MLA needs a shared head, got {type(model.head).__name__}")
        self._head = (model.head,)  # in a tuple, so that it is not registered twice
        self.order, self.alpha, self.reset, self.project = order, alpha, reset, project
        self.projector = OrthogonalProjector(
            model.head.linear.in_features, 0.1 if alpha == "schedule" else alpha
        )
        self.register_buffer("running_loss", torch.full((len(model.modalities),), torch.inf))
        # Features of the turn before in this batch, and whose they are.
        self._previous: tuple[Tensor, str] | None = None

    @property
    def weight(self) -> Tensor:
        """Weight of the shared head [C, d]."""
        return self._head[0].linear.weight

    def turns(self, batch: Batch) -> Iterable[Turn]:
        if self._previous is not None:
            self._previous = None
        if self.reset == "batch" or (self.reset == "epoch" and self.clock.batch == 0):
            self.projector.reset()
        else:
            self.projector.settle()  # as resuming between two batches does, to the same bits
        if self.alpha == "schedule":
            self.projector.alpha = 10 ** -(1 + self.clock.batch / self.clock.batches)
        turns = list(super().turns(batch))
        if self.order == "weakest":
            loss = dict(zip(self.model.modalities, self.running_loss.tolist(), strict=True))
            turns.sort(key=lambda turn: -loss[turn.name])
        elif self.order == "random":
            turns = [turns[i] for i in torch.randperm(len(turns))]
        elif self.order == "alternating" and self.clock.batch % 2:
            turns.reverse()
        return turns

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        if turn.wants_log and self._previous is not None:
            turn.log["interference"] = -self._previous_loss(batch)
        if self.order == "weakest":
            seen, number = loss.detach(), self.model.modalities.index(turn.name)
            old = self.running_loss[number]
            self.running_loss[number] = torch.where(old.isinf(), seen, 0.9 * old + 0.1 * seen)
        return loss

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        weight = self.weight
        assert weight.grad is not None
        projected = weight.grad if self.project == "off" else self.projector.project(weight.grad)
        if turn.wants_log:
            turn.log["head_gradient"] = weight.grad.norm()
            turn.log["head_gradient_projected"] = projected.norm()
        if self.project == "gradient":
            weight.grad = projected
        elif self.project == "step":
            self._before = weight.detach().clone()

    def after_step(self, turn: Turn, batch: Batch) -> None:
        features = turn.features[turn.name].detach()
        if self.project == "step":
            with torch.no_grad():
                step = self.projector.project(self.weight - self._before)
                self.weight.copy_(self._before + step)
        if "interference" in turn.log:
            turn.log["interference"] += self._previous_loss(batch)
        if self.project != "off":
            self.projector.update(features)
        if turn.wants_log:
            self._previous = features, turn.name

    @torch.no_grad()
    def _previous_loss(self, batch: Batch) -> Tensor:
        """Return the loss of the head, with its present weights, on the features of the previous turn."""
        assert self._previous is not None
        features, name = self._previous
        return cross_entropy(self.model.head(0, features), batch.labels_of(name))
