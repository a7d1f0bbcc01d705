"""Front ends: modules that convert cells of the store to inputs of networks, on the device and in exports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altuna.data.readers import Reader
from altuna.data.readers.audio import AudioReader
from altuna.data.readers.text import TextReader
from altuna.data.readers.tokens import TokenReader

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pixels(nn.Module):
    """Standardise pixels 0..255 [n, ..., H, W, 3] to floats [n, ..., 3, H, W], channels last in memory.

    Args:
        reader: The reader of the pictures or clips.
        shape: Shape of a cell.
        mean, std: Of each channel, as fractions of 255; those of ImageNet by default.

    Example:
        >>> front = Pixels(None, (8, 8, 3), mean=[0, 0, 0], std=[1, 1, 1])
        >>> x = front(torch.full((1, 8, 8, 3), 255, dtype=torch.uint8))
        >>> x.shape, round(x.max().item(), 6)
        (torch.Size([1, 3, 8, 8]), 1.0)
    """

    def __init__(
        self,
        reader: Reader,
        shape: tuple[int, ...],
        *,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                f"mean and std must be three numbers each, std more than 0: got {mean} and {std}"
            )
        self.register_buffer("mean", torch.tensor([255.0 * x for x in mean]), persistent=False)
        self.register_buffer("std", torch.tensor([255.0 * x for x in std]), persistent=False)
        *leading, height, width, _ = shape
        self.shape = (*leading, 3, height, width)
        self.small = height <= 64
        self.stem = 2 if self.small else 4

    mean: Tensor
    std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        # On whole rows and in place: by channels, the arithmetic takes five times as long.
        width = pixels.shape[-2]
        rows = pixels.to(self.mean.dtype, copy=True).flatten(-2)
        scale, shift = (1 / self.std).repeat(width), (-self.mean / self.std).repeat(width)
        rows = torch.addcmul(shift, rows, scale, out=None if rows.requires_grad else rows)
        return rows.view(pixels.shape).movedim(-1, -3)


class Spectrogram(nn.Module):
    """Convert int16 waveforms [n, T] to standardised spectrograms [n, 1, bands, frames]; see its subclasses.

    The mean and standard deviation of the training spectrograms are tracked by a batch normalisation without
    a learnt scale. It computes in float32, whatever the training precision.

    Example:
        >>> class LogPower(Spectrogram):
        ...     def __init__(self, reader, shape):
        ...         super().__init__(reader, shape, bands=65, n_fft=128, length=128, hop=64)
        ...
        ...     def scale(self, magnitudes):
        ...         return (magnitudes.square() + 1e-6).log()
        >>> front = LogPower(AudioReader(rate=8000, seconds=1.0), (8000,))
        >>> front(torch.zeros(2, 8000, dtype=torch.int16)).shape
        torch.Size([2, 1, 65, 126])
    """

    window: Tensor
    stem = 4

    def __init__(self, reader: Reader, shape: tuple[int, ...], bands: int, n_fft: int, length: int, hop: int):
        super().__init__()
        assert isinstance(reader, AudioReader)
        if hop < 1 or length < 2 or bands < 1:
            raise ValueError(f"windows of {length} samples every {hop}: the rate, {reader.rate}, is too low")
        self.n_fft, self.length, self.hop = n_fft, length, hop
        self.register_buffer("window", torch.hann_window(length), persistent=False)
        self.standardise = nn.BatchNorm2d(1, affine=False)
        self.shape = (1, bands, shape[0] // hop + 1)
        self.small = reader.seconds <= 2

    def forward(self, wave: Tensor) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave.to(self.window.dtype) / 32768
            wave = nn.functional.pad(wave, (self.n_fft // 2, self.n_fft // 2))
            if torch.compiler.is_exporting():
                beside = self.n_fft - self.length
                window = nn.functional.pad(self.window, (beside // 2, beside - beside // 2))
                magnitudes = _magnitudes(wave.unfold(1, self.n_fft, self.hop) * window, self.n_fft).mT
            else:
                magnitudes = torch.stft(
                    wave, self.n_fft, self.hop, self.length, self.window, False, return_complex=True
                ).abs()
            standard: Tensor = self.standardise(self.scale(magnitudes).unsqueeze(1))
        return standard

    def scale(self, magnitudes: Tensor) -> Tensor:
        """Return the bands [n, bands, frames] of magnitudes [n, n_fft // 2 + 1, frames]."""
        raise NotImplementedError


class LogMel(Spectrogram):
    """Compute log-mel spectrograms: Hann windows of 25 ms every 10 ms, power, HTK mels, ``log(x + 1e-6)``.

    Args:
        reader: The reader of the recordings.
        shape: Shape of a cell.
        mels: Number of mel bands.

    Example:
        >>> front = LogMel(AudioReader(rate=8000, seconds=1.0), (8000,))
        >>> front(torch.zeros(2, 8000, dtype=torch.int16)).shape, front.shape
        (torch.Size([2, 1, 64, 101]), (1, 64, 101))
    """

    filters: Tensor

    def __init__(self, reader: AudioReader, shape: tuple[int, ...], *, mels: int = 64) -> None:
        length = round(0.025 * reader.rate)
        n_fft = 1 << (length - 1).bit_length()
        super().__init__(reader, shape, mels, n_fft, length, round(0.010 * reader.rate))
        self.register_buffer("filters", _mel_filters(reader.rate, n_fft, mels), persistent=False)

    def scale(self, magnitudes: Tensor) -> Tensor:
        return (self.filters @ magnitudes.square() + 1e-6).log()


class LogSTFT(Spectrogram):
    """Compute log-magnitudes ``log(|STFT| + 1e-7)`` of Hann windows: ``n_fft // 2 + 1`` bands.

    Args:
        reader: The reader of the recordings.
        shape: Shape of a cell.
        n_fft: Samples per window.
        hop: Samples between the starts of windows; half a window if None.
        tile: Repeat a shorter sound, instead of padding it with silence.

    Example:
        >>> LogSTFT(AudioReader(rate=8000, seconds=1.0), (8000,), n_fft=256).shape
        (1, 129, 63)
    """

    def __init__(
        self,
        reader: AudioReader,
        shape: tuple[int, ...],
        *,
        n_fft: int = 512,
        hop: int | None = None,
        tile: bool = False,
    ) -> None:
        super().__init__(reader, shape, n_fft // 2 + 1, n_fft, n_fft, hop or n_fft // 2)
        self.tile = tile

    def forward(self, wave: Tensor) -> Tensor:
        if self.tile:
            lengths = until_end(wave).sum(1, keepdim=True).clamp_min(1)
            wave = wave.gather(1, torch.arange(wave.shape[1], device=wave.device) % lengths)
        return super().forward(wave)

    def scale(self, magnitudes: Tensor) -> Tensor:
        return (magnitudes + 1e-7).log()


class KaldiFbank(nn.Module):
    """Convert int16 waveforms [n, T] to Kaldi's log-mel energies [n, 1, mels, frames], standardised.

    Windows of 25 ms every 10 ms, of samples from -1 to 1, minus their mean; pre-emphasis 0.97, Hann, power,
    mel filters from 20 Hz to half the rate, ``log(max(x, 1.19e-7))``: the same as torchaudio's
    ``compliance.kaldi.fbank`` with ``window_type="hanning"``. Frames after the end of a sound are 0 before
    the standardisation, as in CAV-MAE. It computes in float32, whatever the training precision.

    Args:
        reader: The reader of the recordings.
        shape: Shape of a cell.
        mels: Number of mel bands.
        frames: Number of frames; the rest of a longer sound is left out.
        mean, std: Of the energies; by default those of AudioSet, on which CAV-MAE was trained.

    Example:
        >>> front = KaldiFbank(AudioReader(rate=16000, seconds=1.0), (16000,), frames=96)
        >>> front(torch.zeros(1, 16000, dtype=torch.int16)).shape
        torch.Size([1, 1, 128, 96])
    """

    window: Tensor
    filters: Tensor
    small = False
    stem = 4

    def __init__(
        self,
        reader: AudioReader,
        shape: tuple[int, ...],
        *,
        mels: int = 128,
        frames: int = 1024,
        mean: float = -5.081,
        std: float = 4.4849,
    ) -> None:
        super().__init__()
        length, self.hop = int(0.025 * reader.rate), int(0.010 * reader.rate)
        if min(length - 1, self.hop, mels, frames) < 1 or std <= 0:
            raise ValueError(
                f"rate, {reader.rate}, mels, {mels}, frames, {frames}, or std, {std}, is too low"
            )
        self.n_fft = 1 << (length - 1).bit_length()
        self.mean, self.std, self.shape = mean, std, (1, mels, frames)
        self.register_buffer("window", torch.hann_window(length, periodic=False), persistent=False)
        self.register_buffer("filters", _kaldi_filters(reader.rate, self.n_fft, mels), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        length, frames = len(self.window), self.shape[-1]
        last = length + (frames - 1) * self.hop
        whole = (until_end(wave).sum(1) - length) // self.hop + 1
        with torch.autocast(wave.device.type, enabled=False):
            wave = nn.functional.pad(wave.to(self.window.dtype) / 32768, (0, last - wave.shape[1]))
            framed = wave.unfold(1, length, self.hop)
            framed = framed - framed.mean(-1, keepdim=True)
            before = torch.cat([framed[..., :1], framed[..., :-1]], -1)
            magnitudes = _magnitudes((framed - 0.97 * before) * self.window, self.n_fft)
            energies = (magnitudes.square() @ self.filters.T).clamp_min(torch.finfo(torch.float32).eps)
            there = torch.arange(frames, device=wave.device) < whole[:, None]
            bands: Tensor = (energies.log() * there.unsqueeze(-1)).transpose(1, 2).unsqueeze(1)
        return (bands - self.mean) / self.std


def until_end(waves: Tensor) -> Tensor:
    """Return which samples are not padding, [n, T] bool: those up to the last one that is not 0.

    Example:
        >>> until_end(torch.tensor([[1, 0, 2, 0, 0]])).tolist()
        [[True, True, True, False, False]]
    """
    return waves.ne(0).int().flip(1).cumsum(1).flip(1) > 0


def until_longest(there: Tensor) -> int:
    """Return the length of the longest of some texts [n, length] bool, to cut off the padding of all.

    Example:
        >>> until_longest(torch.tensor([[True, False, False], [True, True, False]]))
        2
    """
    if torch.compiler.is_exporting():  # a graph is called with a single text, without padding
        return there.shape[1]
    return int(there.any(0).nonzero().max()) + 1


def _magnitudes(frames: Tensor, n_fft: int) -> Tensor:
    """Return the magnitudes [n, F, n_fft // 2 + 1] of the spectra of frames [n, F, length]."""
    if not torch.compiler.is_exporting():
        magnitudes: Tensor = torch.fft.rfft(frames, n_fft).abs()
        return magnitudes
    # Runtimes of ONNX have slow Fourier transforms or none: a product with cosines and sines is fast.
    # Angles are reduced first, and in float64, as cosines of large angles are inexact.
    turns = np.outer(np.arange(frames.shape[-1]), np.arange(n_fft // 2 + 1)) % n_fft
    angles = 2 * np.pi * turns / n_fft
    basis = torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32))
    real, imaginary = (frames @ basis.to(frames.device)).chunk(2, -1)
    return (real.square() + imaginary.square()).sqrt()


def _kaldi_filters(rate: int, n_fft: int, mels: int) -> Tensor:
    """Return Kaldi's filters [mels, n_fft // 2 + 1], triangles on the mel scale from 20 Hz to rate / 2."""
    low, high = (1127 * math.log(1 + hertz / 700) for hertz in (20, rate / 2))
    edges = torch.linspace(low, high, mels + 2, dtype=torch.float64)[:, None]
    bins = 1127 * (torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64) / 700).log1p()
    step = (high - low) / (mels + 1)
    return (torch.minimum(bins - edges[:-2], edges[2:] - bins) / step).clamp_min(0).float()


def _mel_filters(rate: int, n_fft: int, mels: int) -> Tensor:
    """Return triangular HTK mel filters [mels, n_fft // 2 + 1] from 0 to half the rate."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0)


class Tokens(nn.Module):
    """Pass token numbers [n, length] on unchanged (0 is padding); ``tokens`` is the number of tokens.

    ``words`` [tokens] tells which of them are words, and not character n-grams.

    Example:
        >>> front = Tokens(TextReader(vocabulary=("<owl>", "ow"), length=4), (4,))
        >>> front.tokens  # two of the vocabulary, the unknown one and the padding
        4
    """

    small = True

    def __init__(self, reader: TextReader | TokenReader, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.tokens = shape, reader.tokens
        self.words = torch.from_numpy(reader.words)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


class Standardise(nn.Module):
    """Standardise vectors [n, size] by the training mean and standard deviation of each number.

    A missing number (NaN) becomes the training mean. One that is missing in all training cells is 0 in all
    others too: its weights have learnt nothing. Numbers further than ``LIMIT`` deviations from the
    mean are clipped: squares of larger ones overflow, and one absurd number must not spoil the prediction.

    Example:
        >>> front = Standardise(None, (2,))
        >>> front.fit(np.array([[0.0, 5.0], [2.0, 5.0]]))
        >>> front(torch.tensor([[2.0, 5.0], [float("nan"), 6.0]])).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    LIMIT = 1e6
    small = True

    mean: Tensor
    std: Tensor

    def __init__(self, reader: Reader, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, values: NDArray[Any]) -> None:
        """Compute the statistics of the training values [n, size].

        The std of a constant number is 1, that of one without any value 0.
        """
        present = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
        std = present.std(axis=0).filled(0.0)
        self.mean.copy_(torch.from_numpy(present.mean(axis=0).filled(0.0)))
        self.std.copy_(torch.from_numpy(np.where(std > 1e-12, std, present.count(axis=0) > 0)))

    def forward(self, x: Tensor) -> Tensor:
        return standardised(x.to(self.mean.dtype), self.mean, self.std).clamp(-self.LIMIT, self.LIMIT)


def standardised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (x - mean) / std; 0 where a number is missing (NaN), or std is 0 as training had none.

    Example:
        >>> standardised(torch.tensor([5.0, float("nan"), 9.0]), torch.ones(3), torch.tensor([2.0, 2.0, 0.0]))
        tensor([2., 0., 0.])
    """
    learnt = std > 0
    return torch.where(learnt, (x - mean) / torch.where(learnt, std, 1), 0).nan_to_num(0)
