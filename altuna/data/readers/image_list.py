"""Decode the pictures of a cell that holds several, with Pillow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from altuna.data.formats.file_lists import split_files
from altuna.data.readers.base import (
    BadCellError,
    InconsistentError,
    Reader,
    UnavailableError,
    check_positive,
    evenly,
    sample,
    silent,
)
from altuna.data.readers.image import ImageReader
from altuna.data.readers.levels import Levels, check_levels
from altuna.options import shown

MAX_PICTURES = 8  # of a row, unless more are asked for
COUNTED = 1000  # cells whose pictures are counted
MAX_NAME = 60  # characters of a file in a note
PERCENTILE = 95  # of the numbers of pictures: a few long lists cost no memory in all other rows


@dataclass(frozen=True)
class ImageListReader(Reader):
    """Decode to uint8 RGB [pictures, size, size, 3]: the pictures of a cell in order, each as ``image`` does.

    Of more pictures, evenly spaced ones are read. Fewer are repeated, each next to itself: the encoders count
    equal neighbours once (``OverTime``). A picture that cannot be read is left out.

    Args:
        pictures: Number of pictures of a cell.
        size: Side in pixels.
        levels: As of ``ImageReader``.

    Example:
        >>> dark, bright = (np.full((6, 4), value, np.uint8) for value in (9, 200))
        >>> ImageListReader(pictures=3, size=2).read([dark, bright])[:, 0, 0, 0].tolist()
        [9, 200, 200]
    """

    pictures: int
    size: int
    levels: Levels = ()

    name = "image_list"
    type = "image_list"
    dtype = np.uint8
    decodes_files = True

    def __post_init__(self) -> None:
        check_levels(self.levels)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.pictures, self.size, self.size, 3)

    @property
    def single(self) -> ImageReader:
        """Return the reader of each picture."""
        return ImageReader(self.size, self.levels)

    @property
    def remark(self) -> str:
        return self.single.remark

    def settings(self) -> dict[str, Any]:
        return {"pictures": self.pictures, **self.single.settings()}

    @classmethod
    def fit(
        cls,
        cells: Sequence[Any],
        *,
        pictures: int | None = None,
        size: int | None = None,
        levels: Sequence[float] | None = None,
    ) -> Self:
        """Choose size and levels as for single pictures; their 95th percentile per cell, at most 8."""
        check_positive(pictures=pictures, size=size)
        # One cell at a time: all at once, pictures within the table may not fit in memory.
        numbers = [len(_parts(cells[i])) for i in range(0, len(cells), -(-len(cells) // COUNTED) or 1)]
        usual = int(np.percentile(numbers or [1], PERCENTILE, method="inverted_cdf"))
        one = ImageReader.fit(
            [part for cell in sample(cells) for part in _parts(cell)], size=size, levels=levels
        )
        return cls(pictures or min(max(usual, 1), MAX_PICTURES), one.size, one.levels)

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        for part in _checked(cell):
            ImageReader.look(part, note)

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        parts = _checked(cell)
        left, read, notes = [*range(len(parts))], dict[int, NDArray[Any]](), dict[int, str]()
        while True:
            chosen = [left[i] for i in evenly(self.pictures, len(left))]
            for i in dict.fromkeys(chosen):
                if i not in read:
                    self._read_one(i, parts[i], read, notes)
            if read.keys() >= {*chosen}:
                break
            left = [i for i in left if i in read or i not in notes]
            if not left:
                of = f"none of its {len(parts)} pictures can be read: " if len(parts) > 1 else ""
                raise BadCellError(of + notes[0].removeprefix("left out: "))
        for i in sorted(notes):
            name = f" ({Path(parts[i]).name[:MAX_NAME]})" if isinstance(parts[i], str | Path) else ""
            note(f"picture {i + 1} of {len(parts)}{name}: {notes[i]}" if len(parts) > 1 else notes[i])
        if len(left) > self.pictures:
            note(f"{self.pictures} of its {len(left)} pictures are read, evenly spaced")
        return np.stack([read[i] for i in chosen])

    def _read_one(self, i: int, part: Any, read: dict[int, NDArray[Any]], notes: dict[int, str]) -> None:
        """Read a picture into ``read``; ``notes`` has why it cannot be read, or remarks on it."""
        remarks: list[str] = []
        try:
            read[i] = self.single.read(part, remarks.append)
        except UnavailableError:  # it may be there at the next attempt: the cell is not stored without it
            raise
        except BadCellError as error:
            remarks = [f"left out: {error}"]
        if remarks:
            notes[i] = "; ".join(remarks)


def _parts(cell: Any) -> list[Any]:
    """Return the pictures of a cell: of a list, a text of several paths, an array [n, H, W, 3], or itself."""
    if isinstance(cell, np.ndarray) and (cell.ndim == 4 or cell.dtype == object):
        return [*cell]
    return split_files(cell)


def _checked(cell: Any) -> list[Any]:
    """Return the pictures of a cell.

    Raises:
        BadCellError: It has none.
        InconsistentError: Something else is among them.
    """
    parts = _parts(cell)
    if not parts:
        raise BadCellError("has no picture: the list is empty")
    for i, part in enumerate(parts, 1):
        if not isinstance(part, str | bytes | Path | np.ndarray | Image.Image):
            kind = type(part).__name__
            raise InconsistentError(f"part {i} of its list is no picture but {kind}: {shown(part)}")
    return parts
