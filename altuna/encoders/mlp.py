"""A multilayer perceptron for vectors."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import nn

from altuna.data.readers.vector import VectorReader
from altuna.encoders.augment import GaussianNoise
from altuna.encoders.frontends import Standardise


class MLP(nn.Sequential):
    """Vectors [n, size], standardised on the training split, to features [n, out_features].

    Args:
        reader: The reader whose vectors come.
        out_features: Feature size.
        hidden: Size of the hidden layer.
        dropout: After the hidden layer.
        noise: Standard deviation of the noise added to the standardised input in training.
    """

    def __init__(
        self,
        reader: VectorReader,
        *,
        out_features: int = 256,
        hidden: int = 256,
        dropout: float = 0.3,
        noise: float = 0.1,
    ) -> None:
        super().__init__(
            Standardise(reader.size),
            GaussianNoise(noise),
            nn.Linear(reader.size, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, out_features),
            nn.ReLU(),
        )
        self.out_features = out_features

    def fit(self, values: NDArray[Any]) -> None:
        """Take the statistics of the training values [n, size]."""
        standardise = self[0]
        assert isinstance(standardise, Standardise)
        standardise.fit(values)
