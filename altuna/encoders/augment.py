"""Batched random transforms, on the device, in training mode only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class RandomAffine(nn.Module):
    """Rotate, scale, shift and perhaps mirror each picture [n, C, H, W] (float) by its own random draw.

    Args:
        degrees: Rotation is uniform in +-degrees.
        scale: Zoom is log-uniform in [1 / (1 + scale), 1 + scale].
        shift: Translation is uniform in +-shift, in shares of the side.
        flip: Mirror left-right with probability one half.
    """

    def __init__(
        self, degrees: float = 10, scale: float = 0.2, shift: float = 0.1, flip: bool = False
    ) -> None:
        super().__init__()
        self.degrees, self.scale, self.shift, self.flip = degrees, scale, shift, flip

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        if not self.training:
            return images
        n = len(images)
        angle, zoom, dx, dy = (2 * torch.rand(4, n, device=images.device) - 1).unbind()
        angle = angle * math.radians(self.degrees)
        zoom = torch.exp(zoom * math.log1p(self.scale))
        mirror = torch.ones_like(zoom)
        if self.flip:
            mirror = torch.where(torch.rand(n, device=images.device) < 0.5, -1.0, 1.0)
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        theta = torch.stack(
            [cos * mirror, -sin, 2 * self.shift * dx, sin * mirror, cos, 2 * self.shift * dy], dim=1
        ).view(n, 2, 3)
        grid = functional.affine_grid(theta.to(images), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


class SpecAugment(nn.Module):
    """Silence one random band and one random stretch of each spectrogram [n, 1, F, T] (arXiv 1904.08779).

    Args:
        frequency: Widest band, as a share of F.
        time: Longest stretch, as a share of T.
    """

    def __init__(self, frequency: float = 0.2, time: float = 0.2) -> None:
        super().__init__()
        self.shares = (frequency, time)

    def forward(self, spectrogram: Tensor) -> Tensor:  # noqa: D102
        if not self.training:
            return spectrogram
        keep = torch.ones_like(spectrogram, dtype=torch.bool)
        for axis, share in zip((2, 3), self.shares, strict=True):
            n, size = len(spectrogram), spectrogram.shape[axis]
            width, start = torch.rand(2, n, 1, device=spectrogram.device) * share * size
            start = start / max(share, 1e-9) * (1 - width / size)
            at = torch.arange(size, device=spectrogram.device)
            hidden = (at >= start) & (at < start + width)
            keep &= ~(hidden.view(n, 1, -1, 1) if axis == 2 else hidden.view(n, 1, 1, -1))
        return torch.where(keep, spectrogram, spectrogram.amin(dim=(1, 2, 3), keepdim=True))


class GaussianNoise(nn.Module):
    """Add normal noise of standard deviation ``std``."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + self.std * torch.randn_like(x) if self.training and self.std else x
