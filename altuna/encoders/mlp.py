"""A multilayer perceptron for vectors."""

from __future__ import annotations

from torch import nn

from altuna.encoders.base import FrontEnd


class MLP(nn.Sequential):
    """Encode vectors [n, size] to features [n, out_features].

    Args:
        front_end: The front end of the vectors.
        out_features: Feature size.
        hidden: Size of the hidden layer.
        dropout: Dropout after the hidden layer.

    Example:
        >>> import torch
        >>> from altuna.encoders.frontends import Standardise
        >>> MLP(Standardise(None, (3,)), out_features=8)(torch.zeros(2, 3)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self, front_end: FrontEnd, *, out_features: int = 256, hidden: int = 256, dropout: float = 0.3
    ) -> None:
        super().__init__(
            nn.Linear(front_end.shape[0], hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, out_features),
            nn.ReLU(),
        )
        self.out_features = out_features
