"""The audio encoder of CAV-MAE, the contrastive audio-visual masked autoencoder (Gong et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from altuna.encoders.base import FrontEnd
from altuna.encoders.transformer import Transformer, grid_of, grid_positions
from altuna.encoders.weights import load_weights

PATCH = 16
# From parts of parameter names in this module to those of the release.
_NAMES = {
    "embedding": "patch_embed_a.proj",
    "place": "pos_embed_a",
    "modality": "modality_a",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
# Parameters that are not used for audio alone: the visual side, the decoder, some normalisations.
_OTHERS = (
    r"(patch_embed|modality|pos_embed|blocks|norm)_v\b|norm\.|decoder_|mask_token|mlp_head\."
    r"|blocks_a\.\d+\.norm[12]_[av]\.|blocks_u\.\d+\.norm[12](_v)?\."
)


class CAVMAE(nn.Module):
    """Encode spectrograms [n, 1, bands, frames], in patches of 16 x 16, to features [n, dimension].

    The audio branch, followed by the block that audio and video share, with the normalisations of audio
    (arXiv 2210.07839), and the mean over the patches. Position embeddings start as sines and cosines and are
    trained, as the authors do when they fine-tune. The released weights are for 128 bands and 1024 frames.

    Args:
        front_end: The front end of the spectrograms, whose sides must be multiples of 16.
        dimension: Feature size.
        depth: Number of blocks; the last is the shared one.
        heads: Number of attention heads.
        weights: A file of released weights (see ``docs/encoders.md``); random weights if None.

    Example:
        >>> from altuna.data.readers import READERS
        >>> from altuna.encoders.frontends import KaldiFbank
        >>> front = KaldiFbank(READERS["audio"](rate=16_000, seconds=1.0), (16_000,), frames=96)
        >>> network = CAVMAE(front, dimension=8, depth=2, heads=2)
        >>> network(front(torch.zeros(2, 16_000, dtype=torch.int16))).shape
        torch.Size([2, 8])
    """

    reader: ClassVar[dict[str, Any]] = {"rate": 16_000, "seconds": 10.255}  # 1024 frames
    front_end: ClassVar[str] = "kaldi_fbank"

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        dimension: int = 768,
        depth: int = 12,
        heads: int = 12,
        weights: Path | None = None,
    ) -> None:
        super().__init__()
        self.transformer = Transformer(dimension, depth, heads, eps=1e-5, gelu="none")
        self.out_features = dimension
        grid = grid_of(front_end.shape, PATCH)
        self.embedding = nn.Conv2d(front_end.shape[-3], dimension, PATCH, PATCH)
        nn.init.xavier_uniform_(self.embedding.weight.flatten(1))
        self.place = nn.Parameter(grid_positions(dimension, *grid).unsqueeze(0))
        self.modality = nn.Parameter(0.02 * torch.randn(1, 1, dimension))
        if weights:
            self.load(weights)

    def load(self, path: str | Path) -> None:
        """Load released weights; raise UserError if the file has other ones."""
        load_weights(self, path, self._name, _OTHERS)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embedding(x).flatten(2).transpose(1, 2) + self.place + self.modality
        hidden: Tensor = self.transformer(embedded)
        return hidden.mean(1)

    def _name(self, own: str) -> str:
        """Return the name of a parameter in the release."""
        name = ".".join(_NAMES.get(part, part) for part in own.removeprefix("transformer.").split("."))
        last = f"blocks.{len(self.transformer.blocks) - 1}."
        if name.startswith(last):
            name = name.replace(last, "blocks_u.0.")
            return name.replace("norm1", "norm1_a").replace("norm2", "norm2_a")
        if name.startswith("norm."):
            return name.replace("norm", "norm_a")
        return name.replace("blocks.", "blocks_a.")
