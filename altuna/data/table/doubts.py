"""Name columns whose inferred type is near a threshold, so that a person can look at them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import filled, is_number
from altuna.data.formats.dates import date_format
from altuna.data.table.column_kinds import MIN_ROWS, OFTEN
from altuna.data.table.ids import permutes_rows
from altuna.data.table.modalities import Modality

FIRST = 10_000  # rows that are looked at
MAX_CODES = 12  # different whole numbers that may be codes
SHUFFLED = "has each number once, as if it numbers the rows in another order"
NUMBER = r"[+-]?\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?"
NEARLY_ALL = 0.9  # of the cells: so many have numbers
MIN_EACH, MAX_FORMS = (
    4,
    4,
)  # different texts of each form around their numbers, and forms of words and numbers
DIGIT = r"^\W{0,3}\d"


def doubts_of(
    table: pa.Table, modalities: Mapping[str, Modality], stated: Collection[str] = ()
) -> dict[str, str]:
    """Return why the use of some columns is doubtful, by column; those of stated type are not.

    Example:
        >>> table = pa.table({"grade": [1, 2, 3] * 20, "age": [*range(7, 67)]})
        >>> doubts_of(table, {"tabular": Modality("tabular", ("grade", "age"), kinds=("number", "number"))})
        {'grade': '3 different whole numbers; a category if they are codes'}
    """
    uses = {c: modality.use_of(c) for modality in modalities.values() for c in modality.columns}
    if len(table) < MIN_ROWS:
        return {}
    found = {
        c: SHUFFLED if permutes_rows(table[c]) else doubt(use, table[c].slice(0, FIRST))
        for c, use in uses.items()
        if c not in stated
    }
    return {column: reason for column, reason in found.items() if reason}


def doubt(use: str, column: pa.ChunkedArray) -> str:
    """Return why the use of a column is doubtful; "" if it is not.

    Args:
        use: A type of modality, or number, category or date.
        column: The column.

    Example:
        >>> doubt("text", pa.chunked_array([["a red owl", "a blue owl"] * 3]))
        'only 6 filled cells'
    """
    doubted = {"number": _number, "category": _category, "text": _text, "date": _date}.get(use)
    plain = is_number(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if doubted is None or not plain:
        return ""
    cells = column.filter(filled(column))
    if len(cells) < MIN_ROWS:
        return f"only {len(cells)} filled cells"
    return doubted(cells, pc.count_distinct(cells).as_py())


def _number(cells: pa.ChunkedArray, distinct: int) -> str:
    codes = 2 < distinct <= min(MAX_CODES, len(cells) // OFTEN)
    if pa.types.is_boolean(cells.type) or not codes or not pc.all(pc.equal(cells, pc.floor(cells))).as_py():
        return ""
    return f"{distinct} different whole numbers; a category if they are codes"


def _category(cells: pa.ChunkedArray, distinct: int) -> str:
    if is_number(cells.type):
        return f"{distinct} different whole numbers, read as codes; a number if their order tells something"
    several = pc.any(pc.match_substring_regex(cells, r"\S\s+\S")).as_py()
    if several and len(cells) < 2 * OFTEN * distinct:
        return f"{distinct} different values in {len(cells):,} cells; maybe a text"
    return ""


def _text(cells: pa.ChunkedArray, distinct: int) -> str:
    if distinct <= len(cells) / 2:
        return f"only {distinct} different values in {len(cells):,} cells; maybe a category"
    if _differ_in_numbers(cells, distinct):
        example = repr(cells[0].as_py()[:30])
        return f"its cells differ in their numbers, as {example}; maybe numbers, a list or a date"
    digits = pc.sum(pc.match_substring_regex(cells, DIGIT)).as_py()
    return "most cells start with a digit; maybe a number or a date" if digits > len(cells) / 2 else ""


def _differ_in_numbers(cells: pa.ChunkedArray, distinct: int) -> bool:
    """Return whether texts are of few forms without their numbers, or, if several, without words, too."""
    if pc.mean(pc.match_substring_regex(cells, r"\d").cast(pa.float64())).as_py() < NEARLY_ALL:
        return False
    forms = pc.replace_substring_regex(cells, NUMBER, "0")
    if pc.count_distinct(forms).as_py() <= distinct / MIN_EACH:
        return True
    forms = pc.replace_substring_regex(forms, r"\pL+\.?", "w")
    several = pc.mean(pc.match_substring_regex(forms, "0.*0").cast(pa.float64())).as_py() >= NEARLY_ALL
    return bool(several and pc.count_distinct(forms).as_py() <= MAX_FORMS)


def _date(cells: pa.ChunkedArray, distinct: int) -> str:
    return (date_format(cells) or ("", ""))[1]
