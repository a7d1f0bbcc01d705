"""K-means clustering of features, and the purity of clusters by class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def scaled(features: Tensor) -> Tensor:
    """Return features [n, d] with every column rescaled to the range [-1, 1] (0 where it is constant).

    Example:
        >>> scaled(torch.tensor([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0]]))
        tensor([[-1.0000,  0.0000],
                [-0.5000,  0.0000],
                [ 1.0000,  0.0000]])
    """
    low, high = features.amin(0), features.amax(0)
    return torch.where(high > low, 2 * (features - low) / (high - low).clamp_min(1e-30) - 1, 0)


def clusters(points: Tensor, number: int, *, starts: int = 10, steps: int = 100) -> Tensor:
    """Return the k-means cluster [n] of each point [n, d].

    Of ``starts`` k-means++ initialisations, the result with the lowest sum of squared distances is
    returned.

    Args:
        points: The points [n, d].
        number: Number of clusters.
        starts: Number of random initialisations.
        steps: Maximum number of iterations of each.

    Example:
        >>> points = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> found = clusters(points, number=2)
        >>> bool(found[0] == found[1]), bool(found[2] == found[3]), bool(found[0] == found[2])
        (True, True, False)
    """
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
    """Return the fraction of rows whose label is the most frequent one of their cluster (a scalar).

    Example:
        >>> purity(torch.tensor([0, 0, 0, 1]), torch.tensor([1, 1, 0, 0]))
        tensor(0.7500)
    """
    table = one_hot(cluster).float().T @ one_hot(labels).float()  # CUDA multiplies no matrices of integers
    return table.amax(1).sum() / len(labels)
