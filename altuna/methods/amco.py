"""AMCo: adaptive mask co-optimization."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


class AMCo(JointMethod):
    r"""Mask more and more features of the modality that a model depends on, and keep it fit by its own loss.

    .. math:: L = CE(z(\ldots, \mu_m * h_m, \ldots), y) + \sum_m CE(z_m, y)

    with a mask [d] that is shared by the batch and has ``floor(p d)`` zeros at random places if modality m is
    depended on, and none otherwise. ``p`` grows with the share t of training that is done, and the dependence
    is modality m's share of the softmax over all modalities' logits together:

    .. math:: p = \sin(\tfrac\pi2 \min(1, t / \epsilon)), \qquad
        D_m = \frac{\sum_c e^{z_{mc}}}{\sum_v \sum_c e^{z_{vc}}}, \qquad
        \text{mean}_i \frac{D_{im}}{D_{im} + \text{mean}_{v \ne m} D_{iv}} > \sigma

    Source: Zhou, Liang, Zheng, Xuan, Kumada, ICASSP 2023, doi 10.1109/ICASSP49357.2023.10096641.

    Deviations: the paper is not open; the equations are those of the public reimplementation in
    BalanceBenchmark, which multiplies logits by the mask, restarts ``t`` every epoch and remembers dependence
    until then. Here features are masked, ``t`` is the share of the run, dependence is judged anew in each
    batch, and there is no linear layer after fusion. For M > 2 a modality stands against the mean of the
    others. Absent modalities count for nothing: dependence is over the rows that have m and another modality.

    Args:
        model: A classifier with a joint head.
        epsilon: Share of training after which the modality depended on is masked altogether.
        sigma: Dependence above which a modality is masked; 0.5 is balance, 1 masks none.
    """

    def __init__(self, model: MultimodalClassifier, *, epsilon: float = 0.3, sigma: float = 0.5) -> None:
        super().__init__(model)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {epsilon}")
        if not 0 <= sigma <= 1:
            raise ValueError(f"sigma must be between 0 and 1, got {sigma}")
        self.epsilon, self.sigma = epsilon, sigma

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)
        clock = self.clock
        rate = mask_rate((clock.epoch + clock.batch / clock.batches) / clock.epochs, self.epsilon)
        depends = dependence(turn.logits, batch.rows, len(batch))
        masked = {}
        for m, features in turn.features.items():
            mask = torch.ones_like(features[0])
            mask[torch.randperm(len(mask), device=mask.device)[: int(rate * len(mask))]] = 0
            masked[m] = torch.where(depends[m] > self.sigma, mask, 1.0) * features
            if turn.wants_log:
                turn.log[f"dependence_{m}"] = depends[m]
        turn.joint = self.model.joint(masked, batch.rows, len(batch))
        alone = [cross_entropy(z, batch.labels_of(m)) for m, z in turn.logits.items()]
        return cross_entropy(turn.joint, batch.labels) + torch.stack(alone).sum()


def mask_rate(done: float, epsilon: float) -> float:
    """Return the share of features to mask when ``done`` of the training is over."""
    return math.sin(math.pi / 2 * min(1.0, done / epsilon))


@torch.no_grad()
def dependence(logits: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Return how far a model leans on each modality: 0.5 if as much as on the mean of the others.

    Args:
        logits: Modality to its logits [n_m, C].
        rows: Modality to the batch rows [n_m] that have it.
        size: B.
    """
    mass = next(iter(logits.values())).new_full((len(logits), size), -torch.inf)
    for i, (m, z) in enumerate(logits.items()):
        mass[i, rows[m]] = z.logsumexp(1).to(mass)
    share = mass.softmax(0)
    others = mass.isfinite().sum(0) - 1
    found = {}
    for i, m in enumerate(logits):
        mine, number = share[i, rows[m]], others[rows[m]]
        ratio = mine / (mine + (1 - mine) / number.clamp_min(1))
        found[m] = torch.where(number > 0, ratio, 0).sum() / (number > 0).sum().clamp_min(1)
    return found
