"""Read series, and the numbers, dates and categories of a table, into the inputs of the graphs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TIMES = ("time", "t", "timestamp", "seconds")  # columns of series that are no channel
# Words for a missing number or date, in lower case.
MISSING = (
    *("", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "null", "none", "nil", "?", "-", "--", "."),
    *("missing", "unknown", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
    *("k.a.", "k. a.", "n.d.", "n.v.", "not available", "not applicable", "not known", "tbd", "-/-", "---"),
    *("\\n", ".."),
)
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%y", "%a %b %d %Y", "%a, %d %b %Y", "%Y-%m", "%b %Y", "%m/%Y", "%m %d, %Y"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M", " %I:%M %p", " %I:%M:%S %p")
WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S +0000 %Y")
MONTHS = {  # English month to the names of other languages
    "January": "januar|jänner|janvier|enero|gennaio|janeiro|januari",
    "February": "februar|février|fevrier|febrero|febbraio|fevereiro|februari",
    "March": "märz|maerz|mars|marzo|março|maart",
    "April": "avril|abril|aprile",
    "May": "mai|mayo|maggio|maio|mei",
    "June": "juni|juin|junio|giugno|junho",
    "July": "juli|juillet|julio|luglio|julho",
    "August": "août|aout|agosto|augustus",
    "September": "septembre|septiembre|setiembre|settembre|setembro",
    "October": "oktober|octobre|octubre|ottobre|outubro",
    "November": "novembre|noviembre|novembro",
    "December": "dezember|décembre|decembre|diciembre|dicembre|dezembro",
}
SPELLINGS = (  # patterns, and what they are replaced by, in this order
    (r"^datetime\.datetime\((\d{4}), (\d\d?), (\d\d?).*\)$", r"\1-\2-\3"),
    (r"^\[?(\d\d?)/([A-Za-z]{3})/(\d{4}):(\d\d:\d\d:\d\d)( [+-]\d{4})?\]?$", r"\1 \2 \3 \4"),  # of Apache
    (r"^(\d{4})[年년]\s?(\d\d?)[月월]\s?(\d\d?)[日일]", r"\1-\2-\3"),
    (r"^(\d{4})\. (\d\d?)\. (\d\d?)\.?$", r"\1-\2-\3"),  # as in Korea
    (r"^\w+day,\s+", ""),
    (r"(\d)(?:st|nd|rd|th)\b", r"\1"),
    (r"^(\d\d?)\. (\D)", r"\1 \2"),  # 3. März
    (r"(\d) de (\D+?) (?:de |del )?(\d)", r"\1 \2 \3"),
    (r"(\d{4}),\s+(\d)", r"\1 \2"),  # before a time
    # a quarter is its first month
    *((rf"^(\d{{4}})[ -]?Q{q}$", rf"\1-{3 * q - 2:02}") for q in (1, 2, 3, 4)),
    *((rf"^Q{q}[ /-]?(\d{{4}})$", rf"\1-{3 * q - 2:02}") for q in (1, 2, 3, 4)),
    (r"^(\d{4})[mM](\d)$", r"\1-0\2"),  # as Stata writes months
    (r"^(\d{4})[mM](\d\d)$", r"\1-\2"),
    *((rf"(?i)\b(?:{names})\b", month) for month, names in MONTHS.items()),
)
EMPTY = ("", "NA", "N/A", "na", "n/a", "NULL", "null", "None", "none", "?", "-")  # cells of series


def series(
    path: str,
    length: int,
    channels: int,
    rate: float | None = None,
    source_rate: float | None = None,
    longer: str = "crop",
    origin: Sequence[float] = (),
    channels_first: bool = False,
) -> Array:
    """Return steps [length, channels] of a .npy file or a CSV file with commas; NaN where there is none."""
    steps, empty, known = _steps(path, channels_first)
    if not len(steps):
        raise ValueError("an empty series (0 steps)")
    if steps.shape[1] != channels:
        raise ValueError(
            f"has {steps.shape[1]} channel{'s' * (steps.shape[1] != 1)}, the others have {channels}"
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite
        moved = (steps - np.array(origin) if len(origin) else steps).astype(np.float32)
    if not np.isfinite(moved[~empty]).all():
        raise ValueError("has NaN, infinite or too large numbers")
    wanted, known = len(moved), known or source_rate
    if rate is not None:
        if known is None:
            raise ValueError("its rate is not known: it needs a column 'time' of seconds")
        wanted = max(1, round(len(moved) * rate / known))
    if longer == "resample":
        wanted = min(wanted, length)
    kept = moved[:length] if wanted == len(moved) else resampled(moved, wanted, min(wanted, length))
    if np.isnan(kept).all():
        raise ValueError("all its numbers are empty")
    cells = np.full((length, channels), np.nan, np.float32)
    cells[: len(kept)] = kept
    return cells


def _steps(path: str, channels_first: bool) -> tuple[Array, Array, float | None]:
    """Return the steps [T, C] of a file, which of its numbers are empty, and its rate if it has times."""
    if path.lower().endswith(".npy"):
        array = np.asarray(np.load(path), np.float64)
        array = array.T if channels_first and array.ndim > 1 else array.reshape(len(array), -1)
        return array, np.zeros(array.shape, bool), None
    text = Path(path).read_text(encoding="utf-8-sig")
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    names = rows[0] if rows and not all(map(_is_number, rows[0])) else []
    steps, width = rows[bool(names) :], len(rows[0]) if rows else 1
    cells = np.array([["nan" if c in EMPTY else c for c in row] for row in steps], np.float64).reshape(
        -1, width
    )
    empty = np.array([[c in EMPTY for c in row] for row in steps], bool).reshape(-1, width)
    channels = [i for i, name in enumerate(names) if name.lower() not in TIMES] if names else slice(None)
    rate = None
    for i in (i for i, name in enumerate(names) if name.lower() in TIMES):
        times = cells[:, i]
        if len(times) > 1 and (np.diff(times) > 0).all():
            rate = float((len(times) - 1) / (times[-1] - times[0]))
    return cells[:, channels], empty[:, channels], rate


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def resampled(numbers: Array, length: int, keep: int) -> Array:
    """Return the first ``keep`` of ``length`` steps: means of parts, or values of the line through steps."""
    size, at = len(numbers), np.arange(len(numbers)) + 0.5
    edges = np.arange(keep + 1) * (size / length)
    found = np.full((keep, numbers.shape[1]), np.nan, numbers.dtype)
    for channel, values in enumerate(numbers.T.astype(np.float64)):
        there = ~np.isnan(values)
        if not there.any():
            continue
        if length < size:
            whole = np.interp(at, at[there], values[there])
            sums = np.interp(edges, np.arange(size + 1), np.concatenate([[0.0], np.cumsum(whole)]))
            found[:, channel] = np.diff(sums) * (length / size)
        else:
            found[:, channel] = np.interp((edges[1:] + edges[:-1]) / 2, at[there], values[there])
    return found


def tabular(
    value: str,
    numbers: Sequence[tuple[str, float]] = (),
    dates: Sequence[tuple[str, str]] = (),
    categories: Sequence[tuple[str, Sequence[str]]] = (),
    formats: Mapping[str, Mapping[str, Any]] | None = None,
) -> Array:
    """Return the values [size] of a JSON object from column to value; a missing one is NaN.

    ``formats`` tells how the numbers of columns are written, see ``number``.
    """
    given, formats = json.loads(value), formats or {}
    names = [column for column, _ in (*numbers, *dates, *categories)]
    if not isinstance(given, dict) or {*given} - {*names}:
        raise ValueError(f"give a JSON object with some of {', '.join(names)}")
    given = {column: cell for column, cell in given.items() if cell is not None and str(cell).strip()}
    for column, cell in given.items():
        if isinstance(cell, list | dict):
            raise ValueError(f"column {column!r}: {str(cell)[:80]} is not a single value")
    values = [number(given.get(name, ""), **formats.get(name, {})) - origin for name, origin in numbers]
    if np.isinf(np.array(values, np.float32)).any():
        raise ValueError("has numbers too large or infinite")
    for column, form in dates:
        values += date(str(given.get(column, "")), form)
    for column, listed in categories:
        cell = category(given.get(column, ""))
        values.append(np.nan if not cell else listed.index(cell) if cell in listed else len(listed))
    if np.isnan(values).all():
        raise ValueError("all its values are empty")
    return np.array(values, np.float32)


def number(
    cell: object,
    prefix: str = "",
    suffix: str = "",
    decimal: str = ".",
    groups: str = "",
    missing: Sequence[float] = (),
    bounds: bool = False,
    pattern: str = "",
    factors: Mapping[str, float] | None = None,
) -> float:
    """Return the number of a cell that is written as in the training table; NaN if it is missing.

    A text may lack prefix, suffix and groups, and be a bound such as ``<0.5`` if there are ``bounds``.
    Numbers of several parts, such as ``3:45``, have a pattern with named groups, and factors for these.
    ``missing`` are numbers that stand for a missing one.
    """
    text = str(cell).strip()
    if isinstance(cell, bool | int | float):
        found = float(cell)
    elif text.lower() in MISSING:
        return float("nan")
    elif pattern:
        bare = re.sub(rf"^(?:{re.escape(prefix)})?\s?", "", text, flags=re.ASCII).strip()
        parts = re.fullmatch(pattern, bare, re.ASCII) if bare else None
        if parts is None:
            raise ValueError(f"{text[:50]!r} is not written as the numbers of training")
        found = sum(float((parts[k] or "0").replace(",", "")) * by for k, by in (factors or {}).items())
    else:
        found = _number(text, prefix, suffix, decimal, groups, bounds)
    return float("nan") if found in missing else found


def _number(text: str, prefix: str, suffix: str, decimal: str, groups: str, bounds: bool) -> float:
    def replaced(expression: str, by: str, text: str) -> str:
        return re.sub(expression, by, text, flags=re.ASCII)

    bare = replaced(r"^\s*[<>≤≥]\s?=?\s?", "", text) if bounds else text
    bare = replaced(r"\s\(\d[^()]{0,30}\)\s*$", "", bare) if suffix else bare  # 110 kW (150 hp)
    bare = _plain_signs(bare.strip())
    for mark in {" ": "\u00a0\u202f", "'": "’"}.get(groups, ""):
        bare = bare.replace(mark, groups)
    point, group = re.escape(decimal), re.escape(groups)
    whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+)" if groups else r"\d+"
    fraction = r"\d+" if suffix else r"\d*"
    plain = rf"(?:(?:{whole}(?:{point}{fraction})?|{point}\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?)"
    before, after = (rf"(?:{re.escape(unit.strip())})?" for unit in (prefix, suffix))
    written = rf"([+-]?)\s?{before}\s?({plain})\s?{after}"
    bare = replaced(rf"^{before}\s?([+-])({plain})\s?{after}$", r"\1\2", bare)  # $-5
    bare = replaced(rf"^\(({written})\)$", r"-\1", bare)  # as in accounting
    if found := re.fullmatch(written, bare, re.ASCII):
        bare = (found[1] + found[2]).replace(groups, "") if groups else found[1] + found[2]
        return float(bare.replace(decimal, "."))
    if (prefix, suffix, decimal, groups, bounds) == ("", "", ".", "", False):
        return float(text)
    unit = " " * suffix[:1].isalnum() + suffix
    raise ValueError(f"{text[:50]!r} is no number like '{prefix}1{groups}234{decimal}5{unit}'")


def _plain_signs(text: str) -> str:
    """Return a text with ASCII digits and signs; a minus after its number comes before it, as 5-."""
    text = text.replace("\u2212", "-")
    latin = text
    for digit, zero in itertools.product(range(10), "\uff10\u0660\u06f0\u0966\u09e6\u0e50"):
        latin = latin.replace(chr(ord(zero) + digit), str(digit))
    if latin != text:
        latin = latin.replace("\u066b", ".").replace("\u066c", ",")
    latin = re.sub(r"^'([+-]?[\d.,]+)$", r"\1", latin, flags=re.ASCII)  # as Excel marks texts
    return re.sub(r"^([\d.,]+)-$", r"-\1", latin, flags=re.ASCII)  # as SAP writes


def category(cell: object) -> str:
    """Return the text of a category: 1, 1.0, true and their texts are the same one."""
    text = str(cell).strip()
    known = {"true": "1", "false": "0"}.get(text.lower(), text)
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", known)


def date(value: str, form: str) -> list[float]:
    """Return days since 1970, year, month, day of month, weekday and hour; NaN if the date is missing.

    It may be written as in training, with or without a time, as ISO 8601, or in any other way that can mean
    one time only.
    """
    value = value.strip()
    for pattern, replacement in SPELLINGS:
        value = re.sub(pattern, replacement, value)
    value = re.sub(r"(\d:\d\d)([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$", r"\1", value)
    if value.lower() in MISSING:
        return [float("nan")] * 6
    day = re.split("[ T]%[HI]", form)[0]
    known = (form, *(first + time for first in (day, DAYS[0]) for time in CLOCKS))
    time = next((time for one in known if (time := _time(value, one))), None)
    others = {_time(value, day + time) for day in DAYS for time in CLOCKS} | {_time(value, w) for w in WHOLE}
    if time is None and len(others - {None}) == 1:
        (time,) = others - {None}
    if time is None:
        raise ValueError(f"{value[:50]!r} is no date like {form}")
    days = (time - datetime(1970, 1, 1)).total_seconds() / 86_400
    hours = time.hour + time.minute / 60 + time.second / 3600
    return [days, time.year, time.month, time.day, time.weekday(), hours]


def _time(value: str, form: str) -> datetime | None:
    if form == "%Y-%m-%d":  # 2024 and 2024-01 are their first days
        value = re.sub(r"^(\d{4}-\d\d)$", r"\1-01", re.sub(r"^(\d{4})$", r"\1-01-01", value))
    elif ("%y" in form and not re.search(r"[./-]\d\d(?:[ T]|$)", value)) or (
        form.startswith("%Y%m%d") and not re.match(r"\d{8}(?:\D|$)", value)
    ):
        return None
    for one in (form, form.replace("%b", "%B")):  # names of months may be whole
        try:
            return datetime.strptime(value, one)
        except ValueError:
            pass
    return None
