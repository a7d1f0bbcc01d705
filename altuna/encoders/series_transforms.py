"""Random transforms of batches of series, on the device, in training mode only."""

from __future__ import annotations

import torch
from torch import Tensor

from altuna.encoders.base import Transform
from altuna.encoders.transforms import _check, _uniform


class SeriesNoise(Transform):
    """Add normal noise to the steps of standardised series [n, C + 1, L], not to their padding.

    Args:
        std: Standard deviation of the noise.

    Example:
        >>> series = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]])  # the last channel is the mask
        >>> changed = SeriesNoise(std=0.1)(series)
        >>> (changed[0] != series[0]).tolist()
        [[True, True, False], [False, False, False]]
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std = _check("std", std, 0, 1e6)

    def change(self, x: Tensor) -> Tensor:
        values, mask = x[:, :-1], x[:, -1:]
        return torch.cat([values + self.std * torch.randn_like(values) * mask, mask], 1)


class SeriesScaling(Transform):
    """Multiply each channel of standardised series [n, C + 1, L] by a random factor.

    Args:
        strength: Each factor is uniform in [1 - strength, 1 + strength].

    Example:
        >>> series = torch.ones(1, 3, 2)
        >>> SeriesScaling(strength=0.0)(series).equal(series)
        True
    """

    def __init__(self, strength: float = 0.2) -> None:
        super().__init__()
        self.strength = _check("strength", strength, 0, 1)

    def change(self, x: Tensor) -> Tensor:
        values, mask = x[:, :-1], x[:, -1:]
        factors = _uniform(1 - self.strength, 1 + self.strength, *values.shape[:2], 1, like=x)
        return torch.cat([values * factors, mask], 1)


class SeriesCrop(Transform):
    """Keep a random contiguous part of each series [n, L, C], moved to its start; NaN is padding.

    Args:
        scale: Smallest fraction of the steps to keep; the fraction is uniform in [scale, 1].

    Example:
        >>> series = torch.arange(4.0).view(1, 4, 1)
        >>> kept = SeriesCrop(scale=0.5)(series)
        >>> bool((~kept.isnan()).sum() >= 2)
        True
    """

    stage = "cell"

    def __init__(self, scale: float = 0.8) -> None:
        super().__init__()
        self.scale = _check("scale", scale, 1e-3, 1)

    def change(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1], device=x.device)
        there = (~x.isnan()).any(-1)
        lengths = (there * (steps + 1)).amax(1, keepdim=True).clamp_min(1)
        share, start = torch.rand(2, len(x), 1, device=x.device)
        kept = (lengths * (self.scale + (1 - self.scale) * share)).ceil().clamp_min(1)
        first = (start * (lengths - kept + 1)).floor().long()
        moved = x.gather(1, (first + steps).clamp_max(x.shape[1] - 1).unsqueeze(-1).expand_as(x))
        return moved.masked_fill((steps >= kept).unsqueeze(-1), torch.nan)
