"""The contract of readers, which decode a cell to an array of a fixed shape."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
from numpy.typing import NDArray

from altuna.errors import UserError

_FRAGMENT = re.compile(r"#(?=t=|xywh=)(?:t=(?P<t>[\d.,]*))?(?:(?:(?<=#)|&)xywh=percent:(?P<xywh>[\d.,]*))?$")
_URL = re.compile(r"[A-Za-z][\w+.-]+://")
TOO_MUCH = "refused: takes too much memory to decode"
WHOLE: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)  # the box of the whole picture


class BadCellError(Exception):
    """A cell cannot be read; the message is the reason, and becomes a line of ``problems.csv``.

    Example:
        >>> from altuna.data.readers import READERS
        >>> READERS["vector"](2).read([1.0])
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.BadCellError: a vector of 1 numbers, the others have 2
    """


class NotFiniteError(BadCellError):
    """A vector has NaN or infinite numbers: an error in the data, not a missing cell.

    Example:
        >>> from altuna.data.readers import READERS
        >>> READERS["vector"](2).read([1.0, float("inf")])
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.NotFiniteError: has numbers too large or infinite
    """


class InconsistentError(BadCellError):
    """The parts of a cell contradict each other: an error in the data, not a missing cell.

    Example:
        >>> from altuna.data.readers import READERS
        >>> READERS["series"](4, 2).read({"x": [1.0, 2.0], "y": [3.0]})
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.InconsistentError: has 1 steps in 'y', but 2 in 'x'
    """


class UnavailableError(BadCellError):
    """A cell is not available now, for a reason outside its content: the next attempt may succeed.

    Example:
        >>> raise UnavailableError("cannot be opened: Permission denied")
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.UnavailableError: cannot be opened: Permission denied
    """


def silent(note: str) -> None:
    """Ignore a note.

    Example:
        >>> from altuna.data.readers import READERS
        >>> READERS["vector"](2).read([1.0, None], note=print).tolist()
        1 of 2 numbers are empty: imputed by the training means
        [1.0, nan]
        >>> READERS["vector"](2).read([1.0, None], note=silent).tolist()
        [1.0, nan]
    """


class Note(NamedTuple):
    """A remark on several cells: what is before and after their number.

    Example:
        >>> str(Note("age: missing, as they are no numbers: ", 1200, " cells"))
        'age: missing, as they are no numbers: 1,200 cells'
    """

    before: str
    cells: int
    after: str = ""

    def __str__(self) -> str:
        return f"{self.before}{self.cells:,}{self.after}"


class Columns(NamedTuple):
    """Columns of a table whose cells a reader fits and encodes all at once: numbers, categories, dates.

    ``kinds`` has the kind of each column of a tabular modality: ``number``, ``category``, or the format of
    its dates.

    Example:
        >>> from altuna.data.readers import READERS
        >>> columns = Columns(pa.table({"len_cm": [4.1], "len_mm": [41.0]}))
        >>> READERS["vector"].fit(columns)
        VectorReader(size=2, origin=())
    """

    table: pa.Table
    kinds: Mapping[str, str] = MappingProxyType({})


class Reader:
    """Decode a cell (a path, bytes, an array or a text) to an array of ``shape`` and ``dtype``.

    A reader is a frozen dataclass whose fields are its settings: they are part of the key of the prepared
    store, and are saved with the model. ``fit`` chooses the settings that are not stated by the training
    cells. ``name`` is the name of the reader, ``type`` that of the modalities that it reads.

    Example:
        >>> import numpy as np
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class WordCount(Reader):
        ...     name, type, dtype, shape = "words", "vector", np.float32, (1,)
        ...
        ...     def read(self, cell, note=silent):
        ...         return np.array([len(cell.split())], self.dtype)
        >>> WordCount().read("an owl hoots")
        array([3.], dtype=float32)
    """

    name: ClassVar[str]
    type: ClassVar[str]
    dtype: ClassVar[Any]
    # Whether texts and bytes are files, which are decoded within limits (``altuna.data.readers.limits``).
    decodes_files: ClassVar[bool] = False
    # Makes a reader from training cells, or ``Columns``, and stated settings (keyword arguments). Cells that
    # cannot be decoded are ignored: their problems are reported when they are read.
    fit: ClassVar[Callable[..., Reader]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the arrays that ``read`` returns."""
        raise NotImplementedError

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        """Decode a cell.

        Args:
            cell: A path (or, except for texts, its string), bytes, an array or a text.
            note: Called with remarks on a cell that was read, such as that it is cut short.

        Raises:
            BadCellError: The cell cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        """Check a cell without decoding it.

        Args:
            cell: A path or, for texts, the text.
            note: Called with remarks on a cell that can be read.

        Raises:
            BadCellError: The cell cannot be read.
        """
        raise NotImplementedError

    @property
    def remark(self) -> str:
        """Return what a user should know of settings that ``fit`` chose, as one line; empty if nothing."""
        return ""

    def text_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return those of a modality's columns that are read as text, even if their cells are numbers."""
        return tuple(columns)

    def cell_of(self, parts: Mapping[str, Any]) -> Any:
        """Return the cell that ``read`` takes, made of parts by column; None is a missing part."""
        values = [*parts.values()]
        return values if len(values) > 1 else values[0]

    def kinds(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the kinds of columns that are numbers, categories and dates, as in ``Modality``."""
        return ()

    def fits(self, columns: Sequence[str]) -> bool:
        """Return whether a modality of these columns has cells of the reader's shape."""
        return len(columns) == 1 or self.shape[-1] == len(columns)  # one column may hold lists

    def encode(self, table: pa.Table) -> tuple[NDArray[Any], list[Note]]:
        """Return the arrays of all rows of the columns of a table at once, and notes.

        Raises:
            BadCellError: The columns are not those of the reader.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; ``type(reader)(**settings)`` is the same reader."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


def check_file(path: str | Path) -> Path:
    """Return the path of a file that is not empty; raise BadCellError otherwise.

    Example:
        >>> check_file("no/such/photo.png")
        Traceback (most recent call last):
        ...
        altuna.data.readers.base.BadCellError: no such file
    """
    if _URL.match(str(path)):
        raise BadCellError("is a URL: download the file, and give its path")
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
    except ValueError as error:  # a NUL character in the name
        raise BadCellError(f"cannot be opened: {error}") from None
    return path


class Part(NamedTuple):
    """A part of a file: from ``start`` to ``end`` in seconds (None: its end), and a box of the picture.

    ``crop`` is that box: x, y, width and height as fractions of the sides of the picture.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    crop: tuple[float, ...] = WHOLE


def split_fragment(path: str | Path) -> Part:
    """Split a path and its W3C media fragment, which has a range of seconds, a box, or both.

    Raises:
        BadCellError: The range or the box is empty, or not made of numbers.

    Example:
        >>> path, start, end, crop = split_fragment("clip.avi#t=12.5,17&xywh=percent:0,0,50,100")
        >>> str(path), start, end, crop
        ('clip.avi', 12.5, 17.0, (0.0, 0.0, 0.5, 1.0))
    """
    found = _FRAGMENT.search(str(path))
    if not found:
        return Part(Path(path))
    file, part = Path(str(path)[: found.start()]), found.group()
    (start, _, end), box = (found["t"] or "").partition(","), found["xywh"]
    try:
        first, last = float(start or 0), float(end) if end else None
    except ValueError:
        raise BadCellError(f"the range {part} is not valid: write #t=START,END in seconds") from None
    if last is not None and last <= first:
        raise BadCellError(f"the range {part} is empty: write #t=START,END in seconds")
    try:
        x, y, width, height = (float(n) / 100 for n in box.split(",")) if box else WHOLE
    except ValueError:
        raise BadCellError(f"the box {part} is not valid: write xywh=percent:X,Y,WIDTH,HEIGHT") from None
    if not (0 < width <= 1.001 - x and 0 < height <= 1.001 - y):
        raise BadCellError(f"the box {part} is empty, or not within the picture")
    return Part(file, first, last, (x, y, width, height))


def sample(cells: Sequence[Any], n: int = 64) -> list[Any]:
    """Return up to ``n`` cells, evenly spaced.

    Example:
        >>> sample(range(10), 4)
        [0, 3, 6, 9]
    """
    step = -(-len(cells) // n) or 1
    return list(cells[::step])


def evenly(number: int, of: int) -> list[int]:
    """Return the middles of ``number`` equal parts of range(of).

    Example:
        >>> evenly(3, 9), evenly(3, 2)
        ([1, 4, 7], [0, 1, 1])
    """
    return [int((i + 0.5) * of / number) for i in range(number)]


def check_positive(**options: float | None) -> None:
    """Raise UserError if an option that is not None is not finite or not more than 0.

    Example:
        >>> check_positive(size=64, length=None)
        >>> check_positive(size=0)
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: size must be more than 0, got 0
    """
    for name, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be more than 0, got {value}")
