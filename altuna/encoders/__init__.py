"""Encoders by name, and the default of each modality type."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from altuna.data.readers import READERS, Reader
from altuna.encoders.base import HF_PREFIX, HF_TYPES, Encoder, Fitted, FrontEnd, OverTime, Transform
from altuna.encoders.cav_mae import CAVMAE
from altuna.encoders.frontends import KaldiFbank, LogMel, LogSTFT, Pixels, Standardise, Tokens
from altuna.encoders.m3ae import SIZES, M3AEImage, M3AEText
from altuna.encoders.mlp import MLP
from altuna.encoders.resnet import DEPTHS, ResNet
from altuna.encoders.text import TextSmall
from altuna.encoders.transforms import (
    ColorJitter,
    Flip,
    RandomAffine,
    RandomResizedCrop,
    SpecAugment,
    TokenDropout,
    VectorNoise,
    WaveformNoise,
)
from altuna.encoders.vit import ViT
from altuna.errors import UserError
from altuna.options import check_options, nearest

Maker = Callable[..., nn.Module]

# The first of a type is its default.
FRONT_ENDS: dict[str, dict[str, Maker]] = {
    "image": {"pixels": Pixels},
    "video": {"pixels": Pixels},
    "audio": {"log_mel": LogMel, "log_stft": LogSTFT, "kaldi_fbank": KaldiFbank},
    "text": {"tokens": Tokens},
    "vector": {"standardise": Standardise},
}
_PICTURES: dict[str, Maker] = {name: partial(ResNet, name=name) for name in DEPTHS} | {"vit": ViT}
_M3AE: dict[str, Maker] = {name: partial(M3AEImage, **size) for name, size in SIZES.items()}
_TEXTS: dict[str, Maker] = {name: partial(M3AEText, **size) for name, size in SIZES.items()}
# A network's class says with ``reader`` and ``front_end`` what it wants in place of its type's default.
ENCODERS: dict[str, dict[str, Maker]] = {
    "image": _PICTURES | _M3AE,
    "video": _PICTURES | _M3AE,
    "audio": _PICTURES | {"cav_mae": CAVMAE},
    "text": {"text_small": TextSmall, **_TEXTS},
    "vector": {"mlp": MLP},
}
_OF_PICTURES: dict[str, type[Transform]] = {
    "random_affine": RandomAffine,
    "random_resized_crop": RandomResizedCrop,
    "flip": Flip,
    "color_jitter": ColorJitter,
}
# The first of a type is what it gets when nothing is stated and its encoder is trained from scratch.
TRANSFORMS: dict[str, dict[str, type[Transform]]] = {
    "image": _OF_PICTURES,
    "video": _OF_PICTURES,
    "audio": {"spec_augment": SpecAugment, "waveform_noise": WaveformNoise},
    "text": {"token_dropout": TokenDropout},
    "vector": {"vector_noise": VectorNoise},
}


def reader_of(kind: str, encoder: Mapping[str, Any]) -> tuple[type[Reader], dict[str, Any]]:
    """Return the reader that a modality's type and encoder want, and the options that the encoder states."""
    name = encoder.get("name") or ""
    if name.startswith(HF_PREFIX) and kind in HF_TYPES:
        from altuna.encoders import hf  # imports transformers, which takes half a second

        reader, options = hf.reader_options(kind, name)
        return READERS[reader], options
    options = dict(_wish(ENCODERS[kind].get(name), "reader", {}))
    return READERS[options.pop("name", kind)], options


def _wish(make: Maker | None, what: str, default: Any) -> Any:
    """Return what a network's class wants."""
    return getattr(getattr(make, "func", make), what, default)


def build(
    modality: str,
    reader: Reader,
    name: str | None = None,
    *,
    transforms: Mapping[str, Mapping[str, Any] | None] | None = None,
    front_end: str | Mapping[str, Any] | None = None,
    lr: float | None = None,
    **options: Any,
) -> Encoder:
    """Build an encoder for what ``reader`` gives.

    Args:
        modality: Its name, for error messages.
        reader: Says the type and shape of the cells.
        name: The network, or ``hf:`` and a hub id or local folder; the type's default when None.
        transforms: Names of transforms to their options; those of cells come first, else in their order. The
            type's default when None, or none for a pretrained encoder.
        front_end: Its name, or a mapping of ``name`` and options; the network's or type's default when None.
        lr: The encoder's own highest learning rate.
        options: Keyword arguments of the network.

    Raises:
        UserError: No such encoder, transform or option for this type (the nearest name is given).
    """
    where, kind = f"modality {modality!r}", reader.type
    is_hf = (name or "").startswith(HF_PREFIX)
    if lr is not None and not 0 < lr < math.inf:
        raise UserError(f"{where}: lr must be more than 0, got {lr}")
    if transforms is None:
        transforms = {} if is_hf or options.get("weights") else {next(iter(TRANSFORMS[kind])): {}}
    apply = partial(_transforms, kind, transforms, f"{where}, transforms")
    if is_hf:
        if kind not in HF_TYPES:
            raise UserError(f"{where}: a Hugging Face encoder takes {', '.join(HF_TYPES)}, not {kind}")
        if front_end is not None:
            raise UserError(f"{where}: a Hugging Face encoder has its own front end")
        from altuna.encoders import hf

        saved = options.pop("saved", None)
        check_options(options, hf.build, f"{where}, encoder", _GIVEN)
        return hf.build(kind, reader, str(name), apply, lr, saved=saved, **options)
    steps, shape = apply(reader.shape)
    front_end = {"name": front_end} if isinstance(front_end, str) else dict(front_end or {})
    name = name or next(iter(ENCODERS[kind]))
    network_of = _known(ENCODERS[kind], name, f"{where}: no encoder {name!r} for {kind}")
    check_options(options, network_of, f"{where}, encoder {name!r}", _GIVEN)
    front_name = front_end.pop("name", _wish(network_of, "front_end", next(iter(FRONT_ENDS[kind]))))
    make = _known(FRONT_ENDS[kind], front_name, f"{where}: no front end {front_name!r} for {kind}")
    check_options(front_end, make, f"{where}, front end {front_name!r}", _GIVEN)
    front: Any = _made(lambda: make(reader, shape, **front_end), f"{where}, front end {front_name!r}")
    network = _made(lambda: network_of(front, **options), f"{where}, encoder {name!r}")
    encoder = Encoder(front, OverTime(network) if len(front.shape) == 4 else network, steps, lr=lr)
    if options.get("weights"):  # a saved run has them itself
        encoder.saved = {"weights": None}
    return encoder


# What ``build`` gives to what it builds, beside their options.
_GIVEN = ("kind", "reader", "shape", "front_end", "name", "transforms", "lr", "saved")


def _transforms(
    kind: str, stated: Mapping[str, Mapping[str, Any] | None], where: str, shape: tuple[int, ...]
) -> tuple[list[Transform], tuple[int, ...]]:
    """Build the transforms stated; return them with the shape that they make of a cell's."""
    steps = []
    for name, options in stated.items():
        make = _known(TRANSFORMS[kind], name, f"{where}: no {name!r} for {kind}")
        check_options(options or {}, make, f"{where}, {name}")
        given = options or {}
        steps.append(_made(partial(make, **given), f"{where}, {name}"))
        shape = steps[-1].shape(shape)
    return steps, shape


def _made(make: Callable[[], Any], where: str) -> Any:
    """Call a constructor; its complaint of a value is the user's mistake."""
    try:
        return make()
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None


def _known(table: Mapping[str, Any], name: str, complaint: str) -> Any:
    if name not in table:
        raise UserError(complaint + nearest(name, table))
    return table[name]


__all__ = [
    "ENCODERS",
    "FRONT_ENDS",
    "TRANSFORMS",
    "Encoder",
    "Fitted",
    "FrontEnd",
    "build",
    "reader_of",
]
