"""Match the columns of new data with those that a model was trained on."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest

from altuna.data.readers import Reader

MAX_NAMED = 3  # columns in a message


def matched(wanted: Sequence[str], there: Iterable[str]) -> dict[str, str]:
    """Return the name that there is for each wanted column; others are not in it.

    It is the same name, or the only one that differs in blanks, case or Unicode form alone.

    Example:
        >>> matched(["len_cm", "len_mm", "note"], [" Len_cm", "len mm", "note"])
        {'len_cm': ' Len_cm', 'note': 'note'}
    """
    there = [*there]
    spare: dict[str, list[str]] = {}
    for name in there:
        if name not in wanted:
            spare.setdefault(_plain(name), []).append(name)
    lacking = Counter(_plain(name) for name in wanted if name not in there)
    found = {}
    for name in wanted:
        alike = spare.get(_plain(name), [])
        if name in there:
            found[name] = name
        elif len(alike) == 1 == lacking[_plain(name)]:
            found[name] = alike[0]
    return found


def _plain(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).split()).casefold()


def lacked(columns: Sequence[str], there: Iterable[str]) -> str:
    """Return which columns are not there, and the names that are near.

    Example:
        >>> lacked(["len_mm"], ["len mm", "photo"])
        "column 'len_mm' (near: 'len mm')"
        >>> lacked([f"x_{i}" for i in range(5)], [])
        "columns 'x_0', 'x_1', 'x_2' and 2 more"
    """
    there = [*there]
    more = f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
    named = ", ".join(map(repr, columns[:MAX_NAMED]))
    near = dict.fromkeys(close for c in columns for close in get_close_matches(c, there, n=1))
    hint = f" (near: {', '.join(map(repr, [*near][:MAX_NAMED]))})" if near else ""
    return f"column{'s' * (len(columns) > 1)} {named}{more}{hint}"


def number_columns(readers: Mapping[str, Reader], columns: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """Return the columns of which each cell is one number, in the order of the modalities.

    Example:
        >>> from altuna.data.readers import READERS
        >>> readers = {"note": READERS["text"]((), 1), "len": READERS["vector"](2)}
        >>> [*number_columns(readers, {"note": ["note"], "len": ["len_cm", "len_mm"]})]
        ['len_cm', 'len_mm']
    """
    found: dict[str, None] = {}
    for name, reader in readers.items():
        own = columns.get(name) or (name,)
        single = reader.type == "vector" and reader.shape == (len(own),)
        for column, kind in zip_longest(own, reader.kinds(own)):
            if kind == "number" or (kind is None and single):
                found[column] = None
    return found
