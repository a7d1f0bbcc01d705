"""A piecewise-linear front end for vectors of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altuna.data.readers import Reader
from altuna.encoders.frontends import Standardise

MAX_OUTPUTS = 4096
MAX_VALUE = (
    1e37  # differences of larger float32 numbers overflow, those of neighbours below its inverse vanish
)


class PiecewiseLinear(nn.Module):
    """Encode each number by its position among training quantiles: [n, size] to [n, size * (T + 1)].

    The edges b_0 < ... < b_T of a number's bins are quantiles of its training values. A network sees the
    standardised number, and beside it how much of each bin lies below the number. So its first layer is a
    piecewise-linear function of each number (Gorishniy et al., 2022, arXiv 2203.05556, eq. 1).

    .. math:: e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)

    Equal quantiles are merged, and bins that are left over are always 0: all of them for a constant number. A
    missing number (NaN) becomes the training mean. Deviation from the paper: beyond the training range the
    codes are clipped, where the paper extends the first and the last bin, and the standardised number, which
    the paper does not have, is clipped to ``LIMIT`` standard deviations.

    Args:
        reader: The reader of the vectors.
        shape: Shape of a cell.
        bins: T, at least 1. Vectors with more than 4096 / T numbers have fewer bins, down to 2.

    Example:
        >>> front = PiecewiseLinear(None, (1,), bins=2)
        >>> front.fit(np.array([[0.0], [1.0], [5.0]]))
        >>> front(torch.tensor([[2.0], [3.0]])).tolist()
        [[0.0, 1.0, 0.25], [0.4629100561141968, 1.0, 0.5]]
    """

    LIMIT = 5.0
    small = True

    edges: Tensor
    scale: Tensor

    def __init__(self, reader: Reader, shape: tuple[int, ...], *, bins: int = 4) -> None:
        super().__init__()
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        (size,) = shape
        self.bins = min(bins, max(2, MAX_OUTPUTS // size))
        self.shape = (size * (self.bins + 1),)
        self.standardise = Standardise(reader, shape)
        self.register_buffer("edges", torch.zeros(size, self.bins))  # left edges
        self.register_buffer("scale", torch.zeros(size, self.bins))  # 1 / width

    def fit(self, values: NDArray[Any]) -> None:
        """Compute the quantiles, means and standard deviations of the training values [n, size]."""
        self.standardise.fit(values)
        self.edges.zero_()
        self.scale.zero_()
        for i, column in enumerate(np.asarray(values).T):
            present = column[np.isfinite(column)].astype(np.float64).clip(-MAX_VALUE, MAX_VALUE)
            if not len(present):  # a number that is always missing in training is ignored
                continue
            # Edges are distinct in float32 too.
            quantiles = np.quantile(present, np.linspace(0, 1, self.bins + 1)).astype(np.float32)
            edges = torch.from_numpy(np.unique(quantiles))
            wide = edges.diff() > 1 / MAX_VALUE
            self.edges[i, : wide.sum()] = edges[:-1][wide]
            self.scale[i, : wide.sum()] = 1 / edges.diff()[wide]

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.edges.dtype)
        known = torch.where(x.isnan(), self.standardise.mean, x).clamp(-MAX_VALUE, MAX_VALUE)
        codes = ((known[..., None] - self.edges) * self.scale).clamp(0, 1)
        return torch.cat([self.standardise(x).clamp(-self.LIMIT, self.LIMIT), codes.flatten(1)], 1)
