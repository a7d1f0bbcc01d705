"""LFM: align the modalities first, fit the labels later."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.pairs import pairs


class LFM(JointMethod):
    r"""Train jointly, and penalise disagreement between the modalities, with a weight that decreases.

    The weight :math:`\alpha` of the disagreement is high at the start of training. At first, the method
    mainly aligns the predictions of the modalities. Later, the method
    mainly fits the labels.

    Source: Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality
    Gap", NeurIPS 2024, https://openreview.net/forum?id=QbsPz0SnyV (not on arXiv).

    .. math::
        L = (1 - \alpha) \, CE(z, y) + \alpha \, \tfrac2{M(M-1)} \sum_{u < v} JS(p_u, p_v)

    JS is the Jensen-Shannon divergence, and :math:`p_u` are the class probabilities that modality u predicts.
    The sum runs over the pairs of modalities, and M is the number of modalities in the batch. The option
    ``schedule`` sets how :math:`\alpha` changes:

    - ``heuristic``: in epoch t, ``alpha = 1 - exp(-1 / t)``. The first epoch has t = 1.
    - ``learned``: alpha starts at 0.95. After each batch, ``alpha <- alpha + rate * <g_CE, g_JS - g_CE>``,
      limited to [0.05, 0.95]. ``g_CE`` is the gradient of the cross-entropy, ``g_JS`` is the gradient of the
      divergence, and ``< , >`` is the inner product. To first order, the update of alpha lowers the
      cross-entropy after the next model step.

    Deviations:

    - altuna aligns predictions, as the authors' code does. The paper aligns modalities by a contrastive loss.
    - altuna computes the Jensen-Shannon divergence exactly. The authors' code swaps the arguments of the KL
      divergence.
    - altuna's learned schedule uses inner products of gradients of each training batch. The authors' learned
      schedule computes second derivatives on held-out rows once per epoch, with a rate of 1e-4.
    - altuna has two schedules of alpha, and the default is ``heuristic``. The default of the authors' code is
      a polynomial that was fitted to a learned schedule.
    - altuna's joint logits are the sum of the unimodal logits. The authors' code averages the unimodal logits
      and doubles the loss.
    - altuna compares the two modalities of a pair on the rows that have both.
    - If a batch has only one modality, the loss is the cross-entropy alone.

    Args:
        model: A classifier with the head ``sum``.
        schedule: Schedule of alpha, ``heuristic`` or ``learned``.
        rate: Learning rate of alpha in the learned schedule.
    """

    head = "sum"
    alpha: Tensor

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        schedule: Literal["heuristic", "learned"] = "heuristic",
        rate: float = 0.01,
    ) -> None:
        super().__init__(model)
        if schedule not in ("heuristic", "learned"):
            raise ValueError(f"schedule must be 'heuristic' or 'learned', got {schedule!r}")
        if not rate >= 0:
            raise ValueError(f"rate must not be negative, got {rate}")
        self.schedule, self.rate = schedule, rate
        self.register_buffer("alpha", torch.tensor(0.95))

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        classification = super().loss(turn, batch)
        assert isinstance(classification, Tensor)
        if self.schedule == "heuristic":
            self.alpha.fill_(1 - math.exp(-1 / (self.clock.epoch + 1)))
        turn.log["alpha"] = alpha = self.alpha.clone()
        gaps = [disagreement(u, v) for u, v, _ in pairs(turn.logits, batch.rows)]
        if not gaps:
            return classification
        losses = {
            "classification": (1 - alpha) * classification,
            "alignment": alpha * torch.stack(gaps).mean(),
        }
        return losses if self.schedule == "learned" else torch.stack([*losses.values()]).sum()

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        if not turn.gradients:
            return
        alpha, alignment = turn.log["alpha"], turn.gradients["alignment"]
        for p, gradient in turn.gradients["classification"].items():
            ours = gradient / (1 - alpha)
            theirs = alignment[p] / alpha if p in alignment else torch.zeros_like(ours)
            self.alpha += self.rate * (ours * (theirs - ours)).sum()
        self.alpha.clamp_(0.05, 0.95)


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean Jensen-Shannon divergence of the predictions of two logits [n, C].

    Example:
        >>> sure = torch.tensor([[9.0, 0.0]])
        >>> bool(disagreement(sure, sure) < 1e-6)
        True
        >>> round(disagreement(sure, -sure).item(), 3)  # at most log 2
        0.692
    """
    p, q = first.log_softmax(1), second.log_softmax(1)
    middle = torch.logaddexp(p, q) - math.log(2)
    both = [kl_div(middle, one, reduction="batchmean", log_target=True) for one in (p, q)]
    return (both[0] + both[1]) / 2
