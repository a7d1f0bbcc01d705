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

from altuna.data.readers.base import (
    TOO_MUCH,
    BadCellError,
    Reader,
    check_file,
    check_positive,
    sample,
    silent,
)
from altuna.data.readers.levels import Levels, check_levels, column_levels, scaled, some_values
from altuna.data.readers.limits import within_limits

# Pillow warns line by line of broken EXIF data and other things, and of large images, which ``check_size``
# rejects.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise its errors go to stderr

_JPEG_END = b"\xff\xd9"  # occurs elsewhere only in a preview, near the start
_JPEG_SCAN = b"\xff\xda"
MAX_SCANS = 100

DEEP = ("I", "F")  # modes of more than 8 bits begin with these
DARK = 64  # of 256: the upper 2 of 16 bits are empty
MIN_SIDE = 8  # of an array that is taken for a grey picture
PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
SIZES = (32, 48, 64, 96, 128, 160, 224)


@dataclass(frozen=True)
class ImageReader(Reader):
    """Decode to uint8 RGB [size, size, 3]: shorter side resized, centre cropped, white where transparent.

    Args:
        size: Side in pixels.
        levels: The values that become 0 and 255 in pictures of more than 8 bits, signed or float ("deep"); by
            the picture itself, with a note, if there are none.

    Example:
        >>> grey = np.full((6, 4), 128, np.uint8)
        >>> image = ImageReader(size=2).read(grey)
        >>> image.shape, int(image.max())
        ((2, 2, 3), 128)
    """

    size: int
    levels: Levels = ()

    name = "image"
    type = "image"
    dtype = np.uint8
    decodes_files = True

    def __post_init__(self) -> None:
        check_levels(self.levels)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.size, 3)

    @property
    def remark(self) -> str:
        if not self.levels:
            return ""
        return "in pictures of more than 8 bits, {:.6g} to {:.6g} are scaled to 0 to 255".format(*self.levels)

    def settings(self) -> dict[str, Any]:
        # Without deep pictures, those of earlier versions: their stores and runs stay valid.
        return {"size": self.size, **({"levels": [*self.levels]} if self.levels else {})}

    @classmethod
    def fit(
        cls, cells: Sequence[Any], *, size: int | None = None, levels: Sequence[float] | None = None
    ) -> Self:
        """Choose levels, and the smallest usual size from the median shorter side on, at most 224 pixels."""
        check_positive(size=size)
        some = sample(cells)
        if levels is None:
            deep = within_limits(_deep, some)
            levels = column_levels([values for values in deep if values is not None])
        check_levels(levels)
        return cls(size or usual_size(within_limits(_side, some)), tuple(map(float, levels)))

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        with _open(cell) as image:
            try:
                if image.format != "JPEG" or _JPEG_END not in _tail(Path(cell)):
                    image.load()
            except Exception as error:
                raise _broken(error) from None

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        if isinstance(cell, np.ndarray) and cell.dtype != np.uint8 and cell.size:
            cell = scaled(_checked(cell), self.levels, note)
        image = _open(cell)
        if not all(image.size):
            raise BadCellError("has no pixels")
        deep = image.mode.startswith(DEEP)
        deep_colours = not deep and any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        try:
            image = ImageOps.exif_transpose(image)
            if deep:  # Pillow's own conversion would clip
                image = Image.fromarray(scaled(np.asarray(image), self.levels, note))
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            elif deep_colours and (top := int(np.asarray(image).max())) < DARK:
                note(f"its colours of 16 bits are read by their upper 8 bits: at most {top} of 255")
            pixels = square(image, self.size)
            note_blank(pixels, note)
            return pixels
        except Exception as error:
            raise _broken(error) from None


def is_picture(value: object) -> bool:
    """Return whether a value in Python is a picture: of Pillow, or an array of uint8 as pictures are.

    Example:
        >>> [is_picture(np.zeros(shape, np.uint8)) for shape in ((8, 8), (8, 8, 3), (8, 2), (8, 8, 5))]
        [True, True, False, False]
    """
    if not isinstance(value, np.ndarray):
        return isinstance(value, Image.Image)
    channels = value.shape[2:] in ((3,), (4,)) or (value.ndim == 2 and min(value.shape) >= MIN_SIDE)
    return value.dtype == np.uint8 and channels


def encoded(picture: Image.Image | NDArray[Any]) -> bytes:
    """Return a picture as the content of a file without loss: PNG, or TIFF if PNG has no such pixels.

    Raises:
        BadCellError: It cannot be read.

    Example:
        >>> encoded(np.zeros((8, 8, 3), np.uint8))[1:4]
        b'PNG'
    """
    content = io.BytesIO()
    try:
        image = ImageOps.exif_transpose(_open(picture))
        image = image.convert("RGB") if image.mode == "HSV" else image
        if image.mode in PNG_MODES:
            image.save(content, "PNG", compress_level=1)
        else:
            image.save(content, "TIFF")
    except Exception as error:
        raise _broken(error) from None
    return content.getvalue()


def note_blank(pixels: NDArray[Any], note: Callable[[str], None]) -> None:
    """Call ``note`` if all pixels have the same colour.

    Example:
        >>> note_blank(np.full((4, 4, 3), 255, np.uint8), print)
        is all of one colour: 255, 255, 255
    """
    first = pixels.reshape(-1, pixels.shape[-1])[0]
    if (pixels == first).all():
        note(f"is all of one colour: {', '.join(map(str, first.tolist()))}")


def square(image: Image.Image, size: int) -> NDArray[Any]:
    """Return an image as uint8 [size, size, 3]: shorter side resized, centre cropped.

    Example:
        >>> square(Image.new("RGB", (64, 48)), size=32).shape
        (32, 32, 3)
    """
    image = image if image.mode == "RGB" else image.convert("RGB")  # which copies
    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


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


def _check_scans(jpeg: bytes) -> None:
    """Raise BadCellError for a progressive JPEG that refines its pixels over and over, for minutes."""
    scans = jpeg.count(_JPEG_SCAN)
    if scans > MAX_SCANS:
        raise BadCellError(f"refused: a JPEG of {scans} scans, where about 10 are usual")


def _tail(path: Path, size: int = 1024) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(size, path.stat().st_size), os.SEEK_END)
        return file.read()


def _side(cell: Any) -> int | None:
    with suppress(Exception):
        return min(cell.shape[:2] if isinstance(cell, np.ndarray) else _open(cell).size)
    return None


def _deep(cell: Any) -> NDArray[Any] | None:
    """Return values of a picture that is deep, None of others and of those that cannot be read."""
    with suppress(Exception):
        if isinstance(cell, np.ndarray):
            return None if cell.dtype == np.uint8 else some_values(_checked(cell))
        image = _open(cell)
        return some_values(np.asarray(image)) if image.mode.startswith(DEEP) else None
    return None


def _checked(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that is a picture: [H, W] or [H, W, 3] of numbers, or [H, W, 4] of uint8."""
    channels = array.shape[2:] in ((), (3,)) or (array.dtype == np.uint8 and array.shape[2:] == (4,))
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or not channels:
        got = f"{array.dtype} {list(array.shape)}"
        raise BadCellError(f"an image array must be [H, W], [H, W, 3] or uint8 [H, W, 4], got {got}")
    return array


def _open(cell: Any) -> Image.Image:
    """Open a path, bytes, a Pillow image, or an array of uint8."""
    try:
        if isinstance(cell, Image.Image):
            return cell
        if isinstance(cell, np.ndarray):
            return Image.fromarray(_checked(cell))
        if not isinstance(cell, bytes | str | Path):
            raise BadCellError(f"not an image but {type(cell).__name__}")
        image = Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else check_file(cell))
        if image.format in ("EPS", "WMF"):  # programs, which other software would have to run
            raise BadCellError(f"refused: {image.format} is not a picture of pixels")
        if image.info.get("progressive"):
            _check_scans(cell if isinstance(cell, bytes) else Path(cell).read_bytes())
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
    if isinstance(error, MemoryError):
        return BadCellError(TOO_MUCH)
    if isinstance(error, Image.DecompressionBombError):
        return BadCellError(f"refused, too large: {error}")
    return BadCellError(f"broken image: {str(error) or type(error).__name__}")
