"""From what the store holds to what a network takes, as modules: they run on the device and export."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class ImageFrontEnd(nn.Module):
    """uint8 or float pixels 0..255 [n, 3, H, W] to floats standardised by ImageNet's statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
        std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:  # noqa: D102
        return (pixels.to(self.mean.dtype) - self.mean) / self.std


class LogMel(nn.Module):
    """int16 waveforms [n, T] to standardised log-mel spectrograms [n, 1, mels, frames].

    Windows of 25 ms every 10 ms (Hann), power, HTK mel filters, ``log(x + 1e-6)``, then the mean and standard
    deviation of the training spectrograms as a batch normalisation without learnt scale keeps them.
    Computed in float32 whatever the training precision.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, rate: int, mels: int = 64) -> None:
        super().__init__()
        self.length, self.hop = round(0.025 * rate), round(0.010 * rate)
        self.n_fft = 1 << (self.length - 1).bit_length()
        self.register_buffer("window", torch.hann_window(self.length), persistent=False)
        self.register_buffer("filters", _mel_filters(rate, self.n_fft, mels), persistent=False)
        self.standardise = nn.BatchNorm2d(1, affine=False)

    def forward(self, wave: Tensor) -> Tensor:  # noqa: D102
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave.to(self.window.dtype) / 32768
            wave = nn.functional.pad(wave, (self.n_fft // 2, self.n_fft // 2))
            spectrum = torch.stft(
                wave, self.n_fft, self.hop, self.length, self.window, False, return_complex=True
            )
            mel = self.filters @ spectrum.abs().square()
            standard: Tensor = self.standardise((mel + 1e-6).log().unsqueeze(1))
        return standard


def _mel_filters(rate: int, n_fft: int, mels: int) -> Tensor:
    """Triangular HTK mel filters [mels, n_fft // 2 + 1] from 0 to half the rate."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0)


class Standardise(nn.Module):
    """Subtract the training mean of each number and divide by its standard deviation; [n, size] both ways.

    What is further than ``LIMIT`` deviations out is set there: squares of larger numbers overflow, and one
    absurd number must not cost the other modalities of its sample their say.
    """

    LIMIT = 1e6

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, values: NDArray[Any]) -> None:
        """Take the statistics of the training values [n, size]; a constant number keeps std 1."""
        values = np.asarray(values, dtype=np.float64)
        std = values.std(axis=0)
        self.mean.copy_(torch.from_numpy(values.mean(axis=0)))
        self.std.copy_(torch.from_numpy(np.where(std > 1e-12, std, 1.0)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return ((x.to(self.mean.dtype) - self.mean) / self.std).clamp(-self.LIMIT, self.LIMIT)
