"""Classification heads: from each modality's features to its logits, and to joint logits if any."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from altuna.core.cascade import Cascade


class Head(nn.Module):
    """A head for M modalities.

    ``forward(i, features)`` gives the unimodal logits [n, C] of modality number ``i``.
    A head with ``is_joint`` also has ``joint(features, rows, size)``, the joint logits [B, C]. With
    ``is_expert`` too, they are one more opinion beside the unimodal ones, where all modalities are present.
    A head that is ``joint_only`` has no ``forward``: a modality's logits are the joint ones of samples that
    have nothing else.

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
    is_expert: ClassVar[bool] = False
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
    """One linear layer for all modalities: ``z_m = W h_m + b`` (MLA, arXiv 2311.10707, eq. 2)."""

    needs_equal_sizes = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sizes[0], num_classes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class SharedJointHead(SharedHead):
    """A shared linear layer, and beside it a small network on the concatenated features (``mla_joint``).

    ``z_m = W h_m + b``, ``z = V_2 relu(V_1 [h_1 .. h_M] + v_1) + v_2``. The hidden layer, as wide as a
    modality's features, lets the joint logits depend on combinations, which no sum of unimodal logits can.
    """

    is_joint = True
    is_expert = True

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.network = nn.Sequential(
            nn.Linear(sum(sizes), sizes[0]), nn.ReLU(), nn.Linear(sizes[0], num_classes)
        )

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits: Tensor = self.network(_side_by_side(features, rows, size, self.sizes))
        return logits


class SeparateHeads(Head):
    """A linear layer per modality: ``z_m = W_m h_m + b_m``."""

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:
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

    def forward(self, i: int, features: Tensor) -> Tensor:
        weight = torch.split(self.linear.weight, list(self.sizes), dim=1)[i]
        return nn.functional.linear(features, weight, self.linear.bias / len(self.sizes))

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits: Tensor = self.linear(_side_by_side(features, rows, size, self.sizes))
        return logits


class MultitaskHead(ConcatHead):
    """A linear layer on the concatenated features, and beside it one a modality, for unimodal losses.

    ``z = W [h_1 .. h_M] + b``, ``z_m = W_m h_m + b_m`` with parameters of their own.
    """

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linears = nn.ModuleList(nn.Linear(size, num_classes) for size in sizes)

    def forward(self, i: int, features: Tensor) -> Tensor:
        logits: Tensor = self.linears[i](features)
        return logits


class SumHead(SeparateHeads):
    """The sum of the modalities' own logits: ``z = sum_m (W_m h_m + b_m)`` over those that are present."""

    is_joint = True

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        return _total({i: self(i, f) for i, f in features.items()}, rows, size, self.num_classes)


class ConfidenceHead(SumHead):
    """A sum weighted by each modality's confidence: ``z = sum_m sg(c_m) z_m``, ``c_m = logsumexp(z_m) / 10``.

    The energy of its logits as a modality's quality (QMF, Zhang et al., 2023, arXiv 2306.02050).
    """

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        logits = {i: self(i, f) for i, f in features.items()}
        # Not by logsumexp, which looks at how many rows there are: a graph cannot.
        energies = {i: (z - z.log_softmax(1)).detach()[:, :1] for i, z in logits.items()}
        weighed = {i: energies[i] / 10 * z for i, z in logits.items()}
        return _total(weighed, rows, size, self.num_classes)


class CosineHead(SumHead):
    """Scaled cosines to the classes' weights: ``z = s sum_m cos(h_m, W_m)`` (MMCosine, arXiv 2303.05338)."""

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
    """A head in which each modality conditions the sum of the others; their mean is classified."""

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
        """Return [n, d] of modality i's features [n, d] and the sum of the others' [n, d]."""
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
    """Gates: ``sigmoid(U_m h_m) * V_m h_others`` (Kiela et al., 2018, arXiv 1802.02892)."""

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.gates = nn.ModuleList(nn.Linear(size, size) for size in sizes)
        self.values = nn.ModuleList(nn.Linear(size, size) for size in sizes)

    def _condition(self, i: int, features: Tensor, others: Tensor) -> Tensor:
        gated: Tensor = self.gates[i](features).sigmoid() * self.values[i](others)
        return gated


class Imagined(NamedTuple):
    """What is given of B samples, and what a cascade makes of it, with d features of all modalities together.

    ``given`` [B, d], zeros where absent; ``has`` [B, d] bool; ``features`` [B, d], imagined ones;
    ``latents`` [B, latent_size].
    """

    given: Tensor
    has: Tensor
    features: Tensor
    latents: Tensor


class CascadeHead(Head):
    """A head that imagines absent features from those present, by a cascade of autoencoders."""

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
        """Return all features side by side [size, d], and which of them [size, d] there are."""
        ones = {i: torch.ones_like(f) for i, f in features.items()}
        has = _side_by_side(ones, rows, size, self.sizes).bool()
        return _side_by_side(features, rows, size, self.sizes), has

    def imagine(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Imagined:
        """Return what the cascade makes of features [n_m, d_m] at rows [n_m]."""
        given, has = self.side_by_side(features, rows, size)
        return Imagined(given, has, *self.cascade(given))

    def classify(self, view: Imagined) -> Tensor:
        """Return the joint logits [B, C]."""
        raise NotImplementedError


class CRAHead(CascadeHead):
    """A linear layer on the features, completed by three autoencoders (CRA, Tran et al., CVPR 2017)."""

    blocks = 3

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(sum(sizes), num_classes)

    def classify(self, view: Imagined) -> Tensor:
        logits: Tensor = self.linear(torch.where(view.has, view.given, view.features))
        return logits


class MMINHead(CascadeHead):
    """A linear layer on the latent vectors of five autoencoders (MMIN, Zhao et al., ACL 2021)."""

    blocks = 5

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__(sizes, num_classes)
        self.linear = nn.Linear(self.cascade.latent_size, num_classes)

    def classify(self, view: Imagined) -> Tensor:
        logits: Tensor = self.linear(view.latents)
        return logits


def _total(parts: dict[int, Tensor], rows: dict[int, Tensor], size: int, width: int) -> Tensor:
    """Add what modalities have [n_m, width] at their rows of [size, width]."""
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
    """Return a type for all of them: under autocast one encoder may end in bf16 and another in float32."""
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
    "shared_joint": SharedJointHead,
    "cra": CRAHead,
    "mmin": MMINHead,
}
