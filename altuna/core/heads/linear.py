"""Linear heads: one layer for all modalities, one per modality, or one on their features together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from altuna.core.heads.base import Head, concat_at_rows, sum_at_rows


class SharedHead(Head):
    """One linear layer for all modalities: ``z_m = W h_m + b`` (MLA, arXiv 2311.10707, eq. 2).

    Example:
        >>> head = SharedHead(sizes=[4, 4], num_classes=3)
        >>> features = torch.randn(5, 4)
        >>> bool((head(0, features) == head(1, features)).all())
        True
    """

    needs_equal_sizes = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sizes[0], num_classes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class SeparateHeads(Head):
    """One linear layer per modality: ``z_m = W_m h_m + b_m``.

    Example:
        >>> head = SeparateHeads(sizes=[4, 8], num_classes=3)
        >>> head(0, torch.randn(5, 4)).shape, head(1, torch.randn(5, 8)).shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        logits: Tensor = self.linears[i](features)
        return logits


class ConcatHead(Head):
    """One linear layer on the concatenated features: ``z = W [h_1 .. h_M] + b``.

    The unimodal logits use the modality's columns of W and ``b / M``, so they sum to the joint logits.

    Example:
        >>> head, rows = ConcatHead(sizes=[4, 8], num_classes=3), torch.arange(5)
        >>> features = {0: torch.randn(5, 4), 1: torch.randn(5, 8)}
        >>> joint = head.joint(features, {0: rows, 1: rows}, size=5)
        >>> torch.allclose(joint, head(0, features[0]) + head(1, features[1]), atol=1e-5)
        True
    """

    is_joint = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sum(sizes), num_classes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        weight = torch.split(self.linear.weight, list(self.sizes), dim=1)[i]
        return nn.functional.linear(features, weight, self.linear.bias / len(self.sizes))

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits: Tensor = self.linear(concat_at_rows(features, rows, size, self.sizes))
        return logits


class MultitaskHead(ConcatHead):
    """A linear layer on the concatenated features, and one linear layer per modality for unimodal losses.

    ``z = W [h_1 .. h_M] + b`` and ``z_m = W_m h_m + b_m``, with separate parameters.

    Example:
        >>> head, rows = MultitaskHead(sizes=[4, 8], num_classes=3), torch.arange(5)
        >>> head(1, torch.randn(5, 8)).shape  # for a loss of modality 1 alone, by its own layer
        torch.Size([5, 3])
        >>> head.joint({0: torch.randn(5, 4), 1: torch.randn(5, 8)}, {0: rows, 1: rows}, size=5).shape
        torch.Size([5, 3])
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        logits: Tensor = self.linears[i](features)
        return logits


class SumHead(SeparateHeads):
    """The sum of the unimodal logits of the modalities that are present: ``z = sum_m (W_m h_m + b_m)``.

    Example:
        >>> head = SumHead(sizes=[4, 8], num_classes=3)
        >>> head.joint({1: torch.randn(2, 8)}, {1: torch.tensor([0, 2])}, size=3).shape  # only modality 1
        torch.Size([3, 3])
    """

    is_joint = True

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        return sum_at_rows({i: self(i, f) for i, f in features.items()}, rows, size, self.num_classes)


class ConfidenceHead(SumHead):
    """A sum weighted by confidence: ``z = sum_m sg(c_m) z_m`` with ``c_m = logsumexp(z_m) / 10``.

    The confidence is the energy score of a modality's logits (QMF, Zhang et al., 2023, arXiv 2306.02050);
    sg stops the gradient.

    Example:
        >>> head, rows = ConfidenceHead(sizes=[4], num_classes=3), torch.arange(5)
        >>> features = torch.randn(5, 4)
        >>> logits = head(0, features)
        >>> weighted = logits.logsumexp(1, keepdim=True) / 10 * logits
        >>> torch.allclose(head.joint({0: features}, {0: rows}, size=5), weighted, atol=1e-5)
        True
    """

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits = {i: self(i, f) for i, f in features.items()}
        # Not by logsumexp, which looks at how many rows there are: a graph cannot.
        energies = {i: (z - z.log_softmax(1)).detach()[:, :1] for i, z in logits.items()}
        weighed = {i: energies[i] / 10 * z for i, z in logits.items()}
        return sum_at_rows(weighed, rows, size, self.num_classes)


class CosineHead(SumHead):
    """Scaled cosine similarities: ``z = s sum_m cos(h_m, W_m)``, s = 10 (MMCosine, arXiv 2303.05338).

    Example:
        >>> head = CosineHead(sizes=[4], num_classes=3)
        >>> features = torch.randn(5, 4)
        >>> torch.allclose(head(0, features), head(0, 2 * features), atol=1e-5)  # the norm does not matter
        True
    """

    scale = 10.0

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes, bias=False) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        weight = self.linears[i].weight
        assert isinstance(weight, Tensor)
        cosine = nn.functional.normalize(features, dim=1) @ nn.functional.normalize(weight, dim=1).T
        return self.scale * cosine
