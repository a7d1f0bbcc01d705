"""What is asked of modules, and done to them, whatever they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, without gradients; afterwards every module is in its mode of before.

    Example:
        >>> layer = nn.Dropout()
        >>> with eval_mode(layer):
        ...     print(layer.training)
        False
        >>> layer.training
        True
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def feature_size(modality: str, encoder: nn.Module) -> int:
    """Find an encoder's feature size: its ``out_features``, or that of the last layer of a Sequential.

    Raises:
        ValueError: It has none.

    Example:
        >>> feature_size("audio", nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
        4
    """
    for module in reversed(list(encoder) if isinstance(encoder, nn.Sequential) else [encoder]):
        if isinstance(module, nn.Sequential):
            return feature_size(modality, module)
        if isinstance(size := getattr(module, "out_features", None), int):
            return size
        if any(True for _ in module.parameters()):
            break
    raise ValueError(
        f"the encoder of {modality!r} has no out_features: give feature_sizes={{{modality!r}: d}}"
    )


def are_features(x: Tensor) -> bool:
    """Return whether a tensor has stored features [n, d], not cells of a modality with a frozen encoder.

    Such cells are integers, or have more dimensions.

    Example:
        >>> are_features(torch.zeros(2, 3)), are_features(torch.zeros(2, 50, 3))
        (True, False)
    """
    return x.is_floating_point() and x.dim() == 2


def stored(encoder: nn.Module, cells: Tensor) -> Tensor:
    """Return what an encoder stores of cells [n, ...] by its method ``stored``, or the cells as they are.

    Example:
        >>> stored(nn.Linear(3, 4), torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """
    kept: Tensor = encoder.stored(cells) if hasattr(encoder, "stored") else cells  # type: ignore[operator]
    return kept
