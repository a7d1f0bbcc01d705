"""OPM: on-the-fly prediction modulation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.scores import dominance, scores


def drop_rates(score: Mapping[str, Tensor], q_base: float, lam: float) -> dict[str, Tensor]:
    """Return the drop rate :math:`q_m` of each modality's features: 0 unless the modality is ahead.

    Example:
        >>> drop_rates({"audio": torch.tensor(0.2), "image": torch.tensor(0.8)}, q_base=0.5, lam=0.5)
        {'audio': tensor(0.), 'image': tensor(0.7488)}
    """
    return {
        m: torch.where(rho > 1, q_base * (1 + lam * torch.tanh(rho - 1)), 0.0)
        for m, rho in dominance(score).items()
    }


class OPM(JointMethod):
    r"""Train jointly; if a modality is ahead, set its features to zero for randomly chosen samples.

    The score :math:`s_m` of modality m is the probability that the logits of m give to the true class,
    averaged over the rows of the batch that have m. The ratio :math:`\rho_m` compares the score with the mean
    score of the other modalities. The drop rate :math:`q_m` is 0 if m is not ahead. If m is ahead,
    :math:`q_m` grows with the lead :math:`\rho_m - 1`:

    .. math:: q_m = q_{base} (1 + \lambda \tanh(\rho_m - 1)) \text{ if } \rho_m > 1 \text{ else } 0, \qquad
        \rho_m = \frac{s_m}{\mathrm{mean}_{v \ne m} s_v}

    With probability :math:`q_m`, the method sets the features :math:`h_m` of a sample to zero. The method
    divides all other features of modality m by :math:`1 - q_m`, as dropout does. The loss is the
    cross-entropy of the joint logits.

    Source: Wei, Hu, Du, Wen, TPAMI 2024, arXiv 2410.11582.

    Deviations from the authors' code:

    - altuna divides the features of modality m by :math:`1 - q_m`. The authors' code multiplies the features
      of all modalities by one common factor.
    - altuna sets features to zero only in samples that also have a modality which is not ahead. Therefore no
      sample loses all its features.
    - With more than two modalities, altuna compares each modality with the mean of the other modalities.

    Args:
        model: A classifier with a joint head.
        q_base: Drop rate of a modality that is only slightly ahead.
        lam: Factor :math:`\lambda` by which the drop rate grows with the lead. ``q_base * (1 + lam)`` must
            be below 1.
        execute: Fraction of the batches in which features are set to zero.
        modulation_starts: First epoch in which features are set to zero, counted from 0.
    """

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        q_base: float = 0.5,
        lam: float = 0.5,
        execute: float = 0.7,
        modulation_starts: int = 6,
    ) -> None:
        super().__init__(model)
        if not (q_base >= 0 and lam >= 0 and q_base * (1 + lam) < 1):
            raise ValueError(f"q_base * (1 + lam) must be in [0, 1), got q_base {q_base}, lam {lam}")
        if not 0 <= execute <= 1:
            raise ValueError(f"execute must be between 0 and 1, got {execute}")
        self.q_base, self.lam, self.execute = q_base, lam, execute
        self.modulation_starts = modulation_starts

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)
        assert turn.joint is not None
        if self.clock.epoch < self.modulation_starts or torch.rand(()) >= self.execute:
            return cross_entropy(turn.joint, batch.labels)
        score = scores(turn.logits, {m: batch.labels_of(m) for m in turn.modalities})
        rates = torch.ones(len(turn.modalities), len(batch), device=batch.labels.device)
        for rate, (m, q) in zip(rates, drop_rates(score, self.q_base, self.lam).items(), strict=True):
            rate[batch.rows[m]] = q
        safe = rates.amin(0) == 0
        features, rows = {}, {}
        for rate, m in zip(rates * safe, turn.modalities, strict=True):
            q = rate[batch.rows[m]]
            keep = torch.rand_like(q) >= q
            features[m] = turn.features[m][keep] / (1 - q[keep]).unsqueeze(1)
            rows[m] = batch.rows[m][keep]
        turn.joint = self.model.joint(features, rows, len(batch))
        return cross_entropy(turn.joint, batch.labels)
