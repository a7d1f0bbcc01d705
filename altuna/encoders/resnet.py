"""ResNet for pictures and spectrograms (He et al., 2016), by transformers."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from altuna.encoders.base import FrontEnd
from altuna.encoders.frontends import Pixels
from altuna.encoders.hog import HOGBranch

DEPTHS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
}


class Pictures(FrontEnd, Protocol):
    """A front end of pictures; ``stem`` is the factor by which a first layer may reduce their resolution."""

    stem: int


class ResNet(nn.Module):
    """Encode pictures [n, C, H, W] to features [n, 8 * width], or [n, 32 * width] by bottleneck blocks.

    With ``hog`` these are followed by as many features of a branch of ``HOG``, fixed histograms of gradients
    and colours and one layer. Few pictures teach a convolutional network less than these histograms know.

    Args:
        front_end: The front end of the pictures.
        name: ``resnet18``, ``resnet34`` or ``resnet50``.
        width: Channels of the first stage; if None, 64 as in the paper; for small inputs 32, 16 with ``hog``.
        stem: The factor by which the stem reduces the resolution: 4 as in the paper (7 x 7 and pooling), 1 or
            2 with a 3 x 3 convolution, which is usual for small pictures; chosen by the front end if None.

    Example:
        >>> from altuna.encoders.frontends import Pixels
        >>> network = ResNet(Pixels(None, (32, 32, 3)), "resnet18", width=16)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        front_end: Pictures,
        name: str,
        *,
        width: int | None = None,
        stem: int | None = None,
        hog: bool | None = None,
    ) -> None:
        from transformers import ResNetConfig, ResNetModel  # takes half a second

        super().__init__()
        kind, depths = DEPTHS[name]
        channels = front_end.shape[-3]
        coloured = isinstance(front_end, Pixels)
        if hog is None:
            hog = coloured and len(front_end.shape) == 3 and front_end.small and width is None
        if hog and not coloured:
            raise ValueError("hog is for pictures")
        if width is None:
            width = 64 if not front_end.small else 16 if hog else 32
        stem = front_end.stem if stem is None else stem
        if width < 1 or stem not in (1, 2, 4):
            raise ValueError(f"width must be 1 or more and stem 1, 2 or 4, got {width} and {stem}")
        expansion = {"basic": 1, "bottleneck": 4}[kind]
        sizes = [expansion * width * 2**stage for stage in range(4)]
        self.out_features = sizes[-1]
        self.network = ResNetModel(
            ResNetConfig(
                num_channels=channels,
                embedding_size=width,
                hidden_sizes=sizes,
                depths=[*depths],
                layer_type=kind,
            )
        )
        if stem < 4:
            stem_layers = nn.Sequential(
                nn.Conv2d(channels, width, 3, stem, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            self.network.embedder = stem_layers  # type: ignore[assignment]
        # The last stage needs at least 2 x 2 positions, for the batch normalisation of a single row.
        self.min_side = 16 * stem
        # Below 16 channels, the backward pass of oneDNN's strided convolution crashes (PyTorch 2.13).
        self.format = torch.channels_last if width >= 16 else torch.contiguous_format
        self.to(memory_format=self.format)  # type: ignore[call-overload]
        self.branch: HOGBranch | None = None
        if hog:
            assert isinstance(front_end, Pixels)
            mean, std = front_end.mean / 255, front_end.std / 255
            self.branch = HOGBranch(mean, std, *front_end.shape[-2:], out_features=self.out_features)
            self.out_features *= 2

    def forward(self, x: Tensor) -> Tensor:
        fixed = [self.branch(x)] if self.branch else []
        x = x.contiguous(memory_format=self.format)
        lack = [max(0, self.min_side - side) for side in x.shape[2:]]
        if any(lack):
            x = functional.pad(x, (0, lack[1], 0, lack[0]))
        hidden: Tensor = self.network.encoder(self.network.embedder(x)).last_hidden_state
        return torch.cat([hidden.mean(dim=(2, 3)), *fixed], 1)
