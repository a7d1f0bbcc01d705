"""How labels, groups, ids and splits are spelled: what is the same value gets one text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import is_number

# What does not tell two texts apart: blanks, quotes, and marks after a letter, unless a sign follows.
ASIDE = (
    r"[\s_'\"`´‘’“”\u200b-\u200d\ufeff]+"
    r"|(?<=[^\W\d])[.,;:!-]+(?=$|[^\W\d])"
)
WHOLE = r"^([+-]?\d+)\.0+$"
WHOLE_SECOND = r"(:\d\d)\.0+$"
SPLITS = ("train", "val", "test")
# Other words for the splits, in lower case.
SPLIT_WORDS = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "development": "val",
    "eval": "val",
    "testing": "test",
    "tst": "test",
    "trn": "train",
    "tr": "train",
    "holdout": "test",
    "hold-out": "test",
    "publictest": "val",  # as Kaggle names two tests
    "privatetest": "test",
}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # at the ends of a text, characters without a width


def spelled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of numbers or texts as texts, each value in one spelling.

    Blanks around a text are cut off, no-break spaces and invisible characters too. Where all values are whole
    numbers, 1.0 is 1. An empty text and NaN have no value.

    Example:
        >>> spelled(pa.chunked_array([["cat ", "\u00a0dog", " ", None]])).to_pylist()
        ['cat', 'dog', None, None]
        >>> spelled(pa.chunked_array([["1", "2.0"]])).to_pylist()
        ['1', '2']
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.all(pc.equal(column, pc.round(column))).as_py()
        if whole and (pc.max(pc.abs(column)).as_py() or 0) < 2**53:
            return column.cast(pa.int64()).cast(pa.string())
    if is_number(column.type):
        return column.cast(pa.string())
    column = _trimmed(column)
    values = column.drop_null()
    fractions = pc.any(pc.match_substring_regex(values, WHOLE)).as_py()
    if fractions and pc.all(pc.match_substring_regex(values, r"^[+-]?\d+(\.0+)?$")).as_py():
        return pc.replace_substring_regex(column, WHOLE, r"\1")
    return column


def spelled_as(column: pa.ChunkedArray, known: Sequence[str]) -> pa.ChunkedArray:
    """Return texts in the spelling that ``spelled`` gave the values of another column, where they are known.

    Example:
        >>> spelled_as(pa.chunked_array([["1.0 ", "2"]]), ["1", "2"]).to_pylist()
        ['1', '2']
        >>> spelled_as(pa.chunked_array([["1.0 ", "2"]]), ["1.0", "2.5"]).to_pylist()
        ['1.0', '2']
    """
    texts = _trimmed(column)
    whole = pc.replace_substring_regex(texts, WHOLE, r"\1")
    return pc.if_else(pc.is_in(whole, pa.array(known, pa.string())), whole, texts)


def category_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers, texts or times as the texts of categories: one value, whichever others are beside it.

    As in Python and in databases, 1, 1.0, True and their texts are one value. Cells that can be no category,
    such as lists, have no text.

    Example:
        >>> [category_texts(pa.chunked_array([[value]])).to_pylist() for value in (1.0, "1.0 ", True, "TRUE")]
        [['1'], ['1'], ['1'], ['1']]
        >>> category_texts(pa.chunked_array([["1.0", "1.50", "red", ""]])).to_pylist()
        ['1', '1.50', 'red', None]
    """
    kind = column.type
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.and_(pc.equal(column, pc.round(column)), pc.less(pc.abs(column), 2.0**53))
        numbers = pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())
        return pc.coalesce(numbers, column.cast(pa.string()))
    if is_number(column.type):
        return column.cast(pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_temporal(kind)):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    column = _trimmed(column)
    for pattern, text in ((WHOLE, r"\1"), (WHOLE_SECOND, r"\1"), ("^(?i:true)$", "1"), ("^(?i:false)$", "0")):
        column = pc.replace_substring_regex(column, pattern, text)
    return column


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without what is invisible at their ends; empty ones have no value."""
    column = pc.utf8_trim(pc.utf8_trim_whitespace(column.cast(pa.string())), INVISIBLE)
    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(column, ""), None, column)


def words_of(name: str) -> list[str]:
    """Return the words of a column's name, in lower case.

    Example:
        >>> words_of("customerId_2"), words_of("Breed1"), words_of("PULocationID")
        (['customer', 'id'], ['breed'], ['pulocation', 'id'])
    """
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W\d_]+", name.casefold()) if word]


def split_names(column: pa.Array) -> pa.Array:
    """Return the splits that the texts of a column stand for; other texts stay as they are.

    Example:
        >>> split_names(pa.array(["Train", "dev", "TESTING", "fold1"])).to_pylist()
        ['train', 'val', 'test', 'fold1']
    """
    known = {}
    for text in column.unique().drop_null().to_pylist():
        word = text.casefold()
        known[text] = word if word in SPLITS else SPLIT_WORDS.get(word, text)
    names = pa.array([*known.values()], pa.string())
    return names.take(pc.index_in(column, pa.array([*known], pa.string())))


def alike(values: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the texts that differ only in case, Unicode form, blanks, quotes and the like, together.

    So are whole numbers with and without zeros before them. Signs that tell, as in ``c++``, count.

    Example:
        >>> alike(["cat", "dog", "Cat", "'cat'", "c", "c++", "1", "01"])
        [("'cat'", 'Cat', 'cat'), ('01', '1')]
    """
    of_key: dict[str, set[str]] = {}
    for value in values:
        key = "".join(re.split(ASIDE, unicodedata.normalize("NFKC", value).casefold())) or value
        of_key.setdefault(key.lstrip("0") or "0" if key.isdecimal() else key, set()).add(value)
    return [tuple(sorted(same)) for same in of_key.values() if len(same) > 1]
