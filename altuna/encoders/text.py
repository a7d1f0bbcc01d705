"""A small text encoder trained from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from altuna.data.readers.text import TextReader


class TextSmall(nn.Module):
    """Token numbers [n, length] (0 is padding) to features [n, out_features].

    The mean of the embeddings of a text's words and character n-grams, then a layer: fastText's encoder
    (Joulin et al., 2016, arXiv 1607.01759). In training some tokens are left out.

    Args:
        reader: The reader whose token numbers come.
        out_features: Feature size.
        dimension: Embedding size.
        token_dropout: Share of a text's tokens left out in training.
        dropout: On the mean embedding.
    """

    def __init__(
        self,
        reader: TextReader,
        *,
        out_features: int = 256,
        dimension: int = 256,
        token_dropout: float = 0.5,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.out_features, self.token_dropout = out_features, token_dropout
        self.embedding = nn.EmbeddingBag(len(reader.vocabulary) + 2, dimension, mode="sum", padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=dimension**-0.5)
        self.network = nn.Sequential(
            nn.LayerNorm(dimension),
            nn.Dropout(dropout),
            nn.Linear(dimension, out_features),
            nn.ReLU(),
        )

    def forward(self, tokens: Tensor) -> Tensor:  # noqa: D102
        if self.training and self.token_dropout:
            keep = torch.rand(tokens.shape, device=tokens.device) >= self.token_dropout
            keep[:, 0] = True  # never an empty text
            tokens = tokens * keep
        count = (tokens > 0).sum(1, keepdim=True).clamp_min(1)
        features: Tensor = self.network(self.embedding(tokens) / count)
        return features
