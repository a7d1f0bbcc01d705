"""Histograms of gradients and of colours: a branch of fixed features beside a network of small pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL, ANGLES, COLOURS, REGIONS = 8, 9, 4, 6


class HOG(nn.Module):
    r"""Describe pictures 0..1 [n, 3, H, W] by a vector [n, size] without trained weights.

    - Histograms of oriented gradients (Dalal, Triggs, CVPR 2005): over cells of 8 x 8 pixels of the picture's
      square root, for 9 directions k, of the colour channel with the largest gradient g at each pixel; blocks
      of 2 x 2 cells are normalised, clipped at 0.2 and normalised again.
    - The square roots of a histogram of 4 x 4 x 4 colours, and the mean and standard deviation of each colour
      in 6 x 6 regions.

    Deviation from the paper: a gradient counts for each direction by a power of a cosine, about as wide as a
    bin, where the paper interpolates between the two nearest ones. An export needs no arc tangent then.

    .. math:: v_k = \|g\| \cos^{16}(\angle g - \pi k / 9)

    Args:
        height, width: Sides of the pictures, at least 16.

    Example:
        >>> hog = HOG(16, 16)
        >>> hog.size, hog(torch.rand(2, 3, 16, 16)).shape
        (484, torch.Size([2, 484]))
    """

    cos: Tensor
    sin: Tensor
    levels: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        if min(height, width) < 2 * CELL:
            raise ValueError(f"hog needs pictures of at least {2 * CELL} pixels, got {height} x {width}")
        angle = (torch.arange(ANGLES) * math.pi / ANGLES).view(1, -1, 1, 1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.register_buffer("levels", torch.linspace(0, 1, COLOURS).view(1, 1, -1, 1), persistent=False)
        self.region = height // REGIONS, width // REGIONS
        down, right = (side // step for side, step in zip((height, width), self.region, strict=True))
        blocks = (height // CELL - 1) * (width // CELL - 1)
        self.size = 4 * ANGLES * blocks + COLOURS**3 + 6 * down * right

    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(0, 1)
        return torch.cat([self._gradients(x.sqrt()), self._colours(x)], 1)

    def _gradients(self, x: Tensor) -> Tensor:
        """Return the normalised blocks of histograms, [n, blocks * 36]."""
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        dx = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        dy = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        energy, channel = (dx * dx + dy * dy).max(1, keepdim=True)
        energy = energy + 1e-6
        squared_cosine = (
            dx.gather(1, channel) * self.cos + dy.gather(1, channel) * self.sin
        ).square() / energy
        votes = squared_cosine.square().square().square() * energy.sqrt()
        cells = functional.avg_pool2d(votes, CELL)
        rows = cells[:, :, :-1], cells[:, :, 1:]
        block = torch.cat([part[..., s] for part in rows for s in (slice(None, -1), slice(1, None))], 1)
        block = block * (block.square().sum(1, keepdim=True) + 1e-4).rsqrt()
        block = block.clamp_max(0.2)
        return (block * (block.square().sum(1, keepdim=True) + 1e-6).rsqrt()).flatten(1)

    def _colours(self, x: Tensor) -> Tensor:
        """Return the histogram of colours, and their means and standard deviations by region."""
        share = (1 - (x.flatten(2).unsqueeze(2) - self.levels).abs() * (COLOURS - 1)).clamp_min(0)
        red, green, blue = share.unbind(1)  # [n, COLOURS, H * W] each
        pairs = (red.unsqueeze(2) * green.unsqueeze(1)).flatten(1, 2)
        histogram = (pairs @ blue.transpose(1, 2)).flatten(1) / pairs.shape[-1]
        mean = functional.avg_pool2d(x, self.region)
        variance = functional.avg_pool2d(x.square(), self.region) - mean.square()
        parts = (histogram + 1e-8).sqrt(), mean, (variance.clamp_min(0) + 1e-8).sqrt()
        return torch.cat([part.flatten(1) for part in parts], 1)


class HOGBranch(nn.Module):
    """Encode standardised pictures [n, 3, H, W] by ``HOG`` and a layer to [n, out_features].

    Args:
        mean, std: Of each channel, as fractions of 1, by which the pictures are standardised.
        height, width: Sides of the pictures.
        out_features: Feature size.
        dropout: Dropout before and after the layer.

    Example:
        >>> branch = HOGBranch(torch.zeros(3), torch.ones(3), 16, 16, out_features=8)
        >>> branch(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Tensor, std: Tensor, height: int, width: int, *, out_features: int, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1).clone(), persistent=False)
        self.register_buffer("std", std.view(1, -1, 1, 1).clone(), persistent=False)
        self.hog = HOG(height, width)
        self.norm = nn.BatchNorm1d(self.hog.size, affine=False)
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.hog.size, out_features), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            fixed = self.hog(x * self.std + self.mean)
        if self.training and len(fixed) > 1:  # a single row has no variance
            standard: Tensor = self.norm(fixed)
        else:
            mean, variance = self.norm.running_mean, self.norm.running_var
            standard = functional.batch_norm(fixed, mean, variance, eps=self.norm.eps)
        features: Tensor = self.layers(standard.clamp(-5, 5))
        return features
