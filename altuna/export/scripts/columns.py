"""Read series, and the numbers, dates and categories of a table, into the inputs of the graphs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TIMES = ("time", "t", "timestamp", "seconds")  # columns of series that are no channel
EMPTY = ("", "NA", "N/A", "na", "n/a", "NULL", "null", "None", "none", "?", "-")  # cells of series


def series(
    path: str,
    length: int,
    channels: int,
    rate: float | None = None,
    source_rate: float | None = None,
    longer: str = "crop",
    origin: Sequence[float] = (),
) -> Array:
    """Return steps [length, channels] of a .npy file or a CSV file with commas; NaN where there is none."""
    steps, empty, known = _steps(path)
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


def _steps(path: str) -> tuple[Array, Array, float | None]:
    """Return the steps [T, C] of a file, which of its numbers are empty, and its rate if it has times."""
    if path.lower().endswith(".npy"):
        array = np.asarray(np.load(path), np.float64)
        array = array.reshape(len(array), -1)
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
) -> Array:
    """Return the values [size] of a JSON object from column to value; a missing one is NaN."""
    given = json.loads(value)
    names = [column for column, _ in (*numbers, *dates, *categories)]
    if not isinstance(given, dict) or {*given} - {*names}:
        raise ValueError(f"give a JSON object with some of {', '.join(names)}")
    given = {column: cell for column, cell in given.items() if cell is not None and str(cell).strip()}
    for column, cell in given.items():
        if isinstance(cell, list | dict):
            raise ValueError(f"column {column!r}: {str(cell)[:80]} is not a single value")
    values = [float(given[column]) - origin if column in given else np.nan for column, origin in numbers]
    for column, form in dates:
        values += date(str(given[column]), form) if column in given else [np.nan] * 6
    for column, listed in categories:
        cell = category(given.get(column, ""))
        values.append(np.nan if not cell else listed.index(cell) if cell in listed else len(listed))
    if not given:
        raise ValueError("all its values are empty")
    return np.array(values, np.float32)


def category(cell: object) -> str:
    """Return the text of a category: 1, 1.0, true and their texts are the same one."""
    text = str(cell).strip()
    known = {"true": "1", "false": "0"}.get(text.lower(), text)
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", known)


def date(value: str, form: str) -> list[float]:
    """Return days since 1970, year, month, day of month, weekday and hour."""
    value = re.sub(r"(\d:\d\d)([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$", r"\1", value.strip())
    try:
        time = datetime.strptime(value, form)
    except ValueError:
        time = datetime.strptime(value, form.replace("%b", "%B"))  # the whole name of a month
    days = (time - datetime(1970, 1, 1)).total_seconds() / 86_400
    hours = time.hour + time.minute / 60 + time.second / 3600
    return [days, time.year, time.month, time.day, time.weekday(), hours]
