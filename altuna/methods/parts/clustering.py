"""K-means clusters of features, and how well they agree with classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def scaled(features: Tensor) -> Tensor:
    """Return features [n, d] with every column's range stretched to [-1, 1] (0 where it is constant)."""
    low, high = features.amin(0), features.amax(0)
    return torch.where(high > low, 2 * (features - low) / (high - low).clamp_min(1e-30) - 1, 0)


def clusters(points: Tensor, number: int, *, starts: int = 10, steps: int = 100) -> Tensor:
    """Return the k-means cluster [n] of points [n, d]: the closest fit of several k-means++ starts."""
    best, fit = torch.zeros(len(points), dtype=torch.long, device=points.device), torch.inf
    for _ in range(starts):
        centres = points[torch.randint(len(points), (1,), device=points.device)]
        for _ in range(1, number):
            far = torch.cdist(points, centres).amin(1).square() + 1e-12
            centres = torch.cat([centres, points[torch.multinomial(far, 1)]])
        for _ in range(steps):
            distance, nearest = torch.cdist(points, centres).min(1)
            members = one_hot(nearest, len(centres)).to(points)
            count = members.sum(0).unsqueeze(1)
            moved = torch.where(count > 0, members.T @ points / count.clamp_min(1), centres)
            if torch.equal(moved, centres):
                break
            centres = moved
        if (inertia := distance.square().sum().item()) < fit:
            best, fit = nearest, inertia
    return best


def purity(cluster: Tensor, labels: Tensor) -> Tensor:
    """Return the share of rows whose label is the most frequent one of their cluster."""
    table = one_hot(cluster).float().T @ one_hot(labels).float()  # CUDA multiplies no matrices of integers
    return table.amax(1).sum() / len(labels)
