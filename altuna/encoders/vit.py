"""A small vision transformer for pictures and spectrograms (Dosovitskiy et al., 2021), by transformers."""

from __future__ import annotations

from torch import Tensor, nn

from altuna.encoders.base import FrontEnd


class ViT(nn.Module):
    """Encode pictures [n, C, H, W] to the mean of the features of their patches, [n, dimension].

    Args:
        front_end: The front end of the pictures.
        dimension: Feature size.
        depth: Number of layers.
        heads: Number of attention heads.
        patch: Side of a patch; if None, an eighth of the shorter side, from 4 to 16.
        dropout: Dropout in each layer.

    Example:
        >>> import torch
        >>> from altuna.encoders.frontends import Pixels
        >>> ViT(Pixels(None, (32, 32, 3)), dimension=8, depth=1, heads=2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        dimension: int = 192,
        depth: int = 6,
        heads: int = 3,
        patch: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        from transformers import ViTConfig, ViTModel  # takes half a second

        super().__init__()
        channels, height, width = front_end.shape[-3:]
        side = min(height, width)
        patch = min(patch or max(4, min(16, side // 8)), side)
        self.out_features = dimension
        self.network = ViTModel(
            ViTConfig(
                hidden_size=dimension,
                num_hidden_layers=depth,
                num_attention_heads=heads,
                intermediate_size=4 * dimension,
                hidden_dropout_prob=dropout,
                image_size=(height, width),
                patch_size=patch,
                num_channels=channels,
            ),
            add_pooling_layer=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.network(x).last_hidden_state
        return hidden[:, 1:].mean(1)
