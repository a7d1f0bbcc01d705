"""Sample-level modality valuation: a modality that contributes little to a sample meets it again, alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch, presence
from altuna.core.model import MultimodalClassifier
from altuna.core.shapley import shapley
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.memory import SampleMemory


class ModalityValuation(JointMethod):
    r"""Measure what each modality contributes to each sample, and resample modalities that contribute little.

    The contribution of modality m to a sample is its Shapley value for a correct prediction,

    .. math:: v(S) = |S| \, [\arg\max z(S) = y], \qquad \phi_m = \mathrm{Shapley}_m(v)

    where ``z(S)`` are the joint logits with zero features for the modalities outside S. The bracket is 1
    if the prediction is correct, and 0 otherwise. In the next epoch the sample is used ``s_m`` more
    times, each time with modality m alone:

    .. math:: s_m = \max(0, r (1 - \phi_m)), \qquad
        L = \frac{\sum_i CE(z_i, y_i) + \sum_m \sum_i s_{im} CE(z_i(\{m\}), y_i)}{B + \sum_{im} s_{im}}

    Source: Wei, Feng, Wang, Hu, CVPR 2024, arXiv 2309.06255 (the sample-level variant).

    Deviations: resampling is a weighted loss in the sample's own batch. The authors add the resampled
    rows to the epoch, which makes the epoch longer. The weighted loss has the same expected gradient,
    without more updates. altuna computes the contributions in the training pass of the previous epoch;
    the authors run one more pass over all data after each epoch. For two modalities, the authors resample
    a sample 0, 1, 2 or 3 times, and ``s_m`` is the straight line through these numbers. A modality that a
    sample lacks has the contribution 0. A sample with one modality is resampled if its prediction was
    wrong.

    Args:
        model: A classifier with a joint head.
        warmup: Number of epochs before the first resampling.
        rate: Number of resamplings per unit of missing contribution, r. 0 switches resampling off.
    """

    def __init__(self, model: MultimodalClassifier, *, warmup: int = 5, rate: float = 2.0) -> None:
        super().__init__(model)
        if warmup < 1:
            raise ValueError(
                f"warmup must be at least 1 (the first epoch has no contributions yet), got {warmup}"
            )
        if not rate >= 0:
            raise ValueError(f"rate must not be negative, got {rate}")
        self.warmup, self.rate = warmup, rate
        self.contributions = SampleMemory(len(model.modalities), initial=1.0)

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)
        assert turn.joint is not None
        before = self.contributions.read(batch.indices)
        now = before.clone()
        for m, value in self._contributions(turn, batch).items():
            now[:, self.model.modalities.index(m)] = value.to(now)
        self.contributions.record(batch.indices, now)
        total = cross_entropy(turn.joint, batch.labels, reduction="sum")
        count = total.new_tensor(len(batch))
        if self.clock.epoch < self.warmup:
            return total / count
        times = repetitions(before, self.rate)
        for m in turn.modalities:
            rows = batch.rows[m]
            mine = times[rows, self.model.modalities.index(m)].to(total)
            alone = self._joint(turn, batch, (m,))[rows]
            total = total + mine @ cross_entropy(alone, batch.labels_of(m), reduction="none")
            count = count + mine.sum()
        return total / count

    @torch.no_grad()
    def _contributions(self, turn: Turn, batch: Batch) -> Mapping[str, Tensor]:
        """Return the contribution [B] of each modality to the right prediction of each sample."""
        present = dict(zip(turn.modalities, presence(batch.rows, turn.modalities, len(batch)), strict=True))

        def value(coalition: tuple[str, ...]) -> Tensor:
            if not coalition:
                return torch.zeros(len(batch), device=batch.labels.device)
            right = self._joint(turn, batch, coalition).argmax(1) == batch.labels
            return right * torch.stack([present[m] for m in coalition]).sum(0).float()

        return shapley(value, turn.modalities)


def repetitions(contributions: Tensor, rate: float) -> Tensor:
    """Return how often to resample (same shape): from 0 at a contribution of 1 or more, linearly upwards.

    Example:
        >>> repetitions(torch.tensor([0.0, 0.5, 2.0]), rate=2.0)
        tensor([2., 1., 0.])
    """
    return (rate * (1 - contributions)).clamp_min(0)
