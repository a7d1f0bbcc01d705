"""Small text encoders trained from scratch."""

from __future__ import annotations

import math

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


class TextBag(nn.Module):
    r"""Encode token numbers [n, length] (0 is padding) to features [n, dimension].

    The embeddings of the words W and of the character n-grams G of a text are summed, each with the weight
    of a vector of length 1 as in tf-idf, so that a word is not outvoted by its dozens of n-grams:

    .. math:: h = \mathrm{ReLU}\Bigl(|W|^{-1/2} \sum_{t \in W} E_t + |G|^{-1/2} \sum_{t \in G} E_t\Bigr)

    There is no layer after it. Deviation from tf-idf: no inverse document frequencies.

    Args:
        front_end: The front end of the token numbers.
        dimension: Embedding size.
        dropout: Dropout of the features.
        gain: Factor of the embeddings, whose initial values are divided by it: they learn that much faster.
            The table is sparse, so each of its rows gets few updates.

    Raises:
        ValueError: ``gain`` is not more than 0.

    Example:
        >>> from altuna.data.readers.text import TextReader
        >>> reader = TextReader(vocabulary=("<owl>", "ow"), length=4)
        >>> bag = TextBag(Tokens(reader, (4,)), dimension=8)
        >>> bag(torch.tensor([[2, 3, 0, 0]])).shape
        torch.Size([1, 8])
    """

    words: Tensor

    def __init__(
        self, front_end: Tokens, *, dimension: int = 256, dropout: float = 0.3, gain: float = 3.0
    ) -> None:
        super().__init__()
        if not 0 < gain < math.inf:
            raise ValueError(f"gain must be more than 0, got {gain}")
        self.out_features, self.gain = dimension, gain
        self.embedding = nn.EmbeddingBag(front_end.tokens, dimension, mode="sum", padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=dimension**-0.5 / gain)
        self.register_buffer("words", front_end.words, persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        present, is_word = tokens > 0, self.words[tokens.long()]
        weights = torch.zeros(tokens.shape, dtype=self.embedding.weight.dtype, device=tokens.device)
        for part in (present & is_word, present & ~is_word):
            count = part.sum(1, keepdim=True).clamp_min(1)
            weights = weights + part.to(weights.dtype) * count.to(weights.dtype).rsqrt()
        features: Tensor = self.dropout(
            functional.relu(_weighted_sum(self.embedding, tokens, self.gain * weights))
        )
        return features


def _weighted_sum(table: nn.EmbeddingBag, tokens: Tensor, weights: Tensor) -> Tensor:
    """Return the sums [n, dimension] of the embeddings of tokens [n, length] by their weights."""
    if torch.compiler.is_exporting():  # as above
        embedded = functional.embedding(tokens, table.weight)
        return (embedded * weights.unsqueeze(-1)).sum(1)
    total: Tensor = table(tokens, per_sample_weights=weights)
    return total
