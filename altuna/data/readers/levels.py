"""Scale pictures of more than 8 bits, signed or float, to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers.base import BadCellError
from altuna.errors import UserError
from altuna.options import shown

BITS = (8, 10, 12, 14, 16, 24, 32)  # that cameras and scanners have
TAIL = 0.1  # percent of the values that may be beyond the levels of a column, at each end
VALUES = 4096  # of a picture that count for them
MUCH = 0.5  # of a picture beyond the levels
Levels = tuple[float, ...]  # the values that become 0 and 255


def check_levels(levels: Sequence[float]) -> None:
    """Raise UserError for levels that are not two increasing numbers; () stands for none.

    Example:
        >>> check_levels((0.0, 4095.0))
        >>> check_levels((1.0, 1.0))
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: levels must be two increasing numbers, got [1.0, 1.0]
    """
    numbers = [*levels]
    fit = len(numbers) == 2 and all(isinstance(n, int | float) for n in numbers)
    if numbers and not (fit and -np.inf < numbers[0] < numbers[1] < np.inf):
        raise UserError(f"levels must be two increasing numbers, got {shown(numbers)}")


def column_levels(pictures: Sequence[NDArray[Any]]) -> Levels:
    """Return the levels of a column: the range of the values of its pictures, without the outermost ones.

    Example:
        >>> column_levels([np.arange(100, 4100, dtype=np.uint16).reshape(40, 100)])
        (104.0, 4095.0)
        >>> column_levels([])  # no deep pictures
        ()
    """
    some = [values for picture in pictures if len(values := some_values(picture))]
    if not some:
        return ()
    values = np.concatenate(some).astype(np.float64)
    low, high = np.percentile(values, [TAIL, 100 - TAIL], method="nearest").tolist()
    if low == high:  # most pixels have one value
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else ()


def some_values(picture: NDArray[Any]) -> NDArray[Any]:
    """Return up to ``VALUES`` finite values of a picture, evenly spaced.

    Example:
        >>> some_values(np.arange(3 * VALUES).reshape(3, VALUES)).tolist()[:3]
        [0, 3, 6]
    """
    values = _known(picture)
    return values[:: -(-len(values) // VALUES) or 1]


def own_levels(picture: NDArray[Any]) -> Levels:
    """Return the levels of a picture whose column has none: by its bit depth, or by its own range.

    Example:
        >>> own_levels(np.array([[0, 3000]], np.uint16)), own_levels(np.array([[0.0, 0.5]]))
        ((0.0, 4095.0), (0.0, 1.0))
        >>> own_levels(np.array([[-1000, 1000]], np.int16))
        (-1000.0, 1000.0)
    """
    values = _known(picture)
    low, high = float(values.min()), float(values.max())
    tops = [2.0**bits - 1 for bits in BITS] if picture.dtype.kind in "iu" else [1.0, 255.0]
    if low >= 0 and high <= tops[-1]:
        return 0.0, next(top for top in tops if high <= top)
    return low, high if low < high else low + 1


def scaled(picture: NDArray[Any], levels: Levels, note: Callable[[str], None]) -> NDArray[np.uint8]:
    """Return a picture as uint8: ``levels`` become 0 and 255, those of the picture itself if there are none.

    Example:
        >>> scaled(np.array([[0, 2000, 4000]], np.uint16), (0.0, 4000.0), print).tolist()
        [[0, 128, 255]]
        >>> scaled(np.array([[0.0, 1.0]]), (), print).tolist()
        float64 pixels from 0 to 1: 0 to 1 scaled to 0 to 255
        [[0, 255]]
    """
    values = _known(picture)
    if not len(values):
        raise BadCellError("has no pixel with a finite value")
    low, high = levels or own_levels(picture)
    found = f"{picture.dtype} pixels from {values.min():.6g} to {values.max():.6g}"
    if not levels:
        note(f"{found}: {low:.6g} to {high:.6g} scaled to 0 to 255")
    if len(values) < picture.size:
        note(f"{picture.size - len(values):,} of its pixels are not finite: black")
    beyond = float(np.mean((values < low) | (values > high)))
    if beyond > MUCH:
        note(f"{beyond:.0%} of its pixels are clipped: {found}, the levels are {low:.6g} to {high:.6g}")
    with np.errstate(invalid="ignore", over="ignore"):
        unit = (picture.astype(np.float64) - low) / (high - low)
        grey = np.nan_to_num(np.rint(255 * np.clip(unit, 0, 1)), nan=0).astype(np.uint8)
    if 0 < grey.min() == grey.max() < 255:  # others are noted of all pictures
        note(f"{found} become one value: the levels are {low:.6g} to {high:.6g}")
    return grey


def _known(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the finite values [n]."""
    values = picture.ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values
