"""Read dates and times that are written as text."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.date_words import plain_dates
from altuna.data.formats.numbers import MISSING
from altuna.options import shown

DAYS = (  # %b is the name of a month, cut short or whole
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%y", "%a %b %d %Y", "%a, %d %b %Y", "%Y-%m", "%b %Y", "%m/%Y", "%m %d, %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M", " %I:%M %p", " %I:%M:%S %p")
WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S +0000 %Y")  # as of ctime and of Twitter
FORMATS = (*(day + time for day in DAYS for time in TIMES), *WHOLE)
PARTS = ("day", "year", "month", "day of month", "weekday", "hour")
# Beyond these formats: fractions of seconds and time zones, which are cut off.
ZONE = r"(\d:\d\d)([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$"
MOSTLY = 0.9  # of the filled cells: so many must be dates of one format
DATE = re.compile(r"(?=.*\d).{0,3}[\w.,/: +-]{4,40}")
SAMPLE = 200
PATTERNS = {  # of what is no number of one or two digits
    "%d": r"(?P<d>\d\d?)",
    "%Y": r"\d{4}",
    **dict.fromkeys(("%a", "%b", "%p"), r"\pL+"),
    " ": r"\s*",
    ".": r"\.",
    "+": r"\+",
}
YEAR_1000 = -30_610_224_000  # in seconds since 1970


def date_format(column: pa.ChunkedArray, *, stated: bool = False) -> tuple[str, str] | None:
    """Return the format of a column of dates, and a remark on it or ""; None if it has other texts.

    The formats are those of ``strptime``. Days that may be months too, as 03/04/2020, are months first; the
    remark says so. At most a tenth of the cells may be no dates; the remark names the first one. Years alone
    and versions such as 1.2.20 may be dates only if it is stated that the column has dates.

    Example:
        >>> date_format(pa.chunked_array([["2024-01-02", "2024-03-04", None]]))
        ('%Y-%m-%d', '')
        >>> date_format(pa.chunked_array([["3/4/2020", "5/6/2020"]]))
        ('%m/%d/%Y', "'3/4/2020' is read as 2020-03-04")
    """
    cells = _cut(column).drop_null()
    step = -(-len(cells) // SAMPLE) or 1
    some = cells.take(pa.array(np.arange(0, len(cells), step)))
    looks = [bool(DATE.fullmatch(text)) for text in some.slice(0, 9).to_pylist()]
    if sum(looks) <= len(looks) / 2:
        return None
    found = {format: len(some) - _parsed(some, format).null_count for format in FORMATS}
    best = max(found.values())
    if best <= len(some) / 2:
        return None
    good = {f: _parsed(cells, f) for f, count in found.items() if count == best}
    months = best == found["%Y-%m"]  # then 2024-01 is no shortened day
    format = "%Y-%m" if months else min(good, key=lambda f: good[f].null_count)
    short = pc.match_substring_regex(cells, r"^\d{4}(?:-\d\d)?$") if format == "%Y-%m-%d" else None
    if short is not None and not stated and pc.mean(short.cast(pa.float64())).as_py() > 0.5:
        return None
    wrong = good[format].null_count
    if format.startswith("%d.%m.%y") and not stated and not _are_no_versions(cells):
        return None
    if len(cells) - wrong < MOSTLY * len(cells) and not _are_one_word(cells.filter(pc.is_null(good[format]))):
        return None
    if wrong:
        numbers = _parsed(_cut(column), format)
        row = pc.index(pc.and_(pc.is_null(numbers), pc.is_valid(_cut(column))), True).as_py()
        more = f" ({wrong - 1:,} more such cells)" if wrong > 1 else ""
        return (
            format,
            f"row {row + 1} is {shown(column[row].as_py())}, no date like the others{more}: missing",
        )
    if short is not None and (row := pc.index(short, True).as_py()) >= 0:
        return format, f"{shown(cells[row].as_py())} is read as {_day(good[format][row])}"
    also = [f for f in good if not good[f].null_count and f != format]
    if also and format.startswith("%m"):
        return format, f"{shown(cells[0].as_py())} is read as {_day(good[format][0])}"
    return format, ""


def first_no_date(column: pa.ChunkedArray) -> int:
    """Return the first filled row that is no date of the format of most cells.

    Example:
        >>> first_no_date(pa.chunked_array([["2024-01-31", None, "red", "2024-02-01"]]))
        2
    """
    cells = _cut(column)
    parsed = max(
        (_parsed(cells, format) for format in FORMATS), key=lambda dates: len(dates) - dates.null_count
    )
    return int(pc.index(pc.and_(pc.is_null(parsed), pc.is_valid(cells)), True).as_py())


def mixed_dates(column: pa.ChunkedArray) -> str:
    """Return a remark on a column of dates that are not of one format; "" if it is none.

    Example:
        >>> mixed_dates(pa.chunked_array([["2024-01-31", "2024-02-01", "31.03.2024", "2024-04-01"]]))
        "row 3 is '31.03.2024', though 3 of 4 cells are dates like '2024-01-31'"
    """
    cells = _cut(column)
    some = cells.drop_null().slice(0, SAMPLE)
    if (
        sum(DATE.fullmatch(text) is not None for text in some.slice(0, 9).to_pylist())
        <= min(len(some), 9) / 2
    ):
        return ""
    some = some.filter(pc.match_substring_regex(some, r"\d\D+\d.*\d{2}|[A-Za-z]{3}"))
    read = {format: pc.is_valid(_parsed(some, format)) for format in FORMATS}
    some_date = np.any([np.asarray(valid) for valid in read.values()], axis=0)
    if not len(some) or some_date.mean() < MOSTLY:
        return ""
    best = max(FORMATS, key=lambda format: pc.sum(read[format]).as_py())
    good = pc.is_valid(_parsed(cells, best))
    other = pc.index(pc.and_(pc.invert(good), pc.is_valid(cells)), True).as_py()
    if other < 0:
        return ""
    first, count = column[pc.index(good, True).as_py()].as_py(), pc.sum(good).as_py()
    numbers = f"{count:,} of {len(cells) - cells.null_count:,}"
    start = f"row {other + 1} is {shown(column[other].as_py())}"
    return f"{start}, though {numbers} cells are dates like {shown(first)}"


def _day(seconds: pa.Scalar) -> str:
    return str(np.datetime64(seconds.as_py(), "s").astype("datetime64[D]"))


def calendar(column: pa.ChunkedArray, format: str) -> NDArray[np.float64]:
    """Return days since 1970, year, month, day of month, weekday (0 is Monday), hours, [rows, 6].

    They are NaN where a cell is empty, or no date: of the format, with or without its time, or as ISO 8601
    writes dates.

    Example:
        >>> calendar(pa.chunked_array([["2024-01-02 06:00", None]]), "%Y-%m-%d %H:%M")[0].tolist()
        [19724.25, 2024.0, 1.0, 2.0, 1.0, 6.0]
    """
    cells = _cut(column)
    parsed = _parsed(cells, format)
    day = re.split("[ T]%[HI]", format)[0]
    for other in (first + time for first in (day, DAYS[0]) for time in TIMES):
        if parsed.null_count > cells.null_count:  # new data may have times, or none
            parsed = pc.coalesce(parsed, _parsed(cells, other))
    seconds = np.asarray(pc.fill_null(parsed.cast(pa.float64()), np.nan))
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
            (times - days).astype(float) / 3600,
        ],
        axis=1,
    )
    parts[~known] = np.nan
    return parts


def other_format(column: pa.ChunkedArray) -> str | None:
    """Return a format in which all cells of a column are dates; None if formats differ in which ones.

    Example:
        >>> other_format(pa.chunked_array([["1/2/2024", "8/15/2024"]]))
        '%m/%d/%Y'
        >>> other_format(pa.chunked_array([["1/2/2024"]])) is None  # in January, or in February
        True
    """
    cells = _cut(column).drop_null()
    likely = [f for f in FORMATS if len(cells) and not _parsed(cells.slice(0, SAMPLE), f).null_count]
    read = {f: parsed for f in likely if not (parsed := _parsed(cells, f)).null_count}
    same = all(one.equals(other) for one, other in pairwise(read.values()))
    return next(iter(read), None) if same else None


def _cut(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without blanks around them, fractions of seconds and time zones.

    They are null where they are "", or a word for a missing value.
    """
    cells = plain_dates(pc.utf8_trim_whitespace(column))
    cells = pc.replace_substring_regex(cells, ZONE, r"\1")
    return pc.if_else(pc.is_in(pc.utf8_lower(cells), pa.array(["", *MISSING])), None, cells)


def _are_no_versions(cells: pa.ChunkedArray) -> bool:
    """Return whether texts such as 31.1.20 are dates for sure: all have six digits, or one is such a day."""
    six = pc.all(pc.match_substring_regex(cells, r"^\d\d\.\d\d\.\d\d(?:\D|$)")).as_py()
    return bool(six or pc.any(pc.match_substring_regex(cells, r"^(?:1[3-9]|[23]\d)\.")).as_py())


def _are_one_word(others: pa.ChunkedArray) -> bool:
    """Return whether all cells that are no dates are the same: it stands for a missing date."""
    return len(others.unique()) == 1 and not pc.match_substring_regex(others[0], r"\d").as_py()


def _parsed(cells: pa.ChunkedArray, format: str) -> pa.ChunkedArray:
    """Return seconds since 1970, null where a text is no date of the format.

    Where days are written as 2024-01-31, 2024-01 and 2024 are their first days.
    """
    if format == "%Y-%m-%d":
        cells = pc.replace_substring_regex(cells, r"^(\d{4})$", r"\1-01")
        cells = pc.replace_substring_regex(cells, r"^(\d{4}-\d\d)$", r"\1-01")
    times = pc.strptime(cells, format=format, unit="s", error_is_null=True)
    parsed = pc.if_else(_days_are_kept(cells, times, format), times, None).cast(pa.int64())
    if format.startswith("%Y%m%d"):  # strptime takes months and days of one digit, as in 202412
        parsed = pc.if_else(pc.match_substring_regex(cells, r"^\d{8}(?:\D|$)"), parsed, None)
    if "%y" in format:  # strptime takes a year of one digit, as in the version 2.2.1
        return pc.if_else(pc.match_substring_regex(cells, r"[./-]\d\d(?:[ T]|$)"), parsed, None)
    if "%Y" not in format:
        return parsed
    # strptime takes years of two digits for %Y, too: 2017 would be the 20th of a month of the year 17.
    return pc.if_else(pc.greater_equal(parsed, YEAR_1000), parsed, None)


def _days_are_kept(cells: pa.ChunkedArray, times: pa.ChunkedArray, format: str) -> pa.ChunkedArray:
    """Return where a time has the day of its text: strptime reads 31.02. as a day in March."""
    kept = pc.invert(pc.and_(pc.less_equal(pc.day(times), 3), pc.match_substring_regex(cells, "29|30|31")))
    if "%d" not in format or pc.all(kept).as_py() is not False:
        return kept
    pattern = re.sub(r"%.|[.+ ]", lambda part: PATTERNS.get(part[0], r"\d\d?"), format)
    days = pc.struct_field(pc.extract_regex(cells, f"^{pattern}$"), "d").cast(pa.int64())
    return pc.or_(kept, pc.equal(days, pc.day(times)).fill_null(True))
