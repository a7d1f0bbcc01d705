"""Split cells that hold several files: lists, and texts such as ``a.png;b.png``."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

MARKS = re.compile(r"([;|](?!base64,)|,)")  # a data URI has a semicolon, too
ENDING = re.compile(r"\.\w{2,5}\s*$")
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
SEVERAL = r"^\s*\[|\.\w{2,5}\s*[;|,]\s*\S"  # texts that may hold several files, for Arrow


def split_files(cell: Any) -> list[Any]:
    """Return the files that a cell holds; empty parts are left out.

    In a text they are separated by semicolons, bars, or commas after the ending of a file (other commas are
    parts of a name); or the text is a list as JSON, Python or NumPy write it.

    Example:
        >>> split_files("owl.png;cat, grey.png"), split_files('["owl.png", null]'), split_files(b"PNG")
        (['owl.png', 'cat, grey.png'], ['owl.png'], [b'PNG'])
        >>> split_files("a.png, b.png | c.png"), split_files("['a.png' 'b.png']")
        (['a.png', 'b.png', 'c.png'], ['a.png', 'b.png'])
    """
    if isinstance(cell, str):
        parts = _of_text(cell.strip())
    else:
        parts = [*cell] if isinstance(cell, list | tuple) else [cell]
    return [part for part in parts if part is not None and not (isinstance(part, str) and not part.strip())]


def _of_text(text: str) -> list[Any]:
    if text[:1] == "[" and text[-1:] == "]":
        with suppress(ValueError, RecursionError):
            found: list[Any] = json.loads(text)
            return found
        if quoted := QUOTED.findall(text):
            return [single or double for single, double in quoted]
        text = text[1:-1]
    pieces = MARKS.split(text)
    parts = pieces[:1]
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if mark == "," and not ENDING.search(parts[-1]):
            parts[-1] += mark + piece
        else:
            parts.append(piece)
    return [part.strip() for part in parts]
