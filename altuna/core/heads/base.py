"""The base of heads, and how heads put features of absent and present cells together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Base of the heads for M modalities; modalities are addressed by number.

    ``forward(i, features)`` returns the unimodal logits [n, C] of modality i. A head with ``is_joint`` also
    has ``joint(features, rows, size)``, which returns the joint logits [B, C]. A head with ``joint_only`` has
    no ``forward``: the logits of a modality are the joint logits of samples that have only this modality.

    Example:
        >>> from altuna.core.heads import ConcatHead
        >>> head = ConcatHead(sizes=[4, 8], num_classes=3)
        >>> head(1, torch.randn(5, 8)).shape  # the unimodal logits of modality 1
        torch.Size([5, 3])
        >>> rows = torch.arange(5)
        >>> head.joint({0: torch.randn(5, 4), 1: torch.randn(5, 8)}, {0: rows, 1: rows}, size=5).shape
        torch.Size([5, 3])
    """

    needs_equal_sizes: ClassVar[bool] = False
    is_joint: ClassVar[bool] = False
    joint_only: ClassVar[bool] = False

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.sizes, self.num_classes = tuple(sizes), num_classes

    def forward(self, i: int, features: Tensor) -> Tensor:
        """Return the unimodal logits [n, C] from features [n, sizes[i]]."""
        raise NotImplementedError

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        """Return the joint logits [size, C]; a modality that a sample lacks counts as zero features."""
        raise NotImplementedError(f"{type(self).__name__} gives unimodal logits only")


def sum_at_rows(parts: dict[int, Tensor], rows: dict[int, Tensor], size: int, width: int) -> Tensor:
    """Add the values [n_m, width] of all modalities at their rows; return [size, width].

    Example:
        >>> parts = {0: torch.tensor([[1.0], [2.0]]), 1: torch.tensor([[5.0]])}
        >>> sum_at_rows(parts, {0: torch.tensor([0, 1]), 1: torch.tensor([1])}, size=3, width=1).tolist()
        [[1.0], [7.0], [0.0]]
    """
    dtype, device = _common(parts)
    total = torch.zeros(size, width, dtype=dtype, device=device)
    for i, part in parts.items():
        total = total.index_add(0, rows[i], part.to(dtype))
    return total


def concat_at_rows(
    features: dict[int, Tensor], rows: dict[int, Tensor], size: int, sizes: Sequence[int]
) -> Tensor:
    """Concatenate features [n_m, sizes[m]] at their rows to [size, sum of sizes], zeros where absent.

    Example:
        >>> features = {0: torch.tensor([[1.0], [2.0]]), 1: torch.tensor([[5.0]])}
        >>> rows = {0: torch.tensor([0, 1]), 1: torch.tensor([1])}
        >>> concat_at_rows(features, rows, size=2, sizes=[1, 1]).tolist()
        [[1.0, 0.0], [2.0, 5.0]]
    """
    dtype, device = _common(features)
    columns = [torch.zeros(size, d, dtype=dtype, device=device) for d in sizes]
    for i, f in features.items():
        columns[i] = columns[i].index_copy(0, rows[i], f.to(dtype))
    return torch.cat(columns, dim=1)


def _common(parts: dict[int, Tensor]) -> tuple[torch.dtype, torch.device]:
    """Return a common dtype: under autocast, one encoder may return bf16 and another float32."""
    some = [*parts.values()]
    return reduce(torch.promote_types, (part.dtype for part in some)), some[0].device
