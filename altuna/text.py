"""Text as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def clipped(text: str, longest: int = 240) -> str:
    """Return a text without its middle if it is too long: names stand first, figures last."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - longest // 3 - 1]}…{text[-(longest // 3) :]}"


def readable(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def grouped(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield each data set's results by its name, with folders where others have the same name."""
    paths = [*dict.fromkeys(result["data"] for result in results)]
    for path, name in zip(paths, told_apart(map(Path, paths)), strict=True):
        yield name, [one for one in results if one["data"] == path]


def told_apart(paths: Iterable[Path]) -> list[str]:
    """Return the end of each path, of as many parts as tell it from the others."""
    parts = [path.absolute().parts for path in paths]
    ends = []
    for own in parts:
        others = {other for other in parts if other != own}
        number = next(n for n in range(1, len(own) + 1) if all(o[-n:] != own[-n:] for o in others))
        ends.append(str(Path(*own[-number:])))
    return ends


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, the first column to the left."""
    rows = ("| " + " | ".join(map(_plain, line)) + " |" for line in (header, *lines))
    first, *others = rows
    return [first, "|---|" + "---:|" * (len(header) - 1), *others]


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, within a table too."""
    return " ".join(text.replace("|", "\\|").split())


def one_line(error: Exception, longest: int = 300) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split())[:longest]
