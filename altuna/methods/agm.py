"""AGM: adaptive gradient modulation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.core.shapley import shapley
from altuna.methods.base import JointMethod, Turn

WORST = -math.log(1e-8)


def lead(losses: Tensor) -> Tensor:
    r"""Return how far each modality is ahead, :math:`\exp(\frac{M}{M-1} (\bar c - c_m))`, from losses [M].

    Example:
        >>> lead(torch.tensor([0.5, 0.5]))  # as good as each other
        tensor([1., 1.])
        >>> lead(torch.tensor([0.2, 0.8]))  # the first is ahead
        tensor([1.8221, 0.5488])
    """
    number = len(losses)
    return torch.exp(number / max(1, number - 1) * (losses.mean() - losses))


class AGM(JointMethod):
    r"""Train jointly; slow down a modality that is further ahead than usual, and speed up the others.

    The contribution of a modality to the joint logits is its Shapley value. The features of an absent
    modality are zeros, so any joint head can be used. The contributions :math:`\phi_m` sum to the joint
    logits, and the gradient through :math:`\phi_m` is multiplied by :math:`\kappa_m`:

    .. math:: \phi_m = \mathrm{shapley}_m(z), \quad c_m = CE(\phi_m, y), \quad
        r_m = \exp\left(\tfrac{M}{M-1} (\bar c - c_m)\right), \quad
        \kappa_m = \exp(\alpha \min(\tau_m - r_m, cap))

    where :math:`\tau_m` is computed like :math:`r_m`, from the means of :math:`c` over all earlier batches.

    Source: Li, Li, Hu, Lei, Li, Zhou, ICCV 2023, arXiv 2308.07686.

    Deviations from the authors' code: in altuna the features of an absent modality are zeros; the
    authors' code encodes an input of zeros. In altuna a running mean starts with the first loss; in the
    authors' code it starts with 0. altuna does not clip gradients, and it modulates them in all
    epochs. The loss :math:`c_m` is computed over the rows that have modality m, and M is the number of
    modalities in the batch. As in the authors' code, the loss of a sample is at most ``-log 1e-8``. The
    authors use a cap of 7, a cap of 10 or no cap, depending on the data set.

    Args:
        model: A classifier with a joint head.
        alpha: Strength of the modulation.
        cap: Upper limit of :math:`\tau_m - r_m`.
    """

    mean_loss: Tensor
    batches: Tensor

    def __init__(self, model: MultimodalClassifier, *, alpha: float = 1.0, cap: float = 7.0) -> None:
        super().__init__(model)
        if not alpha >= 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if not cap > 0:
            raise ValueError(f"cap must be positive, got {cap}")
        self.alpha, self.cap = alpha, cap
        self.register_buffer("mean_loss", torch.zeros(len(model.modalities)))
        self.register_buffer("batches", torch.zeros(len(model.modalities)))

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)

        def answer(present: tuple[str, ...]) -> Tensor:
            assert turn.joint is not None
            return self._joint(turn, batch, present) if present else torch.zeros_like(turn.joint)

        shares = shapley(answer, turn.modalities)
        with torch.no_grad():
            losses = [
                cross_entropy(shares[m][batch.rows[m]], batch.labels_of(m), reduction="none")
                for m in turn.modalities
            ]
            factors = self._factors(turn, torch.stack([c.clamp_max(WORST).mean() for c in losses]))
        # The value is the sum of the shares, the gradient through each is multiplied by its factor.
        parts = [
            s.detach() + factor * (s - s.detach()) for s, factor in zip(shares.values(), factors, strict=True)
        ]
        return cross_entropy(torch.stack(parts).sum(0), batch.labels)

    def _factors(self, turn: Turn, losses: Tensor) -> Tensor:
        """Return the factors [M] of the turn's modalities, and update the means of their losses [M]."""
        numbers = [self.model.modalities.index(m) for m in turn.modalities]
        mean, count = self.mean_loss[numbers], self.batches[numbers]
        usual = lead(torch.where(count > 0, mean, losses))
        self.batches[numbers] = count + 1
        self.mean_loss[numbers] = mean + (losses - mean) / (count + 1)
        return torch.exp(self.alpha * (usual - lead(losses)).clamp_max(self.cap))
