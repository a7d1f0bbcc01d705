"""Heads in which the modalities condition each other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from altuna.core.heads.base import Head, sum_at_rows


class ConditionedHead(Head):
    """Base of heads in which each modality conditions the sum of the others' features.

    The mean of the conditioned features is classified by a linear layer.

    Example:
        >>> import torch
        >>> class ProductHead(ConditionedHead):
        ...     def _condition(self, i, features, others):
        ...         return features * others
        >>> head, rows = ProductHead(sizes=[4, 4], num_classes=3), torch.arange(5)
        >>> head.joint({0: torch.randn(5, 4), 1: torch.randn(5, 4)}, {0: rows, 1: rows}, size=5).shape
        torch.Size([5, 3])
    """

    needs_equal_sizes = True
    is_joint = True
    joint_only = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sizes[0], num_classes)

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        d = self.sizes[0]
        total = sum_at_rows(features, rows, size, d)
        parts = {i: self._condition(i, f, total[rows[i]] - f) for i, f in features.items()}
        logits: Tensor = self.linear(sum_at_rows(parts, rows, size, d) / len(self.sizes))
        return logits

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        """Return features [n, d] from those of modality i [n, d] and the sum of the others [n, d]."""
        raise NotImplementedError


class FiLMHead(ConditionedHead):
    """Modulated features: ``gamma(h_m) * h_others + beta(h_m)`` (Perez et al., 2018, arXiv 1709.07871).

    Example:
        >>> import torch
        >>> head, rows = FiLMHead(sizes=[4, 4], num_classes=3), torch.arange(5)
        >>> head.joint({0: torch.randn(5, 4), 1: torch.randn(5, 4)}, {0: rows, 1: rows}, size=5).shape
        torch.Size([5, 3])
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.films = nn.ModuleList(nn.Linear(size, 2 * size) for size in sizes)

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        gamma, beta = self.films[i](features).chunk(2, dim=1)
        modulated: Tensor = gamma * others + beta
        return modulated


class GatedHead(ConditionedHead):
    """Gated features: ``sigmoid(U_m h_m) * V_m h_others`` (Kiela et al., 2018, arXiv 1802.02892).

    Example:
        >>> import torch
        >>> head = GatedHead(sizes=[4, 4], num_classes=3)
        >>> head.joint({0: torch.randn(5, 4)}, {0: torch.arange(5)}, size=5).shape  # only modality 0
        torch.Size([5, 3])
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.gates = nn.ModuleList(nn.Linear(size, size) for size in sizes)
        self.values = nn.ModuleList(nn.Linear(size, size) for size in sizes)

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        gated: Tensor = self.gates[i](features).sigmoid() * self.values[i](others)
        return gated
