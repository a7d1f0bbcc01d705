"""The joint expert, which stands beside a head with unimodal logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from altuna.core.heads.base import concat_at_rows


class JointExpert(nn.Module):
    """A small network on the concatenated features of all modalities, beside a head with unimodal logits.

    ``z = V_2 relu(V_1 [h_1 .. h_M] + v_1) + v_2`` with as many hidden units as the largest modality has
    features. z can depend on combinations of modalities, which no sum of unimodal logits can.

    Example:
        >>> import torch
        >>> expert, rows = JointExpert(sizes=[4, 8], num_classes=3), torch.arange(5)
        >>> expert({0: torch.randn(5, 4), 1: torch.randn(5, 8)}, {0: rows, 1: rows}, size=5).shape
        torch.Size([5, 3])
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.sizes, hidden = tuple(sizes), max(sizes)
        self.network = nn.Sequential(nn.Linear(sum(sizes), hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        """Return logits [size, C]; a modality that a sample lacks counts as zero features."""
        logits: Tensor = self.network(concat_at_rows(features, rows, size, self.sizes))
        return logits
