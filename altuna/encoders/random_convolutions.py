"""Random convolutions of series: fixed features, which are computed once and stored."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from altuna.encoders.base import FrontEnd
from altuna.encoders.series import masked

SIZE, HIGH = 9, 3  # steps of a kernel, and how many of them weigh 2, the others -1
ROWS = 256  # training series of which the thresholds are quantiles
MAX_DILATIONS = 16


class RandomConvolutions(nn.Module):
    r"""Encode series [n, C + 1, L], the last channel their mask, to fixed features [n, features].

    The features of MiniRocket (Dempster et al., 2021, arXiv 2012.08791): convolutions by all 84 kernels of
    nine steps of which three weigh 2 and six weigh -1, at dilations up to the length of the series, each of a
    random subset of the channels. A feature is the proportion of the steps at which a convolution is above a
    threshold,

    .. math:: f = \frac{1}{T} \sum_{t \le T} clip(((x * w)_t - b) / h + 1/2, 0, 1)

    and is standardised over the training series. The thresholds b are quantiles of the convolutions of
    training series. Nothing is learnt by gradients but the layer after the features.

    Deviations from the paper: within h, a tenth of the convolution's standard deviation, a step counts in
    part, as rounding would decide about numbers near a threshold; the convolutions of all features are
    padded; thresholds are quantiles of all series of a sample together; a layer trained by gradients stands
    for the ridge regression.

    Args:
        front_end: The front end of the series.
        features: Number of features, rounded to a multiple of 84 times the number of dilations.
        out_features: Size of the layer after the features.
        dropout: Dropout of the features.
        seed: Random seed of the channels and the quantiles.

    Raises:
        ValueError: ``features`` or ``out_features`` is less than 1.

    Example:
        >>> from altuna.encoders.series import StandardiseSeries
        >>> front = StandardiseSeries(None, (50, 3))
        >>> network = RandomConvolutions(front, features=500)
        >>> network(front(torch.randn(2, 50, 3))).shape
        torch.Size([2, 336])
    """

    frozen = True

    thresholds: Tensor
    steepness: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        features: int = 5_000,
        out_features: int = 256,
        dropout: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(features, out_features) < 1:
            raise ValueError(f"features and out_features must be 1 or more: {features}, {out_features}")
        channels, length = front_end.shape[0] - 1, front_end.shape[1]
        self.dilations = _dilations(length)
        self.seed, self.dropout, self.tail_features = seed, dropout, out_features
        kernels = torch.full((len(KERNELS), SIZE), -1.0)
        for kernel, places in zip(kernels, KERNELS, strict=True):
            kernel[list(places)] = 2.0
        each = max(1, round(features / (len(KERNELS) * len(self.dilations))))
        chosen = _channels(len(self.dilations), channels, np.random.default_rng(seed))
        weights = torch.from_numpy(chosen)[..., None] * kernels[None, :, None]  # [dilations, kernels, C, 9]
        self.register_buffer("weights", weights, persistent=False)
        self.out_features = len(self.dilations) * len(KERNELS) * each
        self.register_buffer("thresholds", torch.zeros(len(self.dilations), len(KERNELS), each))
        self.register_buffer("steepness", torch.ones(len(self.dilations), len(KERNELS)))  # 1 / h
        self.register_buffer("mean", torch.zeros(self.out_features))
        self.register_buffer("std", torch.ones(self.out_features))

    weights: Tensor

    def tail(self) -> nn.Sequential:
        """Return the layers that are trained after the features."""
        layers = nn.Sequential(
            nn.Dropout(self.dropout), nn.Linear(self.out_features, self.tail_features), nn.ReLU()
        )
        layers.out_features = self.tail_features  # type: ignore[assignment]
        return layers

    @torch.no_grad()
    def fit(self, values: NDArray[Any]) -> None:
        """Choose the thresholds by training inputs [n, C + 1, L], and standardise their features."""
        rng = np.random.default_rng([self.seed, 1])
        rows = np.sort(rng.permutation(len(values))[:ROWS])
        inputs = torch.from_numpy(np.asarray(values[rows], np.float32))
        x, mask = masked(inputs)
        for i in range(len(self.dilations)):
            there = mask[:, 0] > 0
            steps = self._convolved(x, i).transpose(1, 2)[there]  # [steps, kernels]
            quantiles = rng.random(self.thresholds.shape[1:])
            each = [np.quantile(column, q) for column, q in zip(steps.numpy().T, quantiles, strict=True)]
            self.thresholds[i] = torch.from_numpy(np.stack(each))
            self.steepness[i] = 1 / (WIDTH * steps.std(0, correction=0)).clamp_min(1e-6)
        proportions = self._proportions(inputs)
        self.mean.copy_(proportions.mean(0))
        deviation = proportions.std(0, correction=0)
        self.std.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        # In eval mode always, and so precise that a proportion is the same whatever the batch is.
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            return ((self._proportions(inputs.float()) - self.mean) / self.std).clamp(-LIMIT, LIMIT)

    def _proportions(self, inputs: Tensor) -> Tensor:
        x, mask = masked(inputs)
        steps = mask.sum(-1).clamp_min(1)
        parts = []
        for i, thresholds in enumerate(self.thresholds):
            steep = self.steepness[i][:, None]
            convolved = self._convolved(x, i) * steep + 0.5
            above = [
                ((convolved - column[:, None] * steep).clamp(0, 1) * mask).sum(-1) / steps
                for column in thresholds.unbind(1)
            ]
            parts.append(torch.stack(above, 2).flatten(1))
        return torch.cat(parts, 1)

    def _convolved(self, x: Tensor, i: int) -> Tensor:
        """Return the convolutions [n, kernels, L] at the dilation number i."""
        dilation = self.dilations[i]
        return functional.conv1d(x, self.weights[i], padding=dilation * (SIZE // 2), dilation=dilation)


KERNELS = [*combinations(range(SIZE), HIGH)]
LIMIT = 10.0  # standard deviations
WIDTH = 0.1


def _dilations(length: int) -> list[int]:
    """Return distinct powers with kernels from nine steps to the length of the series.

    Example:
        >>> _dilations(100), _dilations(3)
        ([1, 2, 4, 5, 8, 12], [1])
    """
    most = max(1, (length - 1) // (SIZE - 1))
    number = min(MAX_DILATIONS, int(2 * np.log2(most)) + 1)
    return sorted({int(d) for d in np.geomspace(1, most, number)})


def _channels(dilations: int, channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return which channels each kernel adds up, [dilations, kernels, channels]; few more often than many."""
    most = min(channels, SIZE)
    chosen = np.zeros((dilations, len(KERNELS), channels), np.float32)
    for kernel in chosen.reshape(-1, channels):
        number = int(2 ** rng.uniform(0, np.log2(most + 1)))
        kernel[rng.choice(channels, number, replace=False)] = 1
    return chosen
