"""Tell columns that number, name or split the rows of a table from columns that describe them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import first_values
from altuna.data.formats.dates import date_format, mixed_dates
from altuna.data.formats.spelling import SPLITS, split_names, words_of
from altuna.data.table.paths import unreadable

FOLD_NAMES = {"split", "splits", "fold", "folds", "subset", "partition"}
FOLD_WORDS = FOLD_NAMES | {  # a name of these words alone speaks of the data, not of what they are about
    *(
        "cv",
        "k",
        "data",
        "dataset",
        "train",
        "test",
        "val",
        "eval",
        "outer",
        "inner",
        "random",
        "id",
        "no",
        "nr",
    )
}
SPLIT_FLAG = r"(?:is|in|for)[\W_]?(?:train|test|val|valid|validation|holdout|dev)(?:ing)?(?:[\W_]?set)?"
MAX_FOLDS = 30  # values of a column that names splits or folds
ID_WORDS = {"id", "ids", "uid", "uuid", "guid"}
ROW_NAMES = {"index", "idx", "key", "row", "nr", "no"}
MOSTLY = 0.95  # of the texts of a column of ids: so many must look like codes
MIN_ID, MAX_ID = 8, 64  # characters of an id without a prefix that all share, and of any id
MIN_KEY = 5  # characters of a key drawn by chance
SELDOM = 0.2  # of the words: fewer have four consonants in a row, or no vowel
CODE = r"[\w#:.-]*\d[\w#:.-]*"
QUANTITY = r"[+-]?[\d.,]+\s?[^\W\d]{0,4}(?:-[\d.,]+\s?[^\W\d]{0,4})?"  # 2.1kg, 0-10


def counts_rows(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether a column counts the rows in order, from 0 or 1, or from any number if its name says so.

    A name with a last word such as ``id`` or ``row`` says so; then the order does not matter, either.

    Example:
        >>> years = pa.chunked_array([[*range(1960, 2020)]])
        >>> counts_rows("row", years), counts_rows("year", years)
        (True, False)
    """
    if not _is_whole(column) or column.null_count or len(column) < 2:
        return False
    values = column.to_numpy()
    named = not (ID_WORDS | ROW_NAMES).isdisjoint(words_of(name)[-1:])
    steps = {*np.diff(values).tolist()}
    if steps in ({1}, {-1}):
        return named or min(values[0], values[-1]) in (0, 1)
    return named and permutes_rows(column)


def permutes_rows(column: pa.ChunkedArray) -> bool:
    """Return whether a column has each whole number from 0 to n - 1, or from 1 to n, once, in any order.

    Example:
        >>> permutes_rows(pa.chunked_array([[3, 1, 2]])), permutes_rows(pa.chunked_array([[3, 1, 3]]))
        (True, False)
    """
    if not _is_whole(column) or column.null_count or len(column) < 2:
        return False
    values = column.to_numpy()
    low = values.min()
    whole = bool(low in (0, 1) and values.max() == low + len(values) - 1)
    return whole and len(np.unique(values)) == len(values)


def names_splits(name: str, column: pa.ChunkedArray, distinct: int) -> bool:
    """Return whether a column names splits or folds: by its name and its values, or by words such as train.

    Args:
        name: Its name.
        column: The column.
        distinct: Number of its different values.

    Example:
        >>> numbers = pa.chunked_array([[1, 2, 3]])
        >>> names_splits("cv_fold", numbers, 3), names_splits("protein_fold", numbers, 3)
        (True, False)
    """
    if distinct == 2 and re.fullmatch(SPLIT_FLAG, name.casefold()):
        return True
    if distinct > MAX_FOLDS:
        return False
    words = {*words_of(name)}
    texts = pa.types.is_string(column.type)
    values = column.unique().drop_null()
    if texts:
        found = {*split_names(pc.utf8_trim_whitespace(values)).to_pylist()}
        if len(found) > 1 and found <= {*SPLITS}:
            return True
    words_only = texts and all(len(value.split()) <= 1 for value in values.to_pylist())
    return bool(words & FOLD_NAMES and words <= FOLD_WORDS and (words_only or _is_whole(column)))


def are_ids(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether values that differ in all rows are ids: whole numbers by their name, texts by form.

    Texts are ids if they have a common prefix and a number (``BK-17``), or one length of 8 characters or more
    (hashes, UUIDs, order numbers), or one length and random characters (``qzvkhd``). Quantities and short
    codes (``2.1kg``, ``0-10``, ``A10``) are none.

    Example:
        >>> numbers = pa.chunked_array([[31, 17, 24]])
        >>> are_ids("owl_id", numbers), are_ids("air_quality_index", numbers)
        (True, False)
    """
    words = words_of(name)
    if pa.types.is_integer(column.type):
        return not ID_WORDS.isdisjoint(words[-1:]) or (len(words) == 1 and words[0] in ROW_NAMES)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    values = [value.strip() for value in first_values(column) if isinstance(value, str)]
    others = date_format(column) is not None or mixed_dates(column) or unreadable(values)
    return (_are_codes(values) or _are_random(values)) and not others


def _are_codes(values: list[str]) -> bool:
    most = MOSTLY * len(values)
    if sum(re.fullmatch(CODE, v) is not None and len(v) <= MAX_ID for v in values) < most:
        return False
    if sum(re.fullmatch(QUANTITY, value) is not None for value in values) > len(values) / 2:
        return False
    prefixes = [re.sub(r"\d+$", "", value) for value in values]
    if prefixes[0] and prefixes.count(prefixes[0]) >= most:
        return True
    return len(values[0]) >= MIN_ID and sum(len(value) == len(values[0]) for value in values) >= most


def _are_random(values: list[str]) -> bool:
    """Return whether texts of one length are keys: no words, and no codes with digits in certain places."""
    size = len(values[0])
    keys = [
        value.lower() for value in values if re.fullmatch(r"[a-zA-Z0-9_-]+", value) and len(value) == size
    ]
    if size < MIN_KEY or len(keys) < MOSTLY * len(values):
        return False
    digits = [sum(key[i].isdigit() for key in keys) / len(keys) for i in range(size)]
    if sum(0.05 < share < MOSTLY for share in digits) > size / 2:
        return True
    odd = [key for key in keys if re.search(r"[b-df-hj-np-tv-xz]{4}|^[^aeiouy]+$", key)]
    return max(digits) == 0 and len(odd) > SELDOM * len(keys)


def _is_whole(column: pa.ChunkedArray) -> bool:
    """Return whether the values are whole numbers, maybe as floats."""
    if pa.types.is_integer(column.type):
        return True
    return pa.types.is_floating(column.type) and bool(pc.all(pc.equal(column, pc.floor(column))).as_py())
