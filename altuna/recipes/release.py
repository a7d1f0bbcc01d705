"""What a recipe is made of: its samples, the problems that it reports, and how it reads folders and texts."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from altuna.errors import UserError


@dataclass(frozen=True)
class Sample:
    """A sample of a release; a cell is a path, a text, or None if it is missing.

    Example:
        >>> Sample("owl_1", "owl", {"photo": Path("photos/owl_1.jpg"), "song": None}).split
        ''
    """

    id: str
    label: str
    cells: Mapping[str, Path | str | None]
    split: str = ""  # empty unless the release itself has splits


class Problem(NamedTuple):
    """A line of the problems file; ``kind`` is ``left out`` (a sample), ``missing`` (a cell) or ``note``."""

    id: str
    column: str
    file: str
    kind: str
    reason: str


class Problems:
    """Collect what is wrong in a release; files are named relative to its ``root``.

    Example:
        >>> problems = Problems(Path("birds"))
        >>> problems.missing("owl_1", "song", "no such file", Path("birds/songs/owl_1.wav"))
        >>> problems.found[0].file, problems.found[0].reason
        ('songs/owl_1.wav', 'no such file')
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[Problem] = []

    def left_out(self, id: str, reason: str, file: Path | None = None, row: int = 0) -> None:
        """Report a sample that is not in the manifest."""
        self._add("left out", reason, id, "", file, row)

    def missing(self, id: str, column: str, reason: str, file: Path | None = None) -> None:
        """Report a cell that is empty in the manifest."""
        self._add("missing", reason, id, column, file, 0)

    def note(self, reason: str, file: Path | None = None, row: int = 0, id: str = "") -> None:
        """Report something worth knowing that does not change the manifest."""
        self._add("note", reason, id, "", file, row)

    def _add(self, kind: str, reason: str, id: str, column: str, file: Path | None, row: int) -> None:
        if file and file.is_relative_to(self.root):
            file = file.relative_to(self.root)
        place = f"{file or ''}" + (f", row {row}" if row else "")
        texts = (id, column, place, kind, reason)
        self.found.append(Problem(*(t.encode(errors="backslashreplace").decode() for t in texts)))


@dataclass(frozen=True)
class Recipe:
    """How to make a manifest of a release.

    Args:
        title: Its name in reports and errors.
        read: Yields the samples below a root, and reports problems.
        types: Column to its modality type.
        group: What a group is, in the singular (actor, video); a group must not be in two splits.
        group_of: From an id to its group.
        tag: Part of the file names of the authors' lists, one of ``LIST_TAGS``.
        list_labels: From the labels of the lists to those of the release.
        list_id: From the fields of a line of a list to an id.
    """

    title: str
    read: Callable[[Path, Problems], Iterable[Sample]]
    types: Mapping[str, str]
    group: str = ""
    group_of: Callable[[str], str] = str
    tag: str = ""
    list_labels: Mapping[str, str] = field(default_factory=dict)
    list_id: Callable[[Sequence[str]], str] = lambda fields: re.sub(r"\.\w{3,4}$", "", fields[0])


def files(
    folder: Path, suffixes: Sequence[str], problems: Problems, beside: Sequence[str] = ()
) -> dict[str, Path]:
    """Return a folder's files with some suffixes, by stem, in order.

    Other files are noted as problems, but those with the suffixes ``beside``. Of two files with the same
    stem, the one with the first suffix is returned.
    """
    found: dict[str, Path] = {}
    entries = folder.iterdir() if folder.is_dir() else ()
    for path in sorted(entries, key=lambda path: (path.suffix != suffixes[0], path)):
        if path.name.startswith("."):
            problems.note("a hidden file, as macOS makes them: ignored", path)
        elif path.suffix.lower() in suffixes:
            if found.setdefault(path.stem, path) != path:
                problems.note(f"ignored in favour of {found[path.stem].name}", path)
        elif path.is_file() and path.suffix.lower() not in beside:
            problems.note(f"not {' or '.join(suffixes)}: ignored", path)
    return found


def lines(path: Path, problems: Problems) -> list[str]:
    """Return the lines of a text, with their ends; a line that is not UTF-8 is read as latin-1, and noted."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    texts = []
    for row, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            problems.note("not UTF-8, read as latin-1", path, row)
            texts.append(line.decode("latin-1"))
    return texts


def rows(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not blank, with their numbers, from 1.

    Each line is a row: a quotation mark that is never closed must not swallow the lines after it.
    """
    for number, line in enumerate(lines(path, problems), 1):
        try:
            row = next(csv.reader([line]), [])
        except csv.Error as error:
            problems.note(f"not CSV: {error}: ignored", path, number)
        else:
            if row:
                yield number, row
