"""Decode images with Pillow."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from altuna.data.readers.base import BadCellError, Reader, check_file, check_positive, sample, silent

# Pillow warns line by line of broken EXIF data and other things, and of large images, which ``check_size``
# rejects.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise its errors go to stderr

_JPEG_END = b"\xff\xd9"  # occurs elsewhere only in a preview, near the start

SIZES = (32, 48, 64, 96, 128, 160, 224)


@dataclass(frozen=True)
class ImageReader(Reader):
    """Decode to uint8 RGB [size, size, 3]: shorter side resized, centre cropped, white where transparent.

    Example:
        >>> grey = np.full((6, 4), 128, np.uint8)
        >>> image = ImageReader(size=2).read(grey)
        >>> image.shape, int(image.max())
        ((2, 2, 3), 128)
    """

    size: int

    name = "image"
    type = "image"
    dtype = np.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.size, 3)

    @classmethod
    def fit(cls, cells: Sequence[Any], *, size: int | None = None) -> Self:
        """Choose the smallest usual size from the median shorter side on, at most 224 pixels."""
        check_positive(size=size)
        return cls(size or usual_size(_side(cell) for cell in sample(cells)))

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        with _open(cell) as image:
            try:
                if image.format != "JPEG" or _JPEG_END not in _tail(Path(cell)):
                    image.load()
            except Exception as error:
                raise _broken(error) from None

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        image = _open(cell)
        if not all(image.size):
            raise BadCellError("has no pixels")
        try:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip
                image = Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return square(image, self.size)
        except Exception as error:
            raise _broken(error) from None


def square(image: Image.Image, size: int) -> NDArray[Any]:
    """Return an image as uint8 [size, size, 3]: shorter side resized, centre cropped.

    Example:
        >>> square(Image.new("RGB", (64, 48)), size=32).shape
        (32, 32, 3)
    """
    return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def usual_size(sides: Iterable[int | None]) -> int:
    """Return the smallest usual size that is not less than the median side; None stands for an unknown one.

    Example:
        >>> usual_size([100, None, 120])
        128
    """
    known = [side for side in sides if side]
    median = int(np.median(known)) if known else SIZES[-1]
    return next((size for size in SIZES if size >= median), SIZES[-1])


def check_size(width: int, height: int) -> None:
    """Raise BadCellError for more pixels than Pillow allows, which may fill the memory.

    Example:
        >>> check_size(1920, 1080)
        >>> check_size(100_000, 100_000)
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.BadCellError: refused, too large: 100000 x 100000 pixels
    """
    if width * height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise BadCellError(f"refused, too large: {width} x {height} pixels")


def _tail(path: Path, size: int = 1024) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(size, path.stat().st_size), os.SEEK_END)
        return file.read()


def _side(cell: Any) -> int | None:
    with suppress(Exception):
        return min(_open(cell).size)
    return None


def _open(cell: Any) -> Image.Image:
    """Open a path, bytes, a Pillow image, or an array [H, W] or [H, W, 3|4] of uint8."""
    try:
        if isinstance(cell, Image.Image):
            return cell
        if isinstance(cell, np.ndarray):
            if cell.dtype != np.uint8 or not (cell.ndim == 2 or (cell.ndim == 3 and cell.shape[2] in (3, 4))):
                got = f"{cell.dtype} {list(cell.shape)}"
                raise BadCellError(f"an image array must be uint8 [H, W], [H, W, 3] or [H, W, 4], got {got}")
            return Image.fromarray(cell)
        if not isinstance(cell, bytes | str | Path):
            raise BadCellError(f"not an image but {type(cell).__name__}")
        image = Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else check_file(cell))
        if image.format in ("EPS", "WMF"):  # programs, which other software would have to run
            raise BadCellError(f"refused: {image.format} is not a picture of pixels")
        check_size(*image.size)  # Pillow only warns of this size, and warnings are not thread-safe
        return image
    except UnidentifiedImageError:
        raise BadCellError("not an image that Pillow can read") from None
    except Exception as error:
        raise _broken(error) from None


def _broken(error: Exception) -> BadCellError:
    """Return the error to raise for a broken image; Pillow's plugins raise exceptions of all types."""
    if isinstance(error, BadCellError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return BadCellError(f"refused, too large: {error}")
    return BadCellError(f"broken image: {str(error) or type(error).__name__}")
