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
    r"""Train jointly, with smaller gradients for modalities that are further ahead than usual.

    AGM splits the joint logits z into one contribution :math:`\phi_m` per modality. The contribution of a
    modality is its Shapley value, and the contributions add up to the joint logits. To compute Shapley
    values, AGM evaluates the joint head on all subsets of the modalities. In the backward pass, AGM
    multiplies the gradient through :math:`\phi_m` by :math:`\kappa_m`:

    .. math:: \phi_m = \mathrm{shapley}_m(z), \quad c_m = CE(\phi_m, y), \quad
        r_m = \exp\left(\tfrac{M}{M-1} (\bar c - c_m)\right), \quad
        \kappa_m = \exp(\alpha \min(\tau_m - r_m, cap))

    - :math:`c_m` is the cross-entropy of the contribution of modality m, and :math:`\bar c` is the mean of
      :math:`c_m` over the modalities.
    - :math:`r_m` is above 1 if modality m is ahead of the other modalities in this batch.
    - :math:`\tau_m` is the usual value of :math:`r_m`. AGM computes :math:`\tau_m` by the formula of
      :math:`r_m`, but from the mean of each :math:`c_m` over all earlier batches.
    - :math:`\kappa_m` is below 1 if modality m is further ahead than usual.
    - M is the number of modalities in the batch.

    Source: Li, Li, Hu, Lei, Li, Zhou, ICCV 2023, arXiv 2308.07686.

    Deviations from the authors' code:

    - To leave a modality out of a subset, altuna sets its features to zero. The authors' code sets its input
      to zero.
    - altuna starts the running mean of :math:`c_m` with the first value of :math:`c_m`. The authors' code
      starts with 0.
    - altuna does not clip gradients, and multiplies gradients by :math:`\kappa_m` in all epochs.
    - altuna computes :math:`c_m` over the rows that have modality m.

    In :math:`c_m`, the cross-entropy of each sample is limited to ``-log 1e-8``, as in the authors' code. The
    authors' value of the option ``cap`` is 7, 10 or no limit, depending on the data set.

    Args:
        model: A classifier with a joint head.
        alpha: Strength :math:`\alpha` of the method. With 0 all factors :math:`\kappa_m` are 1.
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
