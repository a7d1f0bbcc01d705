"""Classification heads: from each modality's features to its logits, and to joint logits if any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """A head for M modalities.

    ``forward(i, features)`` gives the unimodal logits [n, C] of modality number ``i``.
    A head with ``is_joint`` also has ``joint(features, rows, size)``, the joint logits [B, C].
    """

    needs_equal_sizes: ClassVar[bool] = False
    is_joint: ClassVar[bool] = False

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.sizes, self.num_classes = tuple(sizes), num_classes

    def forward(self, i: int, features: Tensor) -> Tensor:
        """Return the unimodal logits [n, C] from features [n, sizes[i]]."""
        raise NotImplementedError

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        """Return the joint logits [size, C]; a modality that a sample lacks counts as zero features."""
        raise NotImplementedError(f"{type(self).__name__} gives unimodal logits only")


class SharedHead(Head):
    """One linear layer for all modalities: ``z_m = W h_m + b`` (MLA, arXiv 2311.10707, eq. 2)."""

    needs_equal_sizes = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sizes[0], num_classes)

    def forward(self, i: int, features: Tensor) -> Tensor:  # noqa: D102
        logits: Tensor = self.linear(features)
        return logits


class SeparateHeads(Head):
    """A linear layer per modality: ``z_m = W_m h_m + b_m``."""

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:  # noqa: D102
        logits: Tensor = self.linears[i](features)
        return logits


class ConcatHead(Head):
    """One linear layer on the concatenated features: ``z = W [h_1 .. h_M] + b``.

    A modality's own logits are its columns' share plus ``b / M``, so that they sum to the joint ones.
    """

    is_joint = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sum(sizes), num_classes)

    def forward(self, i: int, features: Tensor) -> Tensor:  # noqa: D102
        weight = torch.split(self.linear.weight, list(self.sizes), dim=1)[i]
        return nn.functional.linear(features, weight, self.linear.bias / len(self.sizes))

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:  # noqa: D102
        columns = [self.linear.weight.new_zeros(size, d) for d in self.sizes]
        for i, f in features.items():
            columns[i] = columns[i].to(f.dtype).index_copy(0, rows[i], f)
        logits: Tensor = self.linear(torch.cat(columns, dim=1))
        return logits


HEADS: dict[str, type[Head]] = {
    "shared": SharedHead,
    "separate": SeparateHeads,
    "concat": ConcatHead,
}
