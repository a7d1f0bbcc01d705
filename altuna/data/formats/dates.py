"""Read dates and times that are written as text."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

DAYS = (  # %b is the name of a month, cut short or whole
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%y", "%a %b %d %Y", "%a, %d %b %Y", "%Y-%m", "%b %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M")
PARTS = ("day", "year", "month", "day of month", "weekday", "hour")
# Beyond these formats: fractions of seconds and time zones, which are cut off.
ZONE = r"(\d:\d\d)([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$"
MOSTLY = 0.9  # of the filled cells: so many must be dates of one format
DATE = re.compile(r"(?=.*\d).{0,3}[\w.,/: +-]{4,40}")
SAMPLE = 200


def date_format(column: pa.ChunkedArray) -> tuple[str, str] | None:
    """Return the format of a column of dates, and a remark on it or ""; None if it has other texts.

    The formats are those of ``strptime``. Days that may be months too, as 03/04/2020, are months first; the
    remark says so. At most a tenth of the cells may be no dates; the remark names the first one.

    Example:
        >>> date_format(pa.chunked_array([["2024-01-02", "2024-03-04", None]]))
        ('%Y-%m-%d', '')
        >>> date_format(pa.chunked_array([["3/4/2020", "5/6/2020"]]))
        ('%m/%d/%Y', "'3/4/2020' is read as 2020-03-04")
    """
    cells = _cut(column).drop_null()
    step = -(-len(cells) // SAMPLE) or 1
    some = cells.take(pa.array(np.arange(0, len(cells), step)))
    if not len(some) or not all(DATE.fullmatch(text) for text in some.slice(0, 5).to_pylist()):
        return None
    found = {f: len(some) - _parsed(some, f).null_count for f in (d + t for d in DAYS for t in TIMES)}
    best = max(found.values())
    if best < MOSTLY * len(some):
        return None
    good = {f: _parsed(cells, f) for f, count in found.items() if count == best}
    format = min(good, key=lambda f: good[f].null_count)
    wrong = good[format].null_count
    if len(cells) - wrong < MOSTLY * len(cells):
        return None
    if wrong:
        numbers = _parsed(_cut(column), format)
        row = pc.index(pc.and_(pc.is_null(numbers), pc.is_valid(_cut(column))), True).as_py()
        more = f" ({wrong - 1:,} more such cells)" if wrong > 1 else ""
        return format, f"row {row + 1} is {column[row].as_py()!r}, no date like the others{more}: missing"
    also = [f for f in good if not good[f].null_count and f != format]
    if also and format.startswith("%m"):
        first = good[format][0].as_py()
        return format, f"{cells[0].as_py()!r} is read as {np.datetime64(first, 's').astype('datetime64[D]')}"
    return format, ""


def calendar(column: pa.ChunkedArray, format: str) -> NDArray[np.float64]:
    """Return days since 1970, year, month, day of month, weekday (0 is Monday) and hour, [rows, 6].

    They are NaN where a cell is empty, or no date of the format.

    Example:
        >>> calendar(pa.chunked_array([["2024-01-02 06:00", None]]), "%Y-%m-%d %H:%M")[0].tolist()
        [19724.25, 2024.0, 1.0, 2.0, 1.0, 6.0]
    """
    seconds = np.asarray(pc.fill_null(_parsed(_cut(column), format).cast(pa.float64()), np.nan))
    known = np.isfinite(seconds)
    times = np.where(known, seconds, 0).astype("int64").astype("datetime64[s]")
    days = times.astype("datetime64[D]")
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    parts = np.stack(
        [
            seconds / 86_400,
            years.astype(float) + 1970,
            (months - years).astype(float) + 1,
            (days - months).astype(float) + 1,
            (days.astype(int) + 3) % 7,
            (times - days).astype("timedelta64[h]").astype(float),
        ],
        axis=1,
    )
    parts[~known] = np.nan
    return parts


def _cut(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without blanks around them, fractions of seconds and time zones; "" is null."""
    cells = pc.utf8_trim_whitespace(column)
    cells = pc.replace_substring_regex(cells, ZONE, r"\1")
    return pc.if_else(pc.equal(cells, ""), None, cells)


def _parsed(cells: pa.ChunkedArray, format: str) -> pa.ChunkedArray:
    """Return seconds since 1970, null where a text is no date of the format."""
    parsed = pc.strptime(cells, format=format, unit="s", error_is_null=True).cast(pa.int64())
    if "%y" in format or "%Y" not in format:
        return parsed
    # strptime takes years of two digits for %Y, too
    return pc.if_else(pc.match_substring_regex(cells, r"\d{4}"), parsed, None)
