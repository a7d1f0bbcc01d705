"""ResNet for pictures and spectrograms (He et al., 2016), by transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ResNetConfig, ResNetModel

from altuna.data.readers.audio import AudioReader
from altuna.data.readers.image import ImageReader
from altuna.encoders.augment import RandomAffine, SpecAugment
from altuna.encoders.frontends import ImageFrontEnd, LogMel

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


class ResNet(nn.Module):
    """A ResNet of basic blocks: [n, channels, H, W] to [n, 8 * width].

    Args:
        channels: Of the input.
        name: ``resnet18`` or ``resnet34``.
        width: Channels of the first stage (64 in the paper).
        stem: What the stem divides the resolution by: 4 for the paper's (7 x 7 and pooling); 1 or 2 for
            a 3 x 3 convolution, as usual for small pictures.
    """

    def __init__(self, channels: int, name: str, width: int, stem: int) -> None:
        super().__init__()
        self.out_features = 8 * width
        self.network = ResNetModel(
            ResNetConfig(
                num_channels=channels,
                embedding_size=width,
                hidden_sizes=[width, 2 * width, 4 * width, 8 * width],
                depths=list(DEPTHS[name]),
                layer_type="basic",
            )
        )
        if stem < 4:
            stem_layers = nn.Sequential(
                nn.Conv2d(channels, width, 3, stem, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            self.network.embedder = stem_layers  # type: ignore[assignment]
        # So that the last stage has at least 2 x 2 positions: batch normalisation of a single row needs them.
        self.least = 16 * stem
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        lack = [max(0, self.least - side) for side in x.shape[2:]]
        if any(lack):
            x = functional.pad(x, (0, lack[1], 0, lack[0]))
        hidden: Tensor = self.network.encoder(self.network.embedder(x)).last_hidden_state
        return hidden.mean(dim=(2, 3))


class ImageEncoder(nn.Sequential):
    """Pixels [n, 3, H, W] to features, by way of random affine transforms in training.

    Args:
        reader: The reader whose pictures come.
        name: ``resnet18`` or ``resnet34``.
        width: Channels of the first stage; 64 for pictures above 64 pixels, 32 for smaller ones when None.
        degrees, scale, shift, flip: See ``RandomAffine``.
    """

    def __init__(
        self,
        reader: ImageReader,
        name: str = "resnet18",
        *,
        width: int | None = None,
        degrees: float = 10.0,
        scale: float = 0.2,
        shift: float = 0.1,
        flip: bool = False,
    ) -> None:
        size = reader.size
        stem = 2 if size <= 64 else 4
        network = ResNet(3, name, width or (32 if size <= 64 else 64), stem)
        super().__init__(ImageFrontEnd(), RandomAffine(degrees, scale, shift, flip), network)
        self.out_features = network.out_features


class AudioEncoder(nn.Sequential):
    """Waveforms [n, T] to features, by way of a log-mel spectrogram, with SpecAugment in training.

    Args:
        reader: The reader whose recordings come.
        name: ``resnet18`` or ``resnet34``.
        width: Channels of the first stage; 64 for recordings above 2 s, 32 for shorter ones when None.
        mels: Mel bands.
        frequency, time: See ``SpecAugment``.
    """

    def __init__(
        self,
        reader: AudioReader,
        name: str = "resnet18",
        *,
        width: int | None = None,
        mels: int = 64,
        frequency: float = 0.2,
        time: float = 0.2,
    ) -> None:
        network = ResNet(1, name, width or (32 if reader.seconds <= 2 else 64), 4)
        super().__init__(LogMel(reader.rate, mels), SpecAugment(frequency, time), network)
        self.out_features = network.out_features
