"""Random transforms of batches, on the device, in training mode only."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from altuna.encoders.base import Transform


def _uniform(low: float, high: float, *shape: int, like: Tensor) -> Tensor:
    return low + (high - low) * torch.rand(*shape, device=like.device)


def _check(name: str, value: float, low: float, high: float = math.inf) -> float:
    if not low <= value <= high:
        upper = f" to {high:g}" if high < math.inf else " on"
        raise ValueError(f"{name} must be a number from {low:g}{upper}, got {value}")
    return value


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    """View values [n] so that they broadcast over [n, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))


class RandomResizedCrop(Transform):
    """Crop a random part of each picture or clip [n, ..., H, W, 3] (one part per clip), and resize it.

    The augmentation of Inception (Szegedy et al., 2015, arXiv 1409.4842). In eval mode, the whole picture is
    resized.

    Args:
        size: Side of the result; that of the stored pictures if None.
        scale: Smallest fraction of the area to crop; the fraction is uniform in [scale, 1].
        ratio: The aspect ratio of the crop is log-uniform in [1 / ratio, ratio], relative to the picture's.

    Example:
        >>> RandomResizedCrop(size=4)(torch.zeros(2, 8, 8, 3, dtype=torch.uint8)).shape
        torch.Size([2, 4, 4, 3])
    """

    stage = "cell"

    def __init__(self, size: int | None = None, scale: float = 0.25, ratio: float = 4 / 3) -> None:
        super().__init__()
        self.size = None if size is None else int(_check("size", size, 1, 1e4))
        self.scale, self.ratio = _check("scale", scale, 1e-3, 1), _check("ratio", ratio, 1, 100)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-3], *self._sides(shape), 3)

    def change(self, x: Tensor) -> Tensor:
        height, width = x.shape[-3:-1]
        # Drawn on the CPU, where the borders are needed: waiting for a device would take longer.
        area, stretch, top, left = torch.rand(4, len(x)).double()
        side = (self.scale + (1 - self.scale) * area).sqrt()
        stretch = ((2 * stretch - 1) * math.log(self.ratio) / 2).exp()
        h = (height * side * stretch).round().clamp(1, height)
        w = (width * side / stretch).round().clamp(1, width)
        top, left = (top * (height - h + 1)).floor(), (left * (width - w + 1)).floor()
        borders = torch.stack([top, top + h, left, left + w]).long().T.tolist()
        sides = self._sides(x.shape)
        parts = [_resize(one[..., t:b, a:z, :], sides) for one, (t, b, a, z) in zip(x, borders, strict=True)]
        return torch.stack(parts)

    def keep(self, x: Tensor) -> Tensor:
        return x if self.shape(x.shape) == x.shape else _resize(x, self._sides(x.shape))

    def _sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return (self.size or shape[-3], self.size or shape[-2])


def _resize(x: Tensor, sides: tuple[int, int]) -> Tensor:
    """Resize [..., h, w, 3]; on the CPU integers stay integers, which is several times faster."""
    channels_first = x.movedim(-1, -3).reshape(-1, 3, *x.shape[-3:-1])
    if x.device.type != "cpu":
        channels_first = channels_first.float()
    resized = functional.interpolate(channels_first, sides, mode="bilinear", antialias=True)
    return resized.movedim(-3, -1).reshape(*x.shape[:-3], *sides, 3)


class Flip(Transform):
    """Mirror each picture or clip [n, ..., H, W, 3] left-right with probability 0.5.

    Example:
        >>> flip = Flip().eval()
        >>> x = torch.arange(6).view(1, 1, 2, 3)
        >>> flip(x).equal(x)  # transforms act in training mode only
        True
    """

    stage = "cell"

    def change(self, x: Tensor) -> Tensor:
        mirrored = _per_sample(torch.rand(len(x), device=x.device) < 0.5, x)
        return torch.where(mirrored, x.flip(-2), x)


class ColorJitter(Transform):
    """Change brightness, contrast and saturation of each picture or clip [n, ..., H, W, 3] of 0..255.

    Args:
        brightness, contrast, saturation: Strength x; each factor is uniform in [1 - x, 1 + x].

    Example:
        >>> pictures = torch.full((2, 4, 4, 3), 255, dtype=torch.uint8)
        >>> changed = ColorJitter(brightness=0.5, contrast=0.0, saturation=0.0)(pictures)
        >>> bool(changed.min() >= 127), bool(changed.max() <= 255)
        (True, True)
    """

    stage = "cell"

    def __init__(self, brightness: float = 0.3, contrast: float = 0.3, saturation: float = 0.3) -> None:
        super().__init__()
        self.strengths = (
            _check("brightness", brightness, 0, 1),
            _check("contrast", contrast, 0, 1),
            _check("saturation", saturation, 0, 1),
        )

    def change(self, x: Tensor) -> Tensor:
        brightness, contrast, saturation = (
            _per_sample(_uniform(1 - strength, 1 + strength, len(x), like=x), x)
            for strength in self.strengths
        )
        x = x.float() * brightness
        grey = (x * x.new_tensor([0.299, 0.587, 0.114])).sum(-1)
        mean = _per_sample(grey.flatten(1).mean(1), x)
        x = mean + contrast * (x - mean)
        grey = mean.squeeze(-1) + contrast.squeeze(-1) * (grey - mean.squeeze(-1))
        return torch.lerp(grey.unsqueeze(-1).expand_as(x), x, saturation.expand_as(x)).clamp_(0, 255)


class RandomAffine(Transform):
    """Rotate, scale, shift and maybe mirror each picture or clip [n, ..., C, H, W] at random.

    Args:
        degrees: The rotation is uniform in +-degrees.
        scale: The zoom is log-uniform in [1 / (1 + scale), 1 + scale].
        shift: The translation is uniform in +-shift, as a fraction of the side.
        flip: Mirror left-right with probability 0.5.

    Example:
        >>> pictures = torch.rand(2, 3, 8, 8)
        >>> moved = RandomAffine(degrees=0, scale=0, shift=0)(pictures)  # each strength is 0: nothing moves
        >>> torch.allclose(moved, pictures, atol=1e-4)
        True
    """

    def __init__(
        self, degrees: float = 10, scale: float = 0.2, shift: float = 0.1, flip: bool = False
    ) -> None:
        super().__init__()
        self.degrees, self.scale = _check("degrees", degrees, 0, 180), _check("scale", scale, 0, 10)
        self.shift, self.flip = _check("shift", shift, 0, 1), flip

    def change(self, x: Tensor) -> Tensor:
        n = len(x)
        angle, zoom, dx, dy = _uniform(-1, 1, 4, n, like=x).unbind()
        angle = angle * math.radians(self.degrees)
        zoom = torch.exp(zoom * math.log1p(self.scale))
        mirror = torch.ones_like(zoom)
        if self.flip:
            mirror = torch.where(torch.rand(n, device=x.device) < 0.5, -1.0, 1.0)
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        theta = torch.stack(
            [cos * mirror, -sin, 2 * self.shift * dx, sin * mirror, cos, 2 * self.shift * dy], dim=1
        ).view(n, 2, 3)
        frames = x.flatten(0, -4)
        theta = theta.repeat_interleave(len(frames) // n, 0)
        grid = functional.affine_grid(theta.to(x), list(frames.shape), align_corners=False)
        moved = functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)
        return moved.view_as(x)


class SpecAugment(Transform):
    """Mask a random band and a random time span of each spectrogram [n, 1, F, T] (arXiv 1904.08779).

    Args:
        frequency: Maximum width of the band, as a fraction of F.
        time: Maximum length of the span, as a fraction of T.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> spectrograms = torch.rand(2, 1, 64, 100)
        >>> masked = SpecAugment(frequency=0.5, time=0.0)(spectrograms)
        >>> bool((masked <= spectrograms).all()), bool((masked < spectrograms).any())
        (True, True)
    """

    def __init__(self, frequency: float = 0.2, time: float = 0.2) -> None:
        super().__init__()
        self.shares = (_check("frequency", frequency, 0, 1), _check("time", time, 0, 1))

    def change(self, x: Tensor) -> Tensor:
        keep = torch.ones_like(x, dtype=torch.bool)
        for axis, share in zip((2, 3), self.shares, strict=True):
            n, size = len(x), x.shape[axis]
            width, start = torch.rand(2, n, 1, device=x.device) * share * size
            start = start / max(share, 1e-9) * (1 - width / size)
            at = torch.arange(size, device=x.device)
            hidden = (at >= start) & (at < start + width)
            keep &= ~(hidden.view(n, 1, -1, 1) if axis == 2 else hidden.view(n, 1, 1, -1))
        return torch.where(keep, x, x.amin(dim=(1, 2, 3), keepdim=True))


class WaveformNoise(Transform):
    """Add white noise to each waveform [n, T] of int16, at a random signal-to-noise ratio.

    Args:
        snr: Minimum ratio in decibels; it is uniform in [snr, snr + 30].

    Example:
        >>> waves = torch.full((2, 8000), 1000, dtype=torch.int16)
        >>> noise = WaveformNoise(snr=20.0)(waves) - waves
        >>> bool(noise.std() < 110)  # at 20 dB, a tenth of the sound's amplitude
        True
    """

    stage = "cell"

    def __init__(self, snr: float = 10.0) -> None:
        super().__init__()
        self.snr = _check("snr", snr, -30, 200)

    def change(self, x: Tensor) -> Tensor:
        wave = x.float()
        ratio = _uniform(self.snr, self.snr + 30, len(x), 1, like=x)
        loudness = wave.square().mean(1, keepdim=True).sqrt()
        return wave + torch.randn_like(wave) * loudness * 10 ** (-ratio / 20)


class TokenDropout(Transform):
    """Drop random tokens of each text [n, length] (0 is padding), but never the first.

    Args:
        share: Fraction of the tokens to drop.

    Example:
        >>> texts = torch.tensor([[5, 6, 7, 0]])
        >>> TokenDropout(share=1.0)(texts).tolist()
        [[5, 0, 0, 0]]
    """

    stage = "cell"

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = _check("share", share, 0, 1)

    def change(self, x: Tensor) -> Tensor:
        keep = torch.rand(x.shape, device=x.device) >= self.share
        keep[:, 0] = True
        return x * keep


class VectorNoise(Transform):
    """Add normal noise to the inputs [n, size] of a network of vectors.

    Args:
        std: Standard deviation of the noise.

    Example:
        >>> noise = VectorNoise(std=0.1)
        >>> noise(torch.zeros(2, 3)).any().item(), noise.eval()(torch.zeros(2, 3)).any().item()
        (True, False)
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std = _check("std", std, 0, 1e6)

    def change(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x)
