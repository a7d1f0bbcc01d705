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
    r"""Add the disagreement of the modalities' predictions to the joint loss, with a decreasing weight.

    At the start of training, when the weight alpha is high, the method mainly aligns the predictions of
    the modalities, because the labels are not equally difficult for all modalities. Source: Yang, Wan,
    Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap", NeurIPS
    2024, https://openreview.net/forum?id=QbsPz0SnyV (not on arXiv).

    .. math::
        L = (1 - \alpha) \, CE(z, y) + \alpha \, \tfrac2{M(M-1)} \sum_{u < v} JS(p_u, p_v)

    JS is the Jensen-Shannon divergence. The schedule ``heuristic`` sets ``alpha = 1 - exp(-1 / t)`` in
    epoch t (the first epoch is 1). The schedule ``learned`` starts at alpha = 0.95. After each batch it
    changes alpha by a gradient step that, to first order, reduces the cross-entropy after a model step on
    L: ``alpha <- alpha + rate * <g_CE, g_JS - g_CE>``, kept within [0.05, 0.95].

    Deviations: the paper aligns modalities by a contrastive loss. altuna aligns predictions, as the
    authors' code does. altuna uses the true Jensen-Shannon divergence; the authors' code swaps the
    arguments of KL. The authors' learned schedule computes second derivatives on held-out rows once per
    epoch, at a rate of 1e-4; altuna uses inner products of the two gradients of each training batch. By
    default, the authors' code takes alpha from a polynomial that was fitted to a learned schedule. altuna
    sums the unimodal logits, while the authors' code averages them and doubles the loss. With any number
    of modalities, the divergence is the mean over the pairs of modalities in the batch. A pair is
    compared on the rows that have both modalities. A batch with only one modality has only the joint
    loss.

    Args:
        model: A classifier with the head ``sum``.
        schedule: ``heuristic`` or ``learned``.
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
