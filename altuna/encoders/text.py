"""A small text encoder trained from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from altuna.encoders.frontends import Tokens


class TextSmall(nn.Module):
    """Encode token numbers [n, length] (0 is padding) to features [n, out_features].

    The mean of the embeddings of a text's words and character n-grams, followed by a layer: the encoder of
    fastText (Joulin et al., 2016, arXiv 1607.01759).

    Args:
        front_end: The front end of the token numbers.
        out_features: Feature size.
        dimension: Embedding size.
        dropout: Dropout of the mean embedding.

    Example:
        >>> from altuna.data.readers import READERS
        >>> front = Tokens(READERS["text"](vocabulary=("<owl>",), length=4), (4,))
        >>> TextSmall(front, out_features=8)(torch.tensor([[2, 1, 0, 0]])).shape
        torch.Size([1, 8])
    """

    def __init__(
        self, front_end: Tokens, *, out_features: int = 256, dimension: int = 256, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.out_features = out_features
        self.embedding = nn.EmbeddingBag(front_end.tokens, dimension, mode="sum", padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=dimension**-0.5)
        self.network = nn.Sequential(
            nn.LayerNorm(dimension),
            nn.Dropout(dropout),
            nn.Linear(dimension, out_features),
            nn.ReLU(),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        count = (tokens > 0).sum(1, keepdim=True).clamp_min(1)
        features: Tensor = self.network(self._sum(tokens) / count)
        return features

    def _sum(self, tokens: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # ONNX has no EmbeddingBag: exporters would write a loop over texts
            embedded = functional.embedding(tokens, self.embedding.weight)
            return (embedded * (tokens > 0).unsqueeze(-1)).sum(1)
        total: Tensor = self.embedding(tokens)
        return total
