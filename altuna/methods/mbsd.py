"""MBSD: whichever modality knows a sample better teaches the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.pairs import pairs


class MBSD(JointMethod):
    r"""Train joint and unimodal logits; for each sample, the stronger modality teaches the weaker one.

    Source: Liu, Li, Song, Yang, Zeng, WSDM 2023, doi 10.1145/3539597.3570423 (no arXiv version).

    .. math::
        L = CE(z, y) + \sum_m CE(z_m, y) + \lambda \tfrac2{M(M-1)} \sum_{u < v} \tfrac1n \sum_i
        w_i \Big( KL(sg(p_s) \| p_w) + \tfrac1C \|sg(z_s) - z_w\|^2 \Big)

    The sum over u and v runs over the pairs of modalities in the batch. The sum over i runs over the n rows
    that have both modalities of the pair. For each row, the stronger modality s is the one that gives the
    true class the higher probability. The other modality of the pair is the weaker modality w. The remaining
    symbols are:

    - :math:`p_s` and :math:`p_w` are the class probabilities of the two modalities, and :math:`z_s` and
      :math:`z_w` are their logits.
    - ``w_i = p_s[y] - p_w[y]`` is the weight of row i. The weight is 0 if neither modality predicts the true
      class.
    - sg means that no gradient is computed (stop-gradient), M is the number of modalities in the batch, and
      C is the number of classes.

    Deviations: the paper distils during the pre-training of a vision-and-language transformer. altuna follows
    the version for classification in GeWu-Lab's BalanceBenchmark, with three changes:

    - altuna computes the KL divergence of the two class distributions. BalanceBenchmark computes it from only
      the two probabilities of the true class.
    - altuna computes the squared distance of logits. With three modalities, BalanceBenchmark computes the
      squared distance of probabilities.
    - altuna treats the weight ``w_i`` and the outputs of the stronger modality as constants. BalanceBenchmark
      does not stop these gradients.

    Args:
        model: A classifier with a joint head.
        distillation: Weight :math:`\lambda` of the distillation loss.
    """

    def __init__(self, model: MultimodalClassifier, *, distillation: float = 1.0) -> None:
        super().__init__(model)
        if not distillation >= 0:
            raise ValueError(f"distillation must not be negative, got {distillation}")
        self.distillation = distillation

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        for m, logits in turn.logits.items():
            loss = loss + cross_entropy(logits, batch.labels_of(m))
        lessons = [distil(u, v, batch.labels[rows]) for u, v, rows in pairs(turn.logits, batch.rows)]
        return loss + self.distillation * sum(lessons) / max(1, len(lessons))


def distil(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Return the distillation loss of two modalities' logits [n, C] (a scalar), with labels [n].

    Example:
        >>> right, wrong = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]], requires_grad=True)
        >>> distil(right, wrong, torch.tensor([0])).backward()
        >>> wrong.grad.sign()  # the modality that is wrong learns from the other
        tensor([[-1.,  1.]])
    """
    both = torch.stack([first, second]).softmax(2)
    true = both.gather(2, labels.expand(2, -1).unsqueeze(2)).squeeze(2)
    right = (both.argmax(2) == labels).any(0)
    weight = ((true[0] - true[1]).abs() * right).detach()
    ahead = (true[0] > true[1]).unsqueeze(1)
    teacher = torch.where(ahead, first, second).detach()
    student = torch.where(ahead, second, first)
    divergence = kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True)
    return (weight * (divergence.sum(1) + (teacher - student).square().mean(1))).mean()
