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
    r"""Return from losses [M] how far each modality is ahead, :math:`\exp(\frac{M}{M-1} (\bar c - c_m))`."""
    number = len(losses)
    return torch.exp(number / max(1, number - 1) * (losses.mean() - losses))


class AGM(JointMethod):
    r"""Joint training that slows a modality further ahead than it has been so far, and speeds up others.

    A modality's share of the joint logits is its Shapley value, an absent modality counting as zero features,
    so the head may join modalities as it likes. The shares sum to the joint logits, and the gradient through
    each is multiplied by :math:`\kappa_m`:

    .. math:: \phi_m = \mathrm{shapley}_m(z), \quad c_m = CE(\phi_m, y), \quad
        r_m = \exp\left(\tfrac{M}{M-1} (\bar c - c_m)\right), \quad
        \kappa_m = \exp(\alpha \min(\tau_m - r_m, cap))

    with :math:`\tau_m` computed as :math:`r_m` from the means of :math:`c` over all batches before.

    Source: Li, Li, Hu, Lei, Li, Zhou, ICCV 2023, arXiv 2308.07686.

    Deviations from the authors' code: an absent modality is zero features, not a zero input through its
    encoder; a mean starts with its first loss instead of 0; no gradient clipping, and no last epoch of
    modulation. A loss is over the rows that have the modality, M counts the modalities of the batch. As in
    their code a loss per sample is at most ``-log 1e-8``; their cap is 7, 10 or none, by data set.

    Args:
        model: A classifier with a joint head.
        alpha: Strength of the modulation.
        cap: Largest lag that counts.
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
        """Return the factors [M] of the turn's modalities, and count their losses [M] into the means."""
        numbers = [self.model.modalities.index(m) for m in turn.modalities]
        mean, count = self.mean_loss[numbers], self.batches[numbers]
        usual = lead(torch.where(count > 0, mean, losses))
        self.batches[numbers] = count + 1
        self.mean_loss[numbers] = mean + (losses - mean) / (count + 1)
        return torch.exp(self.alpha * (usual - lead(losses)).clamp_max(self.cap))
