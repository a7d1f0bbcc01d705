"""Encoders by name, and the default of each modality type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import nn

from altuna.data.readers import Reader
from altuna.encoders.mlp import MLP
from altuna.encoders.resnet import DEPTHS, AudioEncoder, ImageEncoder
from altuna.encoders.text import TextSmall
from altuna.errors import UserError
from altuna.options import check_options, nearest


@runtime_checkable
class Fitted(Protocol):
    """An encoder that takes statistics of the training split before training."""

    def fit(self, values: NDArray[Any]) -> None:
        """Look at the prepared training cells [n, ...]."""


# The first of a type is its default.
ENCODERS: dict[str, dict[str, Callable[..., nn.Module]]] = {
    "image": {name: partial(ImageEncoder, name=name) for name in DEPTHS},
    "audio": {name: partial(AudioEncoder, name=name) for name in DEPTHS},
    "text": {"text_small": TextSmall},
    "vector": {"mlp": MLP},
}


def build(modality: str, reader: Reader, name: str | None = None, **options: Any) -> nn.Module:
    """Build an encoder for what ``reader`` gives.

    Args:
        modality: Its name, for error messages.
        reader: Says the type and shape of the input.
        name: The encoder; the type's default when None.
        options: Keyword arguments of the encoder.

    Raises:
        UserError: No such encoder or option for this type (the nearest name is given).
    """
    known = ENCODERS[reader.type]
    name = name or next(iter(known))
    if name not in known:
        raise UserError(f"modality {modality!r}: no encoder {name!r} for {reader.type}{nearest(name, known)}")
    check_options(options, known[name], f"modality {modality!r}, encoder {name!r}", ("reader", "name"))
    return known[name](reader, **options)
