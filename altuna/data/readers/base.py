"""The reader contract: from a cell to an array of a fixed shape."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from altuna.errors import UserError

_FRAGMENT = re.compile(r"#(?=t=|xywh=)(?:t=(?P<t>[\d.,]*))?(?:(?:(?<=#)|&)xywh=percent:(?P<xywh>[\d.,]*))?$")
WHOLE: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)  # the box that is the whole picture


class BadCellError(Exception):
    """A cell that cannot be read; the message says why and becomes a line of ``problems.csv``."""


class NotFiniteError(BadCellError):
    """A vector with NaN or infinite numbers: an error in the data rather than a cell to do without."""


class UnavailableError(BadCellError):
    """A cell that cannot be had just now, for a reason that is not its own: the next attempt may succeed."""


def silent(note: str) -> None:
    """Say nothing."""


class Reader:
    """Turns a cell (a path, bytes, an array or a text) into an array of ``shape`` and ``dtype``.

    A reader is a frozen dataclass whose fields are its settings: they key the prepared store and are saved
    with the model. ``fit`` chooses the settings that nobody stated, by looking at training cells. ``name`` is
    its own, ``type`` that of the modalities it reads.
    """

    name: ClassVar[str]
    type: ClassVar[str]
    dtype: ClassVar[Any]
    # From training cells and the settings stated, as keyword arguments, to a reader. A cell that cannot be
    # looked at is passed over: what is wrong with it is told when it is read.
    fit: ClassVar[Callable[..., Reader]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every array that ``read`` returns."""
        raise NotImplementedError

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        """Return the cell's array; raise BadCellError if it cannot be read.

        Args:
            cell: A path (or, except for texts, its string), bytes, an array or a text.
            note: Called with what is worth knowing about a cell that was read.
        """
        raise NotImplementedError

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        """Raise BadCellError for a cell of which it is seen without decoding it that it cannot be read.

        Args:
            cell: A path or, for texts, the text.
            note: Called with what is worth knowing about a cell that can be.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; ``type(reader)(**settings)`` is the same reader."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


def check_file(path: str | Path) -> Path:
    """Return the path if it is a file with something in it, else raise BadCellError."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadCellError("is a folder, not a file")
        if not stat.S_ISREG(mode):  # reading a pipe or a device may never end
            raise BadCellError("is a pipe or a device, not a file")
        if path.stat().st_size == 0:
            raise BadCellError("the file is empty (0 bytes)")
        with path.open("rb") as file:
            if file.read(23) == b"version https://git-lfs":
                raise BadCellError("is a git-lfs pointer, not the file itself: run `git lfs pull`")
    except FileNotFoundError:
        raise BadCellError("no such file") from None
    except OSError as error:
        raise UnavailableError(f"cannot be opened: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise BadCellError(f"cannot be opened: {error}") from None
    return path


class Part(NamedTuple):
    """A part of a file: from ``start`` to ``end`` in seconds (None: its own end), and a box of the picture.

    ``crop`` is that box: x, y, width and height in shares of the picture's sides.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    crop: tuple[float, ...] = WHOLE


def split_fragment(path: str | Path) -> Part:
    """Split a W3C media fragment off a path: ``clip.avi#t=12.5,17&xywh=percent:0,0,50,100``, or one of both.

    Raises:
        BadCellError: The range or the box is empty, or their numbers are none.
    """
    found = _FRAGMENT.search(str(path))
    if not found:
        return Part(Path(path))
    file, part = Path(str(path)[: found.start()]), found.group()
    (start, _, end), box = (found["t"] or "").partition(","), found["xywh"]
    try:
        first, last = float(start or 0), float(end) if end else None
    except ValueError:
        raise BadCellError(f"the range {part} is none: write #t=START,END in seconds") from None
    if last is not None and last <= first:
        raise BadCellError(f"the range {part} is empty: write #t=START,END in seconds")
    try:
        x, y, width, height = (float(n) / 100 for n in box.split(",")) if box else WHOLE
    except ValueError:
        raise BadCellError(f"the box {part} is none: write xywh=percent:X,Y,WIDTH,HEIGHT") from None
    if not (0 < width <= 1.001 - x and 0 < height <= 1.001 - y):
        raise BadCellError(f"the box {part} is empty, or not within the picture")
    return Part(file, first, last, (x, y, width, height))


def sample(cells: Sequence[Any], n: int = 64) -> list[Any]:
    """Return up to ``n`` cells, evenly spaced: enough to look at."""
    step = -(-len(cells) // n) or 1
    return list(cells[::step])


def check_positive(**options: float | None) -> None:
    """Raise UserError unless every option that is stated is more than 0, and finite."""
    for name, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be more than 0, got {value}")
