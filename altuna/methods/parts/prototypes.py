"""Class prototypes of one modality: what a classifier without parameters compares features with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Prototypes(nn.Module):
    """The mean features of each class of one modality, renewed after every epoch.

    Args:
        num_classes: C.
        size: Of the features, d.
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
        """Return the negative distances [n, C] of features [n, d] to prototypes; unknown ones are far off."""
        exact = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(features.to(self.centres), self.centres, compute_mode=exact)
        return -distance.masked_fill(~self.known, 1e4)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Count features [n, d] of labels [n] towards the next prototypes."""
        self.sums.index_add_(0, labels, features.detach().to(self.sums))
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=self.counts.dtype))

    def renew(self, momentum: float) -> None:
        """Move the prototypes to the means of what was counted, and count afresh."""
        met = self.counts > 0
        mean = self.sums / self.counts.clamp_min(1).unsqueeze(1)
        kept = torch.where(self.known, momentum, 0.0).unsqueeze(1)
        self.centres.copy_(
            torch.where(met.unsqueeze(1), kept * self.centres + (1 - kept) * mean, self.centres)
        )
        self.known |= met
        self.sums.zero_()
        self.counts.zero_()
