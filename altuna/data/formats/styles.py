"""Numbers of several parts: 3:45, 2h 15min, 5'11", 1.2M."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_N = r"\d+(?:\.\d+)?"
_GROUPED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_INCHES = r"(?:\d|1[01])(?:\.\d+)?"  # less than a foot: 8’791.23 has thousands
_MS = r"(?P<m>\d{1,3}):(?P<s>[0-5]\d(?:\.\d+)?)"
_TIME = {
    "d": r"d|days?",
    "h": r"h|hrs?|hours?|Std\.?",
    "m": r"m|mins?\.?|minutes?",
    "s": r"s|secs?\.?|seconds?",
}


def _units(units: dict[str, str]) -> str:
    """Return a pattern of a number before each of some units, which may be absent."""
    return r"\s?".join(rf"(?:(?P<{name}>{_N})\s?(?:{unit}))?" for name, unit in units.items())


def _one_of(units: dict[str, str], number: str = _N) -> str:
    """Return a pattern of a number with one of some units."""
    return "|".join(rf"(?P<{name}>[+-]?{number})\s?(?:{unit})" for name, unit in units.items())


SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
BYTES = {"b": "B|bytes", "k": "[kK]i?B", "m": "Mi?B", "g": "Gi?B", "t": "Ti?B"}
# Style to the pattern of a cell, and by what each part of it is multiplied; the number is their sum.
STYLES: dict[str, tuple[str, dict[str, float]]] = {
    # 8:30 may be half past eight: where all cells of training have two parts, or three, new ones must, too.
    "clock_ms": (_MS, SECONDS),
    "clock_hms": (rf"(?P<h>\d{{1,4}}):{_MS}", SECONDS),
    "clock": (rf"(?:(?P<h>\d{{1,4}}):)?{_MS}", SECONDS),
    "duration": (rf"(?i:{_units(_TIME)})", SECONDS),
    "feet": (
        rf"(?P<f>\d+)\s?(?:'|′|’|ft\.?|feet)\s?(?:(?P<i>{_INCHES})\s?(?:\"|″|”|''|in\.?|inch(?:es)?)?)?",
        {"f": 12.0, "i": 1.0},
    ),
    "multiples": (
        rf"(?:{_one_of({'n': '', 'k': '[kK]', 'm': 'M', 'b': 'B'}, _GROUPED)})\+?",
        {"n": 1.0, "k": 1e3, "m": 1e6, "b": 1e9},
    ),
    "bytes": (_one_of(BYTES), {"b": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}),
}
SAMPLES = {  # of each style a cell, and the unit of its number
    "clock_ms": ("3:45", "seconds"),
    "clock_hms": ("1:02:03", "seconds"),
    "clock": ("1:02:03", "seconds"),
    "duration": ("2h 15min", "seconds"),
    "feet": ("5'11\"", "inches"),
    "multiples": ("1.2M", ""),
    "bytes": ("3 MB", "bytes"),
}


def parse_style(cells: pa.Array, style: str) -> pa.Array:
    """Return texts of a style as float64 numbers, null where a text has another form.

    Example:
        >>> parse_style(pa.array(["3:45", "1:02:03", "hoot"]), "clock").to_pylist()
        [225.0, 3723.0, None]
        >>> parse_style(pa.array(["2h 15min", "40 min"]), "duration").to_pylist()
        [8100.0, 2400.0]
    """
    pattern, factors = STYLES[style]
    cells = pc.utf8_trim_whitespace(cells)
    parts = pc.extract_regex(pc.if_else(pc.equal(cells, ""), None, cells), f"^(?:{pattern})$")
    total = None
    for name, factor in factors.items():
        if name in {field.name for field in parts.type}:
            text = pc.replace_substring(pc.struct_field(parts, name), ",", "")
            part = pc.if_else(pc.equal(text, ""), "0", text).cast(pa.float64())
            total = pc.multiply(part, factor) if total is None else pc.add(total, pc.multiply(part, factor))
    return total
