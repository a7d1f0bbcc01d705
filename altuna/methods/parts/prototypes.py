"""Class prototypes of one modality, for classification by the nearest prototype."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Prototypes(nn.Module):
    """The prototypes [C, d] of one modality: the mean features of each class, updated after every epoch.

    Source: PMR (arXiv 2211.07089).

    Args:
        num_classes: Number of classes, C.
        size: Number of features, d.

    Example:
        >>> prototypes = Prototypes(num_classes=2, size=1)
        >>> prototypes.add(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> prototypes.renew(momentum=0.0)
        >>> prototypes.centres
        tensor([[2.],
                [5.]])
    """

    centres: Tensor
    known: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(num_classes, size))
        self.register_buffer("known", torch.zeros(num_classes, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(num_classes, size))
        self.register_buffer("counts", torch.zeros(num_classes))

    def similarity(self, features: Tensor) -> Tensor:
        """Return the negative distances [n, C] of features [n, d] to the prototypes (-1e4 without one)."""
        exact = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(features.to(self.centres), self.centres, compute_mode=exact)
        return -distance.masked_fill(~self.known, 1e4)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add features [n, d] with labels [n] to the sums for the next prototypes."""
        self.sums.index_add_(0, labels, features.detach().to(self.sums))
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=self.counts.dtype))

    def renew(self, momentum: float) -> None:
        """Move the prototypes towards the means of the added features, and reset the sums."""
        met = self.counts > 0
        mean = self.sums / self.counts.clamp_min(1).unsqueeze(1)
        kept = torch.where(self.known, momentum, 0.0).unsqueeze(1)
        self.centres.copy_(
            torch.where(met.unsqueeze(1), kept * self.centres + (1 - kept) * mean, self.centres)
        )
        self.known |= met
        self.sums.zero_()
        self.counts.zero_()
