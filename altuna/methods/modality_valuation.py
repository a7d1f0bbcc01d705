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
    r"""Train jointly; if a modality contributes little to a sample, train on this modality alone more often.

    The contribution of modality m to a sample is a Shapley value :math:`\phi_m`. The Shapley value measures
    how much m helps to predict the true class:

    .. math:: v(S) = |S| \, [\arg\max z(S) = y], \qquad \phi_m = \mathrm{Shapley}_m(v)

    S is a set of modalities, and |S| is their number. ``z(S)`` are the joint logits when the features of all
    modalities outside S are zeros. The square bracket is 1 if the prediction is correct, and 0 otherwise.

    In the next epoch, the method uses the sample ``s_m`` additional times, each time with modality m alone.
    In the loss, i numbers the samples of a batch, r is the option ``rate``, and B is the batch size:

    .. math:: s_m = \max(0, r (1 - \phi_m)), \qquad
        L = \frac{\sum_i CE(z_i, y_i) + \sum_m \sum_i s_{im} CE(z_i(\{m\}), y_i)}{B + \sum_{im} s_{im}}

    Source: Wei, Feng, Wang, Hu, CVPR 2024, arXiv 2309.06255 (the sample-level variant).

    Deviations:

    - altuna gives a repeated sample more weight in the loss of its batch. The authors add the repeated
      samples to the epoch, which makes the epoch longer. Weighting and repeating have the same expected
      gradient, but weighting needs no additional updates.
    - altuna computes the contributions during the training pass of the previous epoch. The authors run one
      more pass over all data after each epoch.
    - altuna's ``s_m`` is linear in the contribution. For two modalities, the authors use 0, 1, 2 or 3
      repetitions, and altuna's line goes through these numbers.
    - In altuna, a modality that a sample lacks has the contribution 0.
    - altuna repeats a sample with one modality if its prediction was wrong.

    Args:
        model: A classifier with a joint head.
        warmup: Number of epochs before the first repetitions.
        rate: Number of repetitions r if the contribution is 0. With 0 there are no repetitions.
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
