"""How a CSV file is written: its separator, its encoding and the names in its header."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

from altuna.data.formats.encodings import encoding_of

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
BEGINNING = 2**16  # bytes that are looked at
COMPRESSED = ".gz"
COMMENT = ("#", "%", "//")  # how lines of comments start
MAX_TITLES = 20  # lines before the header, other than comments
FIRST = 200  # rows that are looked at
CODE = re.compile(r"\s*0(?:\d+|[xX][0-9a-fA-F]+)\s*")


class Dialect(NamedTuple):
    """How a CSV file is written.

    Attributes:
        separator: The character between two cells.
        encoding: ``utf8``, ``utf-16`` or ``windows-1252``.
        names: The columns, as the header has them.
        notes: Remarks for the user, where the file is written in an uncommon way.
        codes: Columns whose first cells have whole numbers that start with 0, such as 01067: as numbers they
            would lose it.
        skipped: Lines before the header: Excel's ``sep=;``, comments, a title.

    Example:
        >>> Dialect(",", "utf8", ("label", "acc")).notes
        ()
    """

    separator: str
    encoding: str
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    skipped: int = 0

    def raw_names(self, columns: Sequence[str]) -> list[str]:
        """Return the names in the header, maybe with blanks around them, of those columns that it has."""
        return [name for name in self.names if name.strip() in columns]


def format_of(path: Path) -> str:
    """Return the ending of a file's name that tells its format, in lower case, without that of compression.

    Example:
        >>> format_of(Path("owls.CSV")), format_of(Path("owls.csv.gz"))
        ('.csv', '.csv')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == COMPRESSED else suffix


def dialect_of(path: Path) -> Dialect:
    r"""Return how a CSV or TSV file is written, found out from its first lines.

    The separator is that of the format, unless the header does not have it and has another one, as often as
    the second line does. Lines before the header are skipped if they are comments, or have one cell where the
    lines after them have several.

    Raises:
        UserError: The file is in an encoding that is not read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label;acc\nowl;0,5\n")
        >>> dialect = dialect_of(path)
        >>> dialect.separator, dialect.names, dialect.notes
        (';', ('label', 'acc'), ('its columns are separated by semicolons',))
    """
    notes = []
    encoding = encoding_of(path, opened)
    if encoding != "utf8":
        notes.append(
            {"utf-16": "it is in UTF-16"}.get(encoding, "it is not in UTF-8, and read as Windows-1252")
        )
    with opened(path) as file:
        beginning = file.read(BEGINNING)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(beginning)
    text = text.removeprefix("\ufeff")
    usual = "\t" if format_of(path) == ".tsv" else ","
    first = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)  # as Excel understands it
    text = text[first.end() :] if first else text
    lines = 0 if first else lines_before_header(text)
    if lines:
        start, text = text, "".join(text.splitlines(keepends=True)[lines:])
        notes.append(
            f"lines before its header are skipped: {lines} ({start.split(chr(10))[0].strip()[:60]!r})"
        )
    separator = first[1] if first else _separator(text, usual)
    if separator != usual:
        notes.append(f"its columns are separated by {SEPARATORS.get(separator, repr(separator))}")
    rows = _rows(text, separator, FIRST) if text.strip() else [[]]
    names = tuple(rows[0])
    codes = {names[i] for row in rows[1:] for i, cell in enumerate(row[: len(names)]) if CODE.fullmatch(cell)}
    if any(name != name.strip() for name in names):
        notes.append("blanks around the names of its columns are cut off")
    return Dialect(separator, encoding, names, tuple(notes), tuple(codes), lines + (first is not None))


def lines_before_header(text: str) -> int:
    r"""Return how many lines before the header are comments, a title or blank.

    Comments start with ``#``, ``%`` or ``//``; but a line with as many cells as the next one is the header.

    Example:
        >>> lines_before_header("# a logger\ntime,acc\n1,2\n"), lines_before_header("#time,acc\n1,2\n")
        (1, 0)
        >>> lines_before_header("Owls of 2024\n\ntime,acc\n1,2\n3,4\n5,6\n")
        2
    """
    lines = text.splitlines()[:FIRST]
    found = 0
    while found < len(lines) and lines[found].startswith(COMMENT):
        found += 1
    if found and found < len(lines):
        cells = [max(line.count(mark) for mark in SEPARATORS) for line in lines[found - 1 : found + 1]]
        return found - (cells[0] == cells[1] and cells[0] > 0)
    titles = next((i for i, line in enumerate(lines[:MAX_TITLES]) if i and not lines[i - 1].strip()), 0)
    for mark in SEPARATORS if titles and not found else ():
        counts = {len(row) for row in _rows("\n".join(lines[titles:]), mark, 4)}
        if len(counts) == 1 and max(counts) > 1 and mark not in "".join(lines[:titles]):
            return titles
    return 0


def opened(path: Path) -> IO[bytes]:
    r"""Open a file for reading, decompressed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.csv.gz")
        >>> _ = path.write_bytes(gzip.compress(b"label,acc"))
        >>> with opened(path) as file:
        ...     file.read()
        b'label,acc'
    """
    return cast("IO[bytes]", gzip.open(path)) if path.suffix.lower() == COMPRESSED else path.open("rb")


def _separator(text: str, usual: str) -> str:
    """Return what separates the cells of the first lines."""
    rows = _rows(text, usual, 2)
    if not rows or len(rows[0]) > 1:
        return usual
    for other in SEPARATORS:
        numbers = [len(row) for row in _rows(text, other, 2)]
        if numbers[0] > 1 and len({*numbers}) == 1:
            return other
    return usual


def _rows(text: str, separator: str, most: int) -> list[list[str]]:
    """Return the first rows that have a cell."""
    found = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            if row:
                found.append(row)
            if len(found) == most:
                break
    except csv.Error:  # a cell larger than the module takes
        pass
    return found or [[]]
