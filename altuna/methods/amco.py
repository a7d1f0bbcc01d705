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
    r"""Train jointly; if the model depends too much on a modality, set some of its features to zero.

    .. math:: L = CE(z(\ldots, \mu_m * h_m, \ldots), y) + \sum_m CE(z_m, y)

    The mask :math:`\mu_m` is a vector of d ones and zeros, where d is the number of features of modality m.
    All samples of a batch have the same mask. If the model depends too much on modality m, the mask has
    ``floor(p d)`` zeros at random places. If the model does not depend too much on m, the mask has no zeros.
    The fraction p grows with t, the fraction of the training that is over.

    To compute the dependence :math:`D_{im}` of sample i on modality m, take one softmax over the logits of
    all modalities. :math:`D_{im}` is the sum of the softmax values of modality m. The model depends too much
    on m if the inequality on the right holds:

    .. math:: p = \sin(\tfrac\pi2 \min(1, t / \epsilon)), \qquad
        D_{im} = \frac{\sum_c e^{z_{imc}}}{\sum_v \sum_c e^{z_{ivc}}}, \qquad
        \text{mean}_i \frac{D_{im}}{D_{im} + \text{mean}_{v \ne m} D_{iv}} > \sigma

    Source: Zhou, Liang, Zheng, Xuan, Kumada, ICASSP 2023, doi 10.1109/ICASSP49357.2023.10096641.

    Deviations: the paper is not openly available. altuna therefore follows the public reimplementation in
    GeWu-Lab's BalanceBenchmark, with the following changes:

    - altuna masks features. BalanceBenchmark masks logits.
    - altuna measures t over the whole training. BalanceBenchmark restarts t in every epoch.
    - altuna measures the dependence with the data of the batch that it masks. BalanceBenchmark measures the
      dependence with the data of an earlier batch.
    - altuna has no additional linear layer after the joint head.
    - With more than two modalities, altuna compares each modality with the mean of the other modalities.
    - altuna computes the dependence on m over the rows that have m and at least one other modality.

    Args:
        model: A classifier with a joint head.
        epsilon: Fraction of the training after which p is 1, so that the mask has only zeros.
        sigma: Dependence above which a modality is masked. With 0.5, a modality is masked as soon as the
            model depends more on it than on the mean of the other modalities. With 1, nothing is masked.
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
    """Return the fraction p of features to mask after the fraction ``done`` of the training.

    Example:
        >>> [round(mask_rate(done, epsilon=0.5), 2) for done in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.71, 1.0, 1.0]
    """
    return math.sin(math.pi / 2 * min(1.0, done / epsilon))


@torch.no_grad()
def dependence(logits: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Return how much the model depends on each modality (a scalar each); 0.5 is balance.

    Args:
        logits: Modality to its logits [n_m, C].
        rows: Modality to the batch rows [n_m] that have it.
        size: Number of rows in the batch, B.

    Example:
        >>> logits = {"audio": torch.tensor([[4.0, 0.0]]), "image": torch.tensor([[1.0, 0.0]])}
        >>> depends = dependence(logits, dict.fromkeys(logits, torch.tensor([0])), size=1)
        >>> {m: round(value.item(), 2) for m, value in depends.items()}
        {'audio': 0.94, 'image': 0.06}
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
