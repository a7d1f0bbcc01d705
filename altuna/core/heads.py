"""Classification heads: from each modality's features to its logits, and to joint logits if any."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from altuna.core.cascade import Cascade


class Head(nn.Module):
    """Base of the heads for M modalities; modalities are addressed by number.

    ``forward(i, features)`` returns the unimodal logits [n, C] of modality i. A head with ``is_joint`` also
    has ``joint(features, rows, size)``, which returns the joint logits [B, C]. A head with ``joint_only`` has
    no ``forward``: the logits of a modality are the joint logits of samples that have only this modality.

    Example:
        >>> head = HEADS["concat"](sizes=[4, 8], num_classes=3)
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
        logits: Tensor = self.linear(_side_by_side(features, rows, size, self.sizes))
        return logits


class MultitaskHead(ConcatHead):
    """A linear layer on the concatenated features, and one linear layer per modality for unimodal losses.

    ``z = W [h_1 .. h_M] + b`` and ``z_m = W_m h_m + b_m``, with separate parameters.
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
        return _total({i: self(i, f) for i, f in features.items()}, rows, size, self.num_classes)


class ConfidenceHead(SumHead):
    """A sum weighted by confidence: ``z = sum_m sg(c_m) z_m`` with ``c_m = logsumexp(z_m) / 10``.

    The confidence is the energy score of a modality's logits (QMF, Zhang et al., 2023, arXiv 2306.02050);
    sg stops the gradient.
    """

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits = {i: self(i, f) for i, f in features.items()}
        # Not by logsumexp, which looks at how many rows there are: a graph cannot.
        energies = {i: (z - z.log_softmax(1)).detach()[:, :1] for i, z in logits.items()}
        weighed = {i: energies[i] / 10 * z for i, z in logits.items()}
        return _total(weighed, rows, size, self.num_classes)


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


class ConditionedHead(Head):
    """Base of heads in which each modality conditions the sum of the others' features.

    The mean of the conditioned features is classified by a linear layer.
    """

    needs_equal_sizes = True
    is_joint = True
    joint_only = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sizes[0], num_classes)

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        d = self.sizes[0]
        total = _total(features, rows, size, d)
        parts = {i: self._condition(i, f, total[rows[i]] - f) for i, f in features.items()}
        logits: Tensor = self.linear(_total(parts, rows, size, d) / len(self.sizes))
        return logits

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        """Return features [n, d] from those of modality i [n, d] and the sum of the others [n, d]."""
        raise NotImplementedError


class FiLMHead(ConditionedHead):
    """Modulated features: ``gamma(h_m) * h_others + beta(h_m)`` (Perez et al., 2018, arXiv 1709.07871)."""

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.films = nn.ModuleList(nn.Linear(size, 2 * size) for size in sizes)

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        gamma, beta = self.films[i](features).chunk(2, dim=1)
        modulated: Tensor = gamma * others + beta
        return modulated


class GatedHead(ConditionedHead):
    """Gated features: ``sigmoid(U_m h_m) * V_m h_others`` (Kiela et al., 2018, arXiv 1802.02892)."""

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.gates = nn.ModuleList(nn.Linear(size, size) for size in sizes)
        self.values = nn.ModuleList(nn.Linear(size, size) for size in sizes)

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        gated: Tensor = self.gates[i](features).sigmoid() * self.values[i](others)
        return gated


class Imagined(NamedTuple):
    """The input and output of a cascade for B samples; d is the size of all features together.

    ``given`` [B, d] are the present features (zeros where absent), ``has`` [B, d] bool marks them,
    ``features`` [B, d] are the reconstructed features and ``latents`` [B, latent_size] the latent vectors.
    """

    given: Tensor
    has: Tensor
    features: Tensor
    latents: Tensor


class CascadeHead(Head):
    """Base of heads that reconstruct absent features from present ones by a cascade of autoencoders."""

    is_joint = True
    joint_only = True
    blocks: ClassVar[int]

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.cascade = Cascade(sum(sizes), self.blocks)

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        return self.classify(self.imagine(features, rows, size))

    def side_by_side(
        self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int
    ) -> tuple[Tensor, Tensor]:
        """Return the concatenated features [size, d] and a mask [size, d] of those that are present."""
        ones = {i: torch.ones_like(f) for i, f in features.items()}
        has = _side_by_side(ones, rows, size, self.sizes).bool()
        return _side_by_side(features, rows, size, self.sizes), has

    def imagine(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Imagined:
        """Return the result of the cascade for features [n_m, d_m] at rows [n_m]."""
        given, has = self.side_by_side(features, rows, size)
        return Imagined(given, has, *self.cascade(given))

    def classify(self, view: Imagined) -> Tensor:
        """Return the joint logits [B, C]."""
        raise NotImplementedError


class CRAHead(CascadeHead):
    """A linear layer on features that three autoencoders complete (CRA, Tran et al., CVPR 2017).

    Example:
        >>> head = CRAHead(sizes=[4, 8], num_classes=3)
        >>> head.joint({0: torch.randn(5, 4)}, {0: torch.arange(5)}, size=5).shape  # only modality 0
        torch.Size([5, 3])
    """

    blocks = 3

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sum(sizes), num_classes)

    def classify(self, view: Imagined) -> Tensor:
        logits: Tensor = self.linear(torch.where(view.has, view.given, view.features))
        return logits


class MMINHead(CascadeHead):
    """A linear layer on the latent vectors of five autoencoders (MMIN, Zhao et al., ACL 2021).

    Example:
        >>> head = MMINHead(sizes=[4, 8], num_classes=3)
        >>> head.joint({0: torch.randn(5, 4)}, {0: torch.arange(5)}, size=5).shape
        torch.Size([5, 3])
    """

    blocks = 5

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(self.cascade.latent_size, num_classes)

    def classify(self, view: Imagined) -> Tensor:
        logits: Tensor = self.linear(view.latents)
        return logits


class JointExpert(nn.Module):
    """A small network on the concatenated features of all modalities, beside a head with unimodal logits.

    ``z = V_2 relu(V_1 [h_1 .. h_M] + v_1) + v_2`` with as many hidden units as the largest modality has
    features. z can depend on combinations of modalities, which no sum of unimodal logits can.

    Example:
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
        logits: Tensor = self.network(_side_by_side(features, rows, size, self.sizes))
        return logits


def _total(parts: dict[int, Tensor], rows: dict[int, Tensor], size: int, width: int) -> Tensor:
    """Add the values [n_m, width] of all modalities at their rows; return [size, width]."""
    dtype, device = _common(parts)
    total = torch.zeros(size, width, dtype=dtype, device=device)
    for i, part in parts.items():
        total = total.index_add(0, rows[i], part.to(dtype))
    return total


def _side_by_side(
    features: dict[int, Tensor], rows: dict[int, Tensor], size: int, sizes: Sequence[int]
) -> Tensor:
    """Concatenate features [n_m, sizes[m]] at their rows to [size, sum of sizes], zeros where absent."""
    dtype, device = _common(features)
    columns = [torch.zeros(size, d, dtype=dtype, device=device) for d in sizes]
    for i, f in features.items():
        columns[i] = columns[i].index_copy(0, rows[i], f.to(dtype))
    return torch.cat(columns, dim=1)


def _common(parts: dict[int, Tensor]) -> tuple[torch.dtype, torch.device]:
    """Return a common dtype: under autocast, one encoder may return bf16 and another float32."""
    some = [*parts.values()]
    return reduce(torch.promote_types, (part.dtype for part in some)), some[0].device


HEADS: dict[str, type[Head]] = {
    "shared": SharedHead,
    "separate": SeparateHeads,
    "concat": ConcatHead,
    "multitask": MultitaskHead,
    "sum": SumHead,
    "confidence": ConfidenceHead,
    "cosine": CosineHead,
    "film": FiLMHead,
    "gated": GatedHead,
    "cra": CRAHead,
    "mmin": MMINHead,
}
