"""The experts of a modality, its neural head and fitted estimators, whose opinions become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from altuna.core.estimators import ESTIMATORS, Estimator, MeanEstimator
from altuna.core.softmax import log_softmax


class Pool(nn.Module):
    r"""Estimators beside a modality's head, and how much of each opinion counts.

    With the class prior :math:`\pi`, calibrated probabilities :math:`p_e` and weights :math:`b_e`, over the
    head and the estimators, the modality's logits are

    .. math:: z = \log\pi + \sum_e b_e (\log p_e - \log\pi)

    as evidence is fused over modalities. But for a constant, :math:`\log p_e` is
    :math:`\log\pi + (z_e - \log\pi) / T_e`.
    The temperatures and the weights are fitted by ``altuna.core.fit_pools``.

    Args:
        estimators: Estimators by name, at least one.

    Attributes:
        temperatures: T [1 + E], the head's first.
        weights: b [1 + E].

    Example:
        >>> from altuna.core.estimators import Logistic
        >>> pool = Pool({"logistic": Logistic(inputs=4, classes=3)})
        >>> pool.estimates(torch.randn(5, 4)).shape
        torch.Size([5, 3])
        >>> pool.weights.tolist()  # before they are fitted: the head alone
        [1.0, 0.0]
    """

    temperatures: Tensor
    weights: Tensor

    def __init__(self, estimators: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleDict(estimators)
        self.register_buffer("temperatures", torch.ones(1 + len(estimators)))
        self.register_buffer("weights", torch.tensor([1.0] + [0.0] * len(estimators)))

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, Mapping[str, Any]], classes: int) -> Self:
        """Return a pool to load weights into, from the shape of each estimator by its name."""
        made = [(name, make) for name, make in ESTIMATORS.items() if name in shapes]
        return cls({name: make(classes=classes, **shapes[name]) for name, make in made})

    @classmethod
    def joined(cls, pools: Sequence[Pool]) -> Pool:
        """Return the pool of several folds, which have the same estimators, temperatures and weights."""
        first = pools[0]
        pool = cls({name: MeanEstimator([pool.members[name] for pool in pools]) for name in first.names})
        pool.temperatures, pool.weights = first.temperatures, first.weights
        return pool

    def shapes(self) -> dict[str, list[dict[str, int]]]:
        """Return the shape of each estimator by its name, in each fold."""
        return {
            name: [one.shape() for one in member.modules() if isinstance(one, Estimator)]
            for name, member in self.members.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the estimators."""
        return tuple(self.members)

    @property
    def size(self) -> int:
        """Number of estimators."""
        return len(self.members)

    def facts(self) -> dict[str, dict[str, float]]:
        """Return the temperature and weight of each expert, ``network`` for the head."""
        fitted = zip(self.temperatures.tolist(), self.weights.tolist(), strict=True)
        named = zip(("network", *self.names), fitted, strict=True)
        return {name: {"temperature": t, "weight": b} for name, (t, b) in named}

    def estimates(self, vectors: Tensor) -> Tensor:
        """Return the log-probabilities of all estimators side by side [n, E C], from vectors [n, d]."""
        return torch.cat([member(vectors) for member in self.members.values()], 1)

    def opinions(self, logits: Tensor, estimates: Tensor) -> Tensor:
        """Return what each expert says [1 + E, n, C], from the head's logits [n, C] and all estimates."""
        said = estimates.view(logits.shape[0], self.size, logits.shape[1]).transpose(0, 1)
        return torch.cat([logits.to(said).unsqueeze(0), said])

    def forward(self, logits: Tensor, estimates: Tensor, prior: Tensor) -> Tensor:
        """Return the modality's logits [n, C], with the class prior [C]."""
        log_prior = prior.log()
        beyond = log_softmax(self.opinions(logits, estimates)) - log_prior
        return log_prior + torch.einsum("e,enc->nc", self.weights / self.temperatures, beyond)

    def without_members(self) -> Pool:
        """Return the pool for estimates that were computed before; the estimators are left out."""
        pool = Pool({name: nn.Identity() for name in self.names})
        pool.load_state_dict({"temperatures": self.temperatures, "weights": self.weights})
        return pool

    def only(self, kept: list[int]) -> Pool:
        """Return the pool with the estimators of these numbers only, and the head."""
        pool = Pool({self.names[i]: self.members[self.names[i]] for i in kept})
        rows = [0, *(1 + i for i in kept)]
        pool.temperatures, pool.weights = self.temperatures[rows], self.weights[rows]
        return pool

    def mistake(self) -> str:
        """Return what is wrong with values that were loaded from a file; empty if nothing is."""
        if not (self.temperatures > 0).all() or not (self.weights >= 0).all():
            return "temperatures must be more than 0, weights must not be negative"
        for name, module in self.members.named_modules():
            if isinstance(module, Estimator) and (mistake := module.mistake()):
                return f"{name}: {mistake}"
        return ""
