"""What all encoders are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor, nn

# A Hugging Face model is stated as this and a hub id or local folder; it can encode these types.
HF_PREFIX = "hf:"
HF_TYPES = ("image", "video", "text", "audio")


class FrontEnd(Protocol):
    """From what the store holds to what a network takes: a module, so that it runs on the device and exports.

    Its constructor takes the modality's reader, the shape of a cell and its own options.
    """

    shape: tuple[int, ...]
    small: bool

    def __call__(self, cells: Tensor) -> Tensor:
        """From cells [n, ...] to inputs [n, *shape]; ``small`` says that a narrow network will do."""


@runtime_checkable
class Fitted(Protocol):
    """A front end that takes statistics of the training split before training."""

    def fit(self, values: NDArray[Any]) -> None:
        """Look at the prepared training cells [n, ...]."""


class Transform(nn.Module):
    """A random change of a batch, in training mode only.

    ``stage`` says what it changes: the ``cell`` that the store holds, or the ``input`` that the front end
    makes of it.
    """

    stage: ClassVar[Literal["cell", "input"]] = "input"

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what a cell of ``shape`` becomes."""
        return shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the batch [n, ...] changed in training mode, else as it is in use."""
        return self.change(x) if self.training else self.keep(x)

    def change(self, x: Tensor) -> Tensor:
        """Return the batch changed by random draws."""
        raise NotImplementedError

    def keep(self, x: Tensor) -> Tensor:
        """Return the batch as it is in use."""
        return x


class Encoder(nn.Module):
    """Cells [n, ...] to features [n, out_features].

    Args:
        front_end: Makes inputs of cells.
        network: From inputs [n, *front_end.shape] to features; has ``out_features``. A clip's inputs have one
            dimension more than the network takes: its frames' features are averaged over time.
        transforms: In training, before and after the front end.
        tail: Trained after a frozen network, which says with ``frozen = True`` that it is one.
        lr: Its own highest learning rate; the training's when None.

    A frozen network's features need computing only once: ``forward`` takes them in place of cells, which it
    tells by their being floating-point numbers (cells of modalities that can be frozen are whole numbers).
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
        # What a frozen network's features depend on besides its weights and ``saved``.
        self.depends = ""
        # What ``config.json`` has to say so that the encoder is built again without its source.
        self.saved: dict[str, Any] = {}

    @property
    def fixed(self) -> bool:
        """Whether a cell's ``features`` are the same each time, so that they can be stored."""
        return self.frozen and not len(self.cell_transforms) and not len(self.input_transforms)

    def features(self, cells: Tensor) -> Tensor:
        """Return the network's features of cells [n, ...]."""
        inputs = self.input_transforms(self.front_end(self.cell_transforms(cells)))
        features: Tensor = self.network(inputs)
        return features

    def forward(self, cells: Tensor) -> Tensor:
        """Return features [n, out_features] of cells [n, ...], or of a frozen network's features."""
        stored = self.frozen and cells.is_floating_point()
        features: Tensor = self.tail(cells if stored else self.features(cells))
        return features


class OverTime(nn.Module):
    """A network of pictures applied to every frame of clips [n, T, ...], its features averaged over time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.out_features = network, _size(network)
        self.frozen = getattr(network, "frozen", False)

    def forward(self, clips: Tensor) -> Tensor:
        features: Tensor = self.network(clips.flatten(0, 1))
        return features.view(*clips.shape[:2], -1).mean(1)


def _size(network: nn.Module) -> int:
    size = getattr(network, "out_features", 0)
    assert isinstance(size, int)
    return size
