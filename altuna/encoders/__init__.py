"""Build encoders by name: front ends, networks and transforms, with the default of each modality type."""

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
from altuna.encoders.piecewise import PiecewiseLinear
from altuna.encoders.random_convolutions import RandomConvolutions
from altuna.encoders.resnet import DEPTHS, ResNet
from altuna.encoders.series import Inception, StandardiseSeries
from altuna.encoders.series_steps import GRU, SeriesTransformer
from altuna.encoders.series_transforms import SeriesCrop, SeriesNoise, SeriesScaling
from altuna.encoders.tabular import TabularCodes
from altuna.encoders.text import TextBag, TextSmall
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

# The first of each type is its default.
FRONT_ENDS: dict[str, dict[str, Maker]] = {
    "image": {"pixels": Pixels},
    "image_list": {"pixels": Pixels},
    "video": {"pixels": Pixels},
    "audio": {"log_mel": LogMel, "log_stft": LogSTFT, "kaldi_fbank": KaldiFbank},
    "text": {"tokens": Tokens},
    "series": {"standardise": StandardiseSeries},
    "vector": {"piecewise_linear": PiecewiseLinear, "standardise": Standardise},
    "tabular": {"tabular_codes": TabularCodes},
}
_PICTURES: dict[str, Maker] = {name: partial(ResNet, name=name) for name in DEPTHS} | {"vit": ViT}
_M3AE: dict[str, Maker] = {name: partial(M3AEImage, **size) for name, size in SIZES.items()}
_TEXTS: dict[str, Maker] = {name: partial(M3AEText, **size) for name, size in SIZES.items()}
# A network's class may replace the defaults of its type by attributes ``reader`` and ``front_end``.
ENCODERS: dict[str, dict[str, Maker]] = {
    "image": _PICTURES | _M3AE,
    "image_list": _PICTURES | _M3AE,
    "video": _PICTURES | _M3AE,
    "audio": _PICTURES | {"cav_mae": CAVMAE},
    "text": {"text_bag": TextBag, "text_small": TextSmall, **_TEXTS},
    "series": {
        "inception": Inception,
        "gru": GRU,
        "transformer": SeriesTransformer,
        "random_convolutions": RandomConvolutions,
    },
    "vector": {"mlp": MLP},
    "tabular": {"mlp": MLP},
}
_OF_PICTURES: dict[str, type[Transform]] = {
    "random_affine": RandomAffine,
    "random_resized_crop": RandomResizedCrop,
    "flip": Flip,
    "color_jitter": ColorJitter,
}
TRANSFORMS: dict[str, dict[str, type[Transform]]] = {
    "image": _OF_PICTURES,
    "image_list": _OF_PICTURES,
    "video": _OF_PICTURES,
    "audio": {"spec_augment": SpecAugment, "waveform_noise": WaveformNoise},
    "text": {"token_dropout": TokenDropout},
    "series": {"series_noise": SeriesNoise, "series_scaling": SeriesScaling, "series_crop": SeriesCrop},
    "vector": {"vector_noise": VectorNoise},
    "tabular": {"vector_noise": VectorNoise},
}
# Of encoders that are trained from scratch: the first of each type, and of series all.
DEFAULT_TRANSFORMS: dict[str, tuple[str, ...]] = {kind: (next(iter(of)),) for kind, of in TRANSFORMS.items()}
DEFAULT_TRANSFORMS["series"] = tuple(TRANSFORMS["series"])


def reader_of(kind: str, encoder: Mapping[str, Any]) -> tuple[type[Reader], dict[str, Any]]:
    """Return the reader for a modality's type and encoder, and the options of it that the encoder requires.

    Example:
        >>> reader_of("audio", {"name": "cav_mae"})
        (<class 'altuna.data.readers.audio.AudioReader'>, {'rate': 16000, 'seconds': 10.255})
    """
    name = encoder.get("name") or ""
    if name.startswith(HF_PREFIX) and kind in HF_TYPES:
        from altuna.encoders import hf  # imports transformers, which takes half a second

        reader, options = hf.reader_options(kind, name)
        return READERS[reader], options
    options = dict(_attribute(ENCODERS[kind].get(name), "reader", {}))
    return READERS[options.pop("name", kind)], options


def _attribute(make: Maker | None, what: str, default: Any) -> Any:
    """Return an attribute of a network's class."""
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
    """Build an encoder for the cells of a reader.

    Args:
        modality: Name of the modality, for errors.
        reader: The reader of the cells, which has their type and shape.
        name: The network, or ``hf:`` and a hub id or local folder; the default of the type if None.
        transforms: Name of each transform to its options: those of cells are applied first, otherwise in this
            order. If None, the defaults of the type, but none for a pretrained or frozen encoder.
        front_end: Its name, or a mapping with ``name`` and options; the network's or type's default if None.
        lr: Peak learning rate of this encoder; that of the training if None.
        options: Keyword arguments of the network.

    Raises:
        UserError: No such encoder, transform or option for this type; the message has the nearest name.

    Example:
        >>> import torch
        >>> encoder = build("photo", READERS["image"](size=32), "resnet18", width=16)
        >>> encoder(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([2, 128])
    """
    where, kind = f"modality {modality!r}", reader.type
    is_hf = (name or "").startswith(HF_PREFIX)
    if lr is not None and not 0 < lr < math.inf:
        raise UserError(f"{where}: lr must be more than 0, got {lr}")
    name = name or next(iter(ENCODERS[kind]))
    if transforms is None:
        fixed = is_hf or options.get("weights") or _attribute(ENCODERS[kind].get(name), "frozen", False)
        transforms = {} if fixed else {step: {} for step in DEFAULT_TRANSFORMS[kind]}
    apply = partial(_transforms, kind, transforms, f"{where}, transforms")
    if is_hf:
        if front_end is not None:
            raise UserError(
                f"{where}: a Hugging Face encoder has its own front end: remove the option front_end"
            )
        return _build_hf(where, reader, name, apply, lr, options)
    steps, shape = apply(reader.shape)
    front_end = {"name": front_end} if isinstance(front_end, str) else dict(front_end or {})
    network_of = _known(ENCODERS[kind], name, f"{where}: no encoder {name!r} for {kind}")
    check_options(options, network_of, f"{where}, encoder {name!r}", _GIVEN)
    front_name = front_end.pop("name", _attribute(network_of, "front_end", next(iter(FRONT_ENDS[kind]))))
    make = _known(FRONT_ENDS[kind], front_name, f"{where}: no front end {front_name!r} for {kind}")
    check_options(front_end, make, f"{where}, front end {front_name!r}", _GIVEN)
    front: Any = _made(lambda: make(reader, shape, **front_end), f"{where}, front end {front_name!r}")
    network = _made(lambda: network_of(front, **options), f"{where}, encoder {name!r}")
    tail = network.tail() if isinstance(network, RandomConvolutions) else None
    if len(front.shape) == 4:
        network = OverTime(network, distinct=kind == "image_list")
    encoder = Encoder(front, network, steps, tail=tail, lr=lr)
    if options.get("weights"):  # a run saves them with the model
        encoder.saved = {"weights": None}
    return encoder


def _build_hf(
    where: str, reader: Reader, name: str, transforms: Callable[..., Any], lr: float | None, options: Any
) -> Encoder:
    if reader.type not in HF_TYPES:
        types = ", ".join(HF_TYPES)
        raise UserError(f"{where}: a Hugging Face encoder can be of {types}, not of {reader.type}")
    from altuna.encoders import hf

    saved = options.pop("saved", None)
    check_options(options, hf.build, f"{where}, encoder", _GIVEN)
    return hf.build(reader.type, reader, name, transforms, lr, saved=saved, **options)


# Arguments that ``build`` itself passes to what it builds, besides their options.
_GIVEN = ("kind", "reader", "shape", "front_end", "name", "transforms", "lr", "saved")


def _transforms(
    kind: str, stated: Mapping[str, Mapping[str, Any] | None], where: str, shape: tuple[int, ...]
) -> tuple[list[Transform], tuple[int, ...]]:
    """Return the stated transforms, and the shape of a cell after them."""
    steps = []
    for name, options in stated.items():
        make = _known(TRANSFORMS[kind], name, f"{where}: no {name!r} for {kind}")
        check_options(options or {}, make, f"{where}, {name}")
        given = options or {}
        steps.append(_made(partial(make, **given), f"{where}, {name}"))
        shape = steps[-1].shape(shape)
    return steps, shape


def _made(make: Callable[[], Any], where: str) -> Any:
    """Call a constructor; turn its errors about values into UserError."""
    try:
        return make()
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None


def _known(table: Mapping[str, Any], name: str, complaint: str) -> Any:
    if name not in table:
        raise UserError(complaint + nearest(name, table))
    return table[name]


__all__ = [
    "DEFAULT_TRANSFORMS",
    "ENCODERS",
    "FRONT_ENDS",
    "TRANSFORMS",
    "Encoder",
    "Fitted",
    "FrontEnd",
    "build",
    "reader_of",
]
