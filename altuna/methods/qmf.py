"""QMF: fusion by each sample's confidence, ranked as its losses were."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.memory import SampleMemory


class QMF(JointMethod):
    r"""Sum the logits of the modalities, weighted by the confidence of each modality.

    QMF computes the confidence :math:`c_m` of modality m from the logits of m, and weights the logits of m by
    :math:`c_m`. A ranking loss :math:`R_m` trains the confidences. For each sample, QMF adds up the losses of
    modality m in all epochs so far. Of two samples, the sample with the lower sum of losses should have the
    higher confidence.

    Source: Zhang et al., ICML 2023, arXiv 2306.02050.

    .. math::
        c_m = \tfrac1{10} \log \sum_k e^{z_{mk}}, \quad z = \sum_m sg(c_m) z_m, \quad
        L = CE(z, y) + \sum_m CE(z_m, y) + \lambda \sum_m R_m

    .. math::
        R_m = \tfrac1n \sum_i \max(0, sign(l_{mi} - l_{mj}) (c_{mi} - c_{mj}) + |l_{mi} - l_{mj}|)

    - :math:`z_{mk}` is the logit of class k, and :math:`c_{mi}` is the confidence of sample i.
    - sg marks a value that is treated as a constant, without gradient (stop-gradient).
    - n is the number of rows of the batch that have modality m, and i numbers these rows.
    - j is the row after row i. If i is the last row, j is the first row.
    - :math:`l_{mi}` is the sum of the losses of modality m on sample i so far, scaled to the range from 0 to
      1.

    Deviations:

    - In :math:`R_m`, altuna adds the margin :math:`|l_{mi} - l_{mj}|`, as correctness ranking does (arXiv
      2007.01458). Correctness ranking is the source of the paper's ranking loss. The authors' code subtracts
      the margin. With a subtracted margin, two confidences in the wrong order are not penalised if they
      differ by less than the margin.
    - To scale :math:`l_{mi}`, altuna takes the minimum and the maximum over the samples seen so far. The
      authors take them over all samples.
    - altuna computes every loss term of a modality over the rows that have this modality.

    Args:
        model: A classifier with a confidence head.
        ranking: Weight :math:`\lambda` of the ranking loss.
    """

    head = "confidence"

    def __init__(self, model: MultimodalClassifier, *, ranking: float = 1.0) -> None:
        super().__init__(model)
        if not ranking >= 0:
            raise ValueError(f"ranking must not be negative, got {ranking}")
        self.ranking = ranking
        self.memory = SampleMemory(len(model.modalities), initial=-1.0)  # -1: never met; losses are positive

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        history = self.memory.read(batch.indices)
        numbers = {m: self.model.modalities.index(m) for m in turn.modalities}
        for m, number in numbers.items():
            each = cross_entropy(turn.logits[m], batch.labels_of(m), reduction="none")
            loss = loss + each.mean()
            rows = batch.rows[m]
            history[rows, number] = history[rows, number].clamp_min(0) + each.detach().to(history)
        self.memory.record(batch.indices, history)
        for m, number in numbers.items():
            seen = self.memory.all()[:, number]
            low, high = seen[~(seen < 0)].aminmax()  # NaN stays: the loop raises DivergedError
            scaled = (history[batch.rows[m], number] - low) / (high - low).clamp_min(1e-12)
            loss = loss + self.ranking * disorder(confidence(turn.logits[m]), scaled)
        return loss


def confidence(logits: Tensor) -> Tensor:
    """Return the confidence [n] of logits [n, C]: a tenth of their log-sum-exp (negative energy).

    Example:
        >>> confidence(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
        tensor([0.0693, 0.5007])
    """
    return torch.logsumexp(logits, 1) / 10


def disorder(confidences: Tensor, losses: Tensor) -> Tensor:
    """Return the ranking loss :math:`R_m` (a scalar) of confidences [n] and scaled losses [n].

    Example:
        >>> losses = torch.tensor([0.0, 1.0])
        >>> disorder(torch.tensor([1.0, 0.0]), losses)  # more confident where the loss is lower
        tensor(0.)
        >>> disorder(torch.tensor([0.0, 1.0]), losses)
        tensor(2.)
    """
    gap = losses - losses.roll(-1)
    return torch.relu(gap.sign() * (confidences - confidences.roll(-1)) + gap.abs()).mean()
