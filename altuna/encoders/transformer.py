"""The transformer of masked autoencoders: pre-norm blocks, and sine-cosine position embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-norm block: attention and a layer four times as wide, each with a residual (arXiv 2010.11929).

    Example:
        >>> Block(8, heads=2, eps=1e-6, gelu="none")(torch.zeros(2, 5, 8), None).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, dimension: int, heads: int, eps: float, gelu: Literal["none", "tanh"]) -> None:
        super().__init__()
        self.heads, self.gelu = heads, gelu
        self.norm1, self.norm2 = nn.LayerNorm(dimension, eps), nn.LayerNorm(dimension, eps)
        self.qkv, self.proj = nn.Linear(dimension, 3 * dimension), nn.Linear(dimension, dimension)
        self.fc1, self.fc2 = nn.Linear(dimension, 4 * dimension), nn.Linear(4 * dimension, dimension)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        n, length, dimension = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, there)
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, length, dimension))
        hidden: Tensor = self.fc2(functional.gelu(self.fc1(self.norm2(x)), approximate=self.gelu))
        return x + hidden


class Transformer(nn.Module):
    """Transform vectors [n, L, dimension] by ``depth`` blocks and a layer normalisation.

    Args:
        dimension: Size of a vector: a multiple of ``heads``, and of 4 for ``grid_positions``.
        depth: Number of blocks.
        heads: Number of attention heads.
        eps: Epsilon of the layer normalisations.
        gelu: ``none`` for the exact GELU, or its ``tanh`` approximation.

    Raises:
        ValueError: ``dimension`` is not such a multiple.

    Example:
        >>> Transformer(8, depth=1, heads=2, eps=1e-6, gelu="tanh")(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self, dimension: int, depth: int, heads: int, *, eps: float, gelu: Literal["none", "tanh"]
    ) -> None:
        super().__init__()
        if min(dimension, depth, heads) < 1 or dimension % heads or dimension % 4:
            raise ValueError(f"dimension must be a multiple of 4 and of heads, got {dimension} and {heads}")
        self.blocks = nn.ModuleList([Block(dimension, heads, eps, gelu) for _ in range(depth)])
        self.norm = nn.LayerNorm(dimension, eps)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """Transform vectors [n, L, dimension]; attend only to those that are ``there`` [n, L]."""
        mask = None if there is None else there[:, None, None]
        for block in self.blocks:
            x = block(x, mask)
        normed: Tensor = self.norm(x)
        return normed


def positions(dimension: int, at: Tensor) -> Tensor:
    """Return sine and cosine embeddings [L, dimension] of positions [L], at decreasing frequencies.

    Example:
        >>> positions(4, torch.tensor([0, 1])).shape
        torch.Size([2, 4])
    """
    half = dimension // 2
    angles = at[:, None].double() * 10_000 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def grid_positions(dimension: int, height: int, width: int) -> Tensor:
    """Return embeddings [H * W, dimension] of a grid, row by row: ``positions`` of columns and of rows.

    Example:
        >>> grid_positions(8, 2, 3).shape
        torch.Size([6, 8])
    """
    rows, columns = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    return torch.cat([positions(dimension // 2, columns), positions(dimension // 2, rows)], 1)


def grid_of(shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """Return the height and width, in patches, of pictures of a shape [..., H, W].

    Raises:
        ValueError: A side is not a multiple of that of a patch.

    Example:
        >>> grid_of((3, 32, 48), patch=16)
        (2, 3)
    """
    height, width = shape[-2:]
    if height % patch or width % patch:
        raise ValueError(f"inputs of {height} x {width} do not divide into patches of {patch} x {patch}")
    return height // patch, width // patch
