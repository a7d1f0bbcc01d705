"""Read lists of numbers that are written as text: JSON, NumPy's form, or separated by semicolons."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import filled, first_values
from altuna.options import shown

# No pattern can backtrack far: texts may be very long.
NUMBER = r"(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|nan|NaN|null|None)"
BARE = re.compile(rf"\s*{NUMBER}\s*(?:(?:[;,|]\s*{NUMBER}\s*)+|(?:\s+{NUMBER}){{7,}}\s*)")
COMMAS = re.compile(r"\s*[+-]?\d+(?:,\d+)?\s*(?:;\s*[+-]?\d+(?:,\d+)?\s*)+;?\s*")  # decimal, as 0,5;1,25
FRACTION = re.compile(r",(?:0\d|\d{3})|;\s*[+-]?\d+\s*(?:;|$)")  # then the numbers are no pairs
PAIR = re.compile(r"\s*\d{1,3}(?:\.\d+)?\s*/\s*\d{1,3}(?:\.\d+)?\s*")  # as in a blood pressure of 120/80
BRACKETS = re.compile(r"\s*[\[(](?:[\d\s,;.+\-eE\[\]()]|nan|NaN|null|None)*")
# What Python prints around the numbers of an array or of a tensor, and of each NumPy number.
AROUND = re.compile(
    r"\s*(?:np\.)?(?:array|tensor)\((.*?)(?:,\s*(?:dtype|device|grad_fn)=[^\])]*)*\)\s*", re.DOTALL
)
SCALAR = re.compile(r"(?:np|numpy)\.\w+\(([^()]{1,40})\)")
CUT = re.compile(r"\d\s*\.\.\.|\.\.\.\s*[\d,]")  # NumPy prints only the ends of a long array
NO_NUMBER = re.compile(r"\b(?:nan|NaN|None)\b")
MOSTLY = 0.9  # of the filled cells: so many must be lists


class Lists(NamedTuple):
    """A column of texts, read as lists of numbers where it is one of lists, and a remark or "".

    Example:
        >>> Lists(pa.chunked_array([["hoot"]])).found
        False
    """

    column: pa.ChunkedArray
    found: bool = False
    problem: str = ""


def read_lists(column: pa.ChunkedArray) -> Lists:
    """Return a column of texts as lists of float64 (lists of such lists, if they are nested).

    In brackets, numbers are separated by commas, semicolons or blanks; without brackets, by commas,
    semicolons or bars, or at least eight of them by blanks, or two of them by a slash. A cell that is no
    list is empty, and is named.

    Example:
        >>> read_lists(pa.chunked_array([["[0.5, 1]", "[2.  3.]"]])).column.to_pylist()
        [[0.5, 1.0], [2.0, 3.0]]
        >>> read_lists(pa.chunked_array([["[[1, 2], [3, 4]]"]])).column.to_pylist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    some = [_bare(text) for text in first_values(column) if isinstance(text, str)]
    if not some or sum(map(_is_list, some)) < MOSTLY * len(some):
        cut = next((text for text in some if text.lstrip()[:1] == "[" and CUT.search(text[:1000])), None)
        problem = f"{shown(cut)} was cut when it was printed: write whole arrays" if cut else ""
        return Lists(column, problem=problem)
    lists, wrong = parse_lists(column, min(_depth(some[0]), 2))
    number = pc.sum(filled(column)).as_py()
    first = f"row {wrong[0] + 1} is {shown(column[int(wrong[0])].as_py())}" if len(wrong) else ""
    if len(wrong) > (1 - MOSTLY) * number:
        problem = f"{first}; it is read as text, though {number - len(wrong):,} of {number:,} cells are lists"
        return Lists(column, problem=problem)
    problem = (
        f"{first}, no list of numbers{f' ({len(wrong) - 1:,} more such cells)' * (len(wrong) > 1)}: missing"
    )
    return Lists(lists, True, problem * bool(len(wrong)))


def parse_lists(column: pa.ChunkedArray, depth: int) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    """Return texts as lists of float64, or lists of such lists at a depth of 2, and the other cells.

    Example:
        >>> lists, wrong = parse_lists(pa.chunked_array([["1;2", "hoot", " "]]), depth=1)
        >>> lists.to_pylist(), wrong.tolist()
        ([[1.0, 2.0], None, None], [1])
    """
    if _have_decimal_commas(column):
        column = pc.replace_substring_regex(column, r"(\d),(\d)", r"\1.\2")
    nested = depth > 1
    kind = pa.list_(pa.list_(pa.float64())) if nested else pa.list_(pa.float64())
    chunks = [
        pa.array([None if text is None else _parsed(text, nested) for text in chunk.to_pylist()], kind)
        for chunk in column.chunks
    ]
    lists = pa.chunked_array(chunks, kind)
    wrong = np.asarray(pc.and_(lists.is_null(), filled(column)))
    return lists, np.flatnonzero(wrong)


def _have_decimal_commas(column: pa.ChunkedArray) -> bool:
    """Return whether lists such as 0,25;1,5 have decimal commas, rather than pairs such as 12,30;14,35."""
    some = [text for text in first_values(column) if isinstance(text, str)]
    return all(COMMAS.fullmatch(text) for text in some) and any(FRACTION.search(text) for text in some)


def _bare(text: str) -> str:
    """Return a list without the names that Python prints around it: of ``tensor([1.])``, ``[1.]``."""
    start = text.lstrip()[:9]
    if start.startswith(("array(", "np.array(", "tensor(")) and (found := AROUND.fullmatch(text)):
        return found[1]
    if start[:1] in ("[", "(") and ("np." in start or "numpy." in start):
        return SCALAR.sub(r"\1", text)
    if start[:1] == "{" and text.rstrip()[-1:] == "}":  # an array of PostgreSQL
        return "[" + text.strip()[1:-1] + "]"
    return text


def _is_list(text: str) -> bool:
    if "..." in text[:1000]:
        return False
    if text.lstrip()[:1] in ("[", "("):  # (0, 3] is an interval
        return bool(
            text.lstrip()[0] + text.rstrip()[-1] in ("[]", "()")
            and re.search(r"\d", text)
            and BRACKETS.fullmatch(text)
        )
    return bool(BARE.fullmatch(text) or PAIR.fullmatch(text))


def _depth(text: str) -> int:
    return len(re.match(r"[\s\[(]*", text)[0].replace(" ", "").replace("\n", ""))  # type: ignore[index]


def _parsed(text: str, nested: bool) -> list[Any] | None:
    """Return the numbers of a list; None if the text is none, or nested otherwise."""
    text = _bare(text)
    if not _is_list(text):
        return None
    text = NO_NUMBER.sub("null", text.strip())
    text = re.sub(r"[()]", lambda found: "[" if found[0] == "(" else "]", text)
    text = re.sub(r"\s*[;,|/]\s*|(?<=[\d.\]l])\s+(?=[-+\d.\[n])", ",", text)
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)  # JSON has neither .5 nor 2. nor +1
    text = re.sub(r"(?<=\d)\.(?!\d)", "", text)
    text = re.sub(r"(?<![\d.eE])\+|(?<![\d.])0+(?=\d)", "", text)
    text = re.sub(r",\s*(?=\])", "", text)
    try:
        numbers = json.loads(text if text.startswith("[") else f"[{text}]")
    except (ValueError, RecursionError):
        return None
    inner = [isinstance(part, list) for part in numbers]
    if any(inner) != nested or (any(inner) and not all(inner)):
        return None
    if nested and any(isinstance(number, list) for part in numbers for number in part):
        return None
    return [[_float(n) for n in part] for part in numbers] if nested else [_float(n) for n in numbers]


def _float(number: float | None) -> float | None:
    try:
        return None if number is None else float(number)
    except OverflowError:
        return math.inf
