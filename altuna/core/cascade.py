"""A cascade of residual autoencoders, which completes features where some are absent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Cascade(nn.Module):
    r"""Autoencoders in a row, each of which adds what those before it left out.

    .. math:: c_k = E_k(x_k), \quad x_{k+1} = x_k + D_k(c_k), \quad k = 1, \ldots, K

    from x_1 [n, d] to x_{K+1} [n, d] and the latent vectors [c_1 .. c_K]. Every autoencoder narrows d to two
    thirds, one third and one sixth, as MMIN's authors narrow 384 features to 256, 128 and 64.

    Source: Tran, Liu, Zhou, Jin, CVPR 2017 (CRA); Zhao, Li, Jin, ACL 2021 (MMIN).

    Args:
        width: d.
        blocks: K.

    Example:
        >>> cascade = Cascade(width=12, blocks=3)
        >>> features, latents = cascade(torch.randn(5, 12))
        >>> features.shape, latents.shape
        (torch.Size([5, 12]), torch.Size([5, 6]))
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        sizes = [width, *(max(1, width * part // 6) for part in (4, 2, 1))]
        self.encoders = nn.ModuleList(_layers(sizes) for _ in range(blocks))
        self.decoders = nn.ModuleList(_layers(sizes[::-1]) for _ in range(blocks))
        self.latent_size = blocks * sizes[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the completed features [n, d] and all latent vectors [n, latent_size]."""
        latents = []
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            latents.append(encoder(x))
            x = x + decoder(latents[-1])
        return x, torch.cat(latents, dim=1)


def _layers(sizes: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
