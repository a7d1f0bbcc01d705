"""The parts of an encoder: front end, transforms, network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altuna.core.modules import are_features

# A Hugging Face model is stated as this and a hub id or local folder; it can encode these types.
HF_PREFIX = "hf:"
FIT_ROWS = 1024  # cells of which a network computes its statistics
HF_TYPES = ("image", "image_list", "video", "text", "audio")
SAME = 1e-3  # of a standardised pixel: less than a level of 256, more than the rounding of floats


class FrontEnd(Protocol):
    """Convert cells of the store to inputs of a network, as a module: on the device, and in exports.

    Its constructor takes the modality's reader, the shape of a cell, and its own options. ``small`` is True
    if a narrow network is enough for its inputs.
    """

    shape: tuple[int, ...]
    small: bool

    def __call__(self, cells: Tensor) -> Tensor:
        """Return inputs [n, *shape] of cells [n, ...]."""


@runtime_checkable
class Fitted(Protocol):
    """A front end or a network with statistics of the training split."""

    def fit(self, values: NDArray[Any]) -> None:
        """Compute the statistics of the training cells, or of the network's inputs, [n, ...]."""


class Transform(nn.Module):
    """Change a batch at random, in training mode only.

    ``stage`` is ``cell`` for transforms before the front end, and ``input`` for those after it.

    Example:
        >>> import torch
        >>> class Invert(Transform):
        ...     stage = "cell"
        ...
        ...     def change(self, x):
        ...         return 255 - x
        >>> Invert()(torch.tensor([0, 255])).tolist(), Invert().eval()(torch.tensor([0, 255])).tolist()
        ([255, 0], [0, 255])
    """

    stage: ClassVar[Literal["cell", "input"]] = "input"

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape after the transform, given the one before."""
        return shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the batch [n, ...], changed in training mode, and as ``keep`` returns it in eval mode."""
        return self.change(x) if self.training else self.keep(x)

    def change(self, x: Tensor) -> Tensor:
        """Return the batch changed at random."""
        raise NotImplementedError

    def keep(self, x: Tensor) -> Tensor:
        """Return the batch for eval mode."""
        return x


class Encoder(nn.Module):
    """Encode cells [n, ...] to features [n, out_features].

    The features of a frozen network are computed only once: ``forward`` accepts them in place of cells, and
    recognises them by ``are_features`` (cells of modalities with frozen networks are integers, or have more
    dimensions).

    Args:
        front_end: Converts cells to inputs.
        network: From inputs [n, *front_end.shape] to features; it has ``out_features``, and ``frozen = True``
            if it is not trained. Networks of pictures encode clips by ``OverTime``.
        transforms: Applied in training mode, before and after the front end.
        tail: Layers that are trained after a frozen network.
        lr: Peak learning rate of this encoder; that of the training if None.

    Example:
        >>> network = nn.Linear(3, 4)
        >>> network.out_features
        4
        >>> import torch
        >>> Encoder(nn.Identity(), network)(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        front_end: nn.Module,
        network: nn.Module,
        transforms: Iterable[Transform] = (),
        *,
        tail: nn.Module | None = None,
        lr: float | None = None,
    ) -> None:
        super().__init__()
        transforms = [*transforms]
        self.cell_transforms = nn.Sequential(*(t for t in transforms if t.stage == "cell"))
        self.front_end = front_end
        self.input_transforms = nn.Sequential(*(t for t in transforms if t.stage == "input"))
        self.network = network
        self.tail = tail or nn.Identity()
        self.lr = lr
        self.frozen = bool(getattr(network, "frozen", False))
        self.feature_size = _size(network)
        self.out_features: int = _size(self.tail) or self.feature_size
        # A frozen network's features depend on this, on its weights and on ``saved``.
        self.depends = ""
        # Options in ``config.json`` with which the encoder is built again without its source.
        self.saved: dict[str, Any] = {}

    @property
    def fixed(self) -> bool:
        """Return whether the ``features`` of a cell are the same each time, so that they can be stored."""
        return self.frozen and not len(self.cell_transforms) and not len(self.input_transforms)

    @property
    def fitted(self) -> bool:
        """Return whether the front end or the network has statistics of the training split."""
        return isinstance(self.front_end, Fitted) or isinstance(self.network, Fitted)

    @torch.no_grad()
    def fit(self, cells: NDArray[Any]) -> None:
        """Compute the statistics of the training cells [n, ...]; those of the network, of some of them."""
        if isinstance(self.front_end, Fitted):
            self.front_end.fit(cells)
        if isinstance(self.network, Fitted):
            some = torch.from_numpy(np.ascontiguousarray(cells[:: -(-len(cells) // FIT_ROWS)]))
            self.network.fit(self.front_end(some).numpy())

    def features(self, cells: Tensor) -> Tensor:
        """Return the network's features of cells [n, ...]."""
        inputs = self.input_transforms(self.front_end(self.cell_transforms(cells)))
        features: Tensor = self.network(inputs)
        return features

    def stored(self, cells: Tensor) -> Tensor:
        """Return what is stored of cells [n, ...]: a frozen network's features, or the cells as they are."""
        return self.features(cells) if self.frozen and not are_features(cells) else cells

    def forward(self, cells: Tensor) -> Tensor:
        """Return features [n, out_features] of cells [n, ...], or of a frozen network's features."""
        features: Tensor = self.tail(self.stored(cells) if self.frozen else self.features(cells))
        return features


class OverTime(nn.Module):
    """Apply a network of pictures to each frame of clips [n, T, ...]; average the features over time.

    Args:
        network: Encodes pictures.
        distinct: Count equal neighbours once: lists of fewer than T pictures are filled up by repeating them.

    Example:
        >>> import torch
        >>> OverTime(nn.Linear(3, 4))(torch.zeros(2, 5, 3)).shape  # two clips of five frames
        torch.Size([2, 4])
        >>> number = nn.Identity()
        >>> number.out_features = 1
        >>> pictures = torch.tensor([[[1.0], [4.0], [4.0]]])  # two pictures, the second is repeated
        >>> OverTime(number)(pictures).item(), OverTime(number, distinct=True)(pictures).item()
        (3.0, 2.5)
    """

    def __init__(self, network: nn.Module, *, distinct: bool = False) -> None:
        super().__init__()
        self.network, self.out_features, self.distinct = network, _size(network), distinct
        self.frozen = getattr(network, "frozen", False)

    def forward(self, clips: Tensor) -> Tensor:
        features: Tensor = self.network(clips.flatten(0, 1))
        features = features.view(*clips.shape[:2], -1)
        if not self.distinct or clips.shape[1] == 1:
            return features.mean(1)
        differs = (clips[:, 1:] - clips[:, :-1]).abs().flatten(2).amax(2, keepdim=True) > SAME
        weights = torch.cat([torch.ones_like(features[:, :1, :1]), differs.to(features)], 1)
        return (features * weights).sum(1) / weights.sum(1)


def _size(network: nn.Module) -> int:
    size = getattr(network, "out_features", 0)
    assert isinstance(size, int)
    return size
