"""Encoders of series that read their steps in order (GRU) or compare them with each other (transformer)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from altuna.encoders.base import FrontEnd
from altuna.encoders.series import masked, masked_mean
from altuna.encoders.transformer import Transformer, positions


class GRU(nn.Module):
    """Encode series [n, C + 1, L], the last channel their mask, to features [n, 2 * width].

    Gated recurrent units (Cho et al., 2014, arXiv 1406.1078) read a series forwards and, from its own end,
    backwards. The features are the means of their states over the steps of the series, normalised: states
    are small, and so would be the gradients of a head.

    Args:
        front_end: The front end of the series.
        width: Size of a state.
        depth: Number of layers.
        dropout: Dropout of the features, and between layers.

    Raises:
        ValueError: ``width`` or ``depth`` is less than 1.

    Example:
        >>> from altuna.encoders.series import StandardiseSeries
        >>> front = StandardiseSeries(None, (50, 3))
        >>> GRU(front, width=8)(front(torch.zeros(2, 50, 3))).shape
        torch.Size([2, 16])
    """

    def __init__(self, front_end: FrontEnd, *, width: int = 96, depth: int = 1, dropout: float = 0.3) -> None:
        super().__init__()
        if min(width, depth) < 1:
            raise ValueError(f"width and depth must be 1 or more, got {width} and {depth}")
        channels, self.out_features = front_end.shape[0] - 1, 2 * width
        sizes = [channels, *[2 * width] * (depth - 1)]
        self.forwards = nn.ModuleList(nn.GRU(size, width, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.GRU(size, width, batch_first=True) for size in sizes)
        self.norm, self.dropout = nn.LayerNorm(2 * width), nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        x, mask = masked(inputs)
        x, there = x.transpose(1, 2), mask.transpose(1, 2)
        order = _from_the_end(mask[:, 0])
        for number, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = self.dropout(x) if number else x
            turned = _taken(back(_taken(x, order))[0], order)
            x = torch.cat([ahead(x)[0], turned], -1) * there
        features: Tensor = self.dropout(self.norm(masked_mean(x.transpose(1, 2), mask)))
        return features


def _from_the_end(mask: Tensor) -> Tensor:
    """Return the places [n, L] of the steps of series in reverse, and after them those of the padding."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    lengths = (mask > 0).sum(1, keepdim=True)
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


class SeriesTransformer(nn.Module):
    """Encode series [n, C + 1, L], the last channel their mask, to features [n, width].

    A token stands for a patch of consecutive steps of all channels (as in PatchTST, Nie et al., 2023, arXiv
    2211.14730, which has a token for each channel too). Pre-norm blocks attend to the tokens of the series,
    and the features are the mean of the tokens.

    Args:
        front_end: The front end of the series.
        width: Size of a token: a multiple of ``heads`` and of 4.
        depth: Number of blocks.
        heads: Number of attention heads.
        patch: Steps in a patch; as many as make at most ``TOKENS`` tokens of the longest series if None.
        dropout: Dropout of the features, and of the tokens.

    Raises:
        ValueError: ``width`` is not such a multiple, or ``patch`` is less than 1.

    Example:
        >>> from altuna.encoders.series import StandardiseSeries
        >>> front = StandardiseSeries(None, (50, 3))
        >>> SeriesTransformer(front, width=16)(front(torch.zeros(2, 50, 3))).shape
        torch.Size([2, 16])
    """

    TOKENS = 64

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        width: int = 128,
        depth: int = 3,
        heads: int = 4,
        patch: int | None = None,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        channels, length = front_end.shape
        self.patch = -(-length // self.TOKENS) if patch is None else patch
        if self.patch < 1:
            raise ValueError(f"patch must be 1 or more, got {patch}")
        self.out_features = width
        self.tokens = nn.Conv1d(channels, width, self.patch, self.patch)  # the mask is an input too
        self.transformer = Transformer(width, depth, heads, eps=1e-6, gelu="tanh")
        places = positions(width, torch.arange(-(-length // self.patch)))
        self.register_buffer("positions", places, persistent=False)
        self.dropout = nn.Dropout(dropout)

    positions: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        x, mask = masked(inputs)
        more = -x.shape[-1] % self.patch
        x = nn.functional.pad(torch.cat([x, mask], 1), (0, more))
        there = nn.functional.pad(mask, (0, more))[..., :: self.patch] > 0
        tokens = self.tokens(x).transpose(1, 2)
        tokens = self.dropout(tokens + self.positions[: tokens.shape[1]])
        tokens = self.transformer(tokens, there[:, 0])
        features: Tensor = self.dropout(masked_mean(tokens.transpose(1, 2), there.to(tokens.dtype)))
        return features
