"""Heads that reconstruct the features of absent cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from altuna.core.cascade import Cascade
from altuna.core.heads.base import Head, concat_at_rows


class Imagined(NamedTuple):
    """The input and output of a cascade for B samples; d is the size of all features together.

    ``given`` [B, d] are the present features (zeros where absent), ``has`` [B, d] bool marks them,
    ``features`` [B, d] are the reconstructed features and ``latents`` [B, latent_size] the latent vectors.

    Example:
        >>> head = CRAHead(sizes=[4, 8], num_classes=3)
        >>> view = head.imagine({0: torch.randn(5, 4)}, {0: torch.arange(5)}, size=5)  # only modality 0
        >>> view.features.shape, view.has.sum(1).tolist()
        (torch.Size([5, 12]), [4, 4, 4, 4, 4])
    """

    given: Tensor
    has: Tensor
    features: Tensor
    latents: Tensor


class CascadeHead(Head):
    """Base of heads that reconstruct absent features from present ones by a cascade of autoencoders.

    Example:
        >>> class MeanHead(CascadeHead):
        ...     blocks = 2
        ...
        ...     def classify(self, view):
        ...         return view.features.view(len(view.features), self.num_classes, -1).mean(2)
        >>> head = MeanHead(sizes=[4, 8], num_classes=3)
        >>> head.joint({0: torch.randn(5, 4)}, {0: torch.arange(5)}, size=5).shape
        torch.Size([5, 3])
    """

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
        has = concat_at_rows(ones, rows, size, self.sizes).bool()
        return concat_at_rows(features, rows, size, self.sizes), has

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
