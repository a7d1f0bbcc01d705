"""Format names, sizes, tables and errors for people to read."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# What Markdown would take for markup; an underscore within a word is none.
_MARKUP = re.compile(r"[\\`*\[\]|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def clipped(text: str, longest: int = 240) -> str:
    """Return a text without its middle if it is longer than ``longest``.

    Example:
        >>> clipped("a modality with a very long name, 0.75", longest=20)
        'a modality wi…, 0.75'
    """
    if len(text) <= longest:
        return text
    return f"{text[: longest - longest // 3 - 1]}…{text[-(longest // 3) :]}"


def readable_bytes(size: float) -> str:
    """Return a number of bytes with a decimal unit.

    Example:
        >>> readable_bytes(2_340_000)
        '2.3 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def grouped(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield the name of each data set and its results; the name has folders if others share it.

    Example:
        >>> [(name, len(some)) for name, some in grouped([{"data": "a.csv"}, {"data": "a.csv"}])]
        [('a.csv', 2)]
    """
    paths = [*dict.fromkeys(result["data"] for result in results)]
    for path, name in zip(paths, unique_endings(map(Path, paths)), strict=True):
        yield name, [one for one in results if one["data"] == path]


def unique_endings(paths: Iterable[Path]) -> list[str]:
    """Return the shortest end of each path that no other path has.

    Example:
        >>> unique_endings([Path("/x/a/run"), Path("/x/b/run"), Path("/x/c")])
        ['a/run', 'b/run', 'c']
    """
    parts = [path.absolute().parts for path in paths]
    ends = []
    for own in parts:
        others = {other for other in parts if other != own}
        number = next(n for n in range(1, len(own) + 1) if all(o[-n:] != own[-n:] for o in others))
        ends.append(str(Path(*own[-number:])))
    return ends


def markdown_text(text: str) -> str:
    r"""Return a text on one line, without what Markdown or HTML would take for markup.

    Example:
        >>> print(markdown_text("a|b, late_fusion, _x_ <b>"))
        a\|b, late_fusion, \_x\_ &lt;b&gt;
    """
    return _MARKUP.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> list[str]:
    r"""Return the lines of a Markdown table, its first ``left`` columns aligned to the left, others right.

    Example:
        >>> print(*markdown_table(["method", "accuracy"], [["mla", 0.75]]), sep="\n")
        | method | accuracy |
        |---|---:|
        | mla | 0.75 |
    """
    lines = ["| " + " | ".join(markdown_text(str(cell)) for cell in row) + " |" for row in (header, *rows)]
    return [lines[0], "|" + "---|" * left + "---:|" * (len(header) - left), *lines[1:]]


def one_line(error: Exception, longest: int = 300) -> str:
    r"""Return an error's message on one line.

    Example:
        >>> one_line(ValueError("no such\n  file"))
        'no such file'
    """
    return " ".join(str(error).split())[:longest]
