"""M3AE, the multimodal masked autoencoder of pictures and texts (Geng et al., 2022, arXiv 2205.14204)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from altuna.encoders.base import FrontEnd
from altuna.encoders.frontends import Tokens, until_longest
from altuna.encoders.transformer import Transformer, grid_of, grid_positions, positions
from altuna.encoders.weights import Weights, load_weights

PATCH = 16
SIZES: dict[str, dict[str, Any]] = {
    "m3ae_base": {"dimension": 768, "depth": 12, "heads": 12},
    "m3ae_large": {"dimension": 1024, "depth": 24, "heads": 16},
}
# From parts of parameter names in this module to those in the PyTorch port of the released weights.
_NAMES = {
    "transformer": "encoder",
    "norm": "layer_norm",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "qkv": "attention.qkv_linear",
    "proj": "attention.fc",
    "fc1": "transformer_mlp.fc1",
    "fc2": "transformer_mlp.fc2",
}
# Parameters of the other modality and of the decoder.
_OTHERS = r"(encoder_)?(image|text)_\w*embedding|decoder[._]"
# From names of the original release, whose matrices are transposed, to those of the port.
_FLAX = {
    "encoder.LayerNorm_0": "encoder.layer_norm",
    "Block_": "blocks.",
    "LayerNorm_0": "layer_norm1",
    "LayerNorm_1": "layer_norm2",
    "Attention_0.Dense_0": "attention.qkv_linear",
    "Attention_0.Dense_1": "attention.fc",
    "TransformerMLP_0": "transformer_mlp",
    ".kernel": ".weight",
    ".scale": ".weight",
    ".embedding": ".weight",
}


class M3AE(nn.Module):
    """The common parts of both modalities' encoders: a class token, a type embedding, the transformer.

    As in the release, layer normalisations have eps 1e-6 and GELU is approximated by tanh (Flax's defaults).
    The code of MLA's authors has PyTorch's defaults (1e-5, exact), and averages over padding and the class
    token, too.

    Args:
        dimension: Feature size.
        depth: Number of blocks.
        heads: Number of attention heads.
        pooling: ``mean`` over the patches or tokens, or ``cls``.

    Example:
        >>> encoder = M3AE(dimension=8, depth=1, heads=2, pooling="mean")
        >>> encoder.encode(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 8])
    """

    modality: ClassVar[str]

    def __init__(self, dimension: int, depth: int, heads: int, pooling: Literal["mean", "cls"]) -> None:
        super().__init__()
        self.transformer = Transformer(dimension, depth, heads, eps=1e-6, gelu="tanh")
        self.out_features, self.pooling = dimension, pooling
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dimension))
        self.type_embedding = nn.Parameter(0.02 * torch.randn(1, 1, dimension))

    def encode(self, embedded: Tensor, there: Tensor | None = None) -> Tensor:
        """Return features [n, dimension] of embedded patches or tokens [n, L, dimension], where ``there``."""
        x = torch.cat([self.cls_token.expand(embedded.shape[0], -1, -1), embedded + self.type_embedding], 1)
        mask = None if there is None else nn.functional.pad(there, (1, 0), value=True)
        hidden: Tensor = self.transformer(x, mask)
        if self.pooling == "cls":
            return hidden[:, 0]
        if there is None:
            return hidden[:, 1:].mean(1)
        weights = there.to(hidden).unsqueeze(-1)
        return (hidden[:, 1:] * weights).sum(1) / weights.sum(1).clamp_min(1)

    def load(self, path: str | Path) -> None:
        """Load released weights; raise UserError if the file has other ones."""
        parts = _NAMES | {
            "embedding": f"{self.modality}_embedding",
            "type_embedding": f"encoder_{self.modality}_type_embedding",
        }
        load_weights(
            self,
            path,
            lambda name: ".".join(parts.get(part, part) for part in name.split(".")),
            _OTHERS,
            _from_flax,
        )


class M3AEImage(M3AE):
    """Encode pictures [n, 3, H, W], in patches of 16 x 16, to features [n, dimension].

    Args:
        front_end: The front end of the pictures, whose sides must be multiples of 16.
        dimension: Feature size.
        depth: Number of blocks.
        heads: Number of attention heads.
        pooling: ``mean`` over the patches, or ``cls``.
        weights: A file of released weights (see ``docs/encoders.md``); random weights if None.

    Example:
        >>> from altuna.encoders.frontends import Pixels
        >>> network = M3AEImage(Pixels(None, (32, 32, 3)), dimension=8, depth=1, heads=2)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    modality = "image"
    reader: ClassVar[dict[str, Any]] = {"size": 256}
    places: Tensor

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        dimension: int,
        depth: int,
        heads: int,
        pooling: Literal["mean", "cls"] = "mean",
        weights: Path | None = None,
    ) -> None:
        super().__init__(dimension, depth, heads, pooling)
        grid = grid_of(front_end.shape, PATCH)
        self.embedding = nn.Linear(PATCH * PATCH * front_end.shape[-3], dimension)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.register_buffer("places", grid_positions(dimension, *grid), persistent=False)
        if weights:
            self.load(weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(self.embedding(patches(x, PATCH)) + self.places)


class M3AEText(M3AE):
    """Encode token numbers [n, length] (0 is padding) of BERT's word pieces to features [n, dimension].

    Args:
        front_end: The front end of the token numbers.
        dimension: Feature size.
        depth: Number of blocks.
        heads: Number of attention heads.
        pooling: ``mean`` over the tokens, or ``cls``.
        weights: A file of released weights (see ``docs/encoders.md``); random weights if None.

    Example:
        >>> from altuna.data.readers import READERS
        >>> front = Tokens(READERS["text"](vocabulary=("<owl>",), length=4), (4,))
        >>> network = M3AEText(front, dimension=8, depth=1, heads=2)
        >>> network(torch.tensor([[2, 1, 0, 0]])).shape
        torch.Size([1, 8])
    """

    modality = "text"
    # Without BERT's tokens at the start and the end, as M3AE was trained.
    reader: ClassVar[dict[str, Any]] = {
        "name": "tokens",
        "tokenizer": "bert-base-uncased",
        "most": 256,
        "marks": False,
    }
    places: Tensor

    def __init__(
        self,
        front_end: Tokens,
        *,
        dimension: int,
        depth: int,
        heads: int,
        pooling: Literal["mean", "cls"] = "mean",
        weights: Path | None = None,
    ) -> None:
        super().__init__(dimension, depth, heads, pooling)
        self.embedding = nn.Embedding(front_end.tokens - 1, dimension)
        self.register_buffer(
            "places", positions(dimension, torch.arange(front_end.shape[0])), persistent=False
        )
        if weights:
            self.load(weights)

    def forward(self, tokens: Tensor) -> Tensor:
        there = tokens > 0
        longest = until_longest(there)
        tokens, there = tokens[:, :longest], there[:, :longest]
        return self.encode(self.embedding((tokens - 1).clamp_min(0)) + self.places[:longest], there)


def patches(pictures: Tensor, side: int) -> Tensor:
    """Cut pictures [n, C, H, W] into patches [n, (H / side) * (W / side), side * side * C], row by row.

    The numbers of a patch are ordered by rows, columns and channels, as M3AE was trained; the code of MLA's
    authors puts the channels first, which does not match the released weights.

    Example:
        >>> patches(torch.arange(8.0).view(1, 1, 2, 4), side=2).tolist()
        [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    n, channels, height, width = pictures.shape
    cut = pictures.reshape(n, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _from_flax(weights: Weights) -> Weights:
    """Return weights of the original release by the names of the port; those of the port are unchanged."""
    if not any("Block_" in name for name in weights):
        return weights
    found = {}
    for name, value in weights.items():
        value = value.T.contiguous() if name.endswith(".kernel") else value
        for old, new in _FLAX.items():
            name = name.replace(old, new)
        found[name] = value
    return found
