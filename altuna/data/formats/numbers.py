"""Read numbers that are written as people write them: 1.234,5 or $1,200 or 12 kg or 5 %."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.styles import SAMPLES, STYLES, parse_style
from altuna.options import shown

# Words for a missing number, in lower case.
MISSING = (
    *("na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "null", "none", "nil", "?", "-", "--", "."),
    *("missing", "unknown", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
    *("k.a.", "k. a.", "n.d.", "n.v.", "not available", "not applicable", "not known", "tbd", "-/-", "---"),
    *("\\n", ".."),
)
MOSTLY = 0.9  # of the filled cells: so many must be numbers, for the others to count as mistakes
FEW = 10  # different numbers, which may be categories as well
REPEATED = 3  # cells of each code on average
BOUND = r"^\s*[<>≤≥]\s?=?\s?"  # before a number beyond what can be measured, as <0.5
MANY = 0.5  # so many numbers are worth a remark on the cells that are none
MULTIPLE = r"\d\s?[kKMB]\+?\s*$"  # thousands, millions, billions
OFTEN = 0.1  # of the cells: a unit of so many is that of the column
SAMPLE = 1000  # cells from which the format is found
# Of decimals, and between groups of three digits: the more usual ones first.
MARKS = ((".", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
MAX_LENGTH = 60  # characters of a number
CODES = "USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN|BRL|MXN|KRW|RUB|TRY|ZAR"
PREFIX = rf"(?:US|A|C|R|HK|NZ)?[$€£¥₹₩₽₺₫฿₴₪]|(?:{CODES}|Rs\.?|#|~|≈)\s?"
UNIT = r"[^\W\d_]{1,6}[²³]?"
PER = rf"/(?:\d{{1,4}}\s?)?(?:{UNIT}|\({UNIT}(?:[·*]{UNIT})+\))"  # as in l/100 km or W/(m²·K)
SUFFIX = rf"\s?(?:%|‰|[$€£¥₹₩₽₺₫฿₴₪]|[°µ]?[^\W\d_]{{1,12}}[²³]?\.?(?:\s{UNIT}\.?|{PER})?|{PER}|\+|″|\")"
ASIDE = r"\s\(\d[^()]{0,30}\)\s*$"  # the same in another unit, as in 110 kW (150 hp)"
NUMBER = r"[\d.,'’\s\u00a0\u202f\u066b]*\d[\d.,'’\s\u00a0\u202f\u066b]*(?:[eE][+-]?\d+)?"
AROUND = re.compile(rf"\(?[+-]?({PREFIX})?[+-]?({NUMBER}?)({SUFFIX})?\)?")
DIGITS = tuple(  # of other scripts: each has its ten digits in a row
    (chr(zero), f"[{chr(zero)}-{chr(zero + 9)}]") for zero in (0xFF10, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50)
)


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Args:
        prefix: Text before each number, such as ``$``; a cell may lack it.
        suffix: Text after each number, such as ``%``; a cell may lack it.
        decimal: The decimal mark, ``.`` or ``,``.
        groups: The mark between groups of three digits, if there is any.
        missing: Numbers that stand for a missing one, such as -999.
        style: How numbers of several parts are written, a key of ``STYLES``; besides it, only ``prefix`` and
            ``missing`` have an effect.
        bounds: Read a bound such as ``<0.5`` as its number.

    Example:
        >>> NumberFormat("$", groups=",").parse(pa.chunked_array([["$1,200.5", "7", "?"]])).to_pylist()
        [1200.5, 7.0, None]
    """

    prefix: str = ""
    suffix: str = ""
    decimal: str = "."
    groups: str = ""
    missing: tuple[float, ...] = ()
    style: str = ""
    bounds: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as Arrow and Python read them."""
        return replace(self, missing=()) == NumberFormat()

    @property
    def sample(self) -> str:
        """A number that is written so, for messages."""
        if self.style:
            return self.prefix + SAMPLES[self.style][0]
        unit = " " * self.suffix[:1].isalnum() + self.suffix
        return f"{self.prefix}1{self.groups}234{self.decimal}5{unit}"

    @property
    def unit(self) -> str:
        """The unit that its numbers have; "" if it has none."""
        return SAMPLES[self.style][1] if self.style else self.suffix

    def parse(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return texts as float64 numbers, null where a text is not a number of this format."""
        chunks = [self._parse(chunk) for chunk in cells.chunks]
        return without(pa.chunked_array(chunks, pa.float64()), self.missing)

    def _parse(self, cells: pa.Array) -> pa.Array:
        prefix, suffix = (rf"(?:{re.escape(text.strip())})?" for text in (self.prefix, self.suffix))
        if self.style:
            return parse_style(pc.replace_substring_regex(cells, rf"^\s*{prefix}\s?", ""), self.style)
        if self.bounds:
            cells = pc.replace_substring_regex(cells, BOUND, "")
        if self.suffix:
            cells = pc.replace_substring_regex(cells, ASIDE, "")
        cells = pc.utf8_trim_whitespace(cells)
        cells = _plain_signs(cells)
        for mark in "\u00a0\u202f" if self.groups == " " else "’" if self.groups == "'" else "":
            cells = pc.replace_substring(cells, mark, self.groups)
        decimal, groups = re.escape(self.decimal), re.escape(self.groups)
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{groups}\d{{3}})+)" if groups else r"\d+"
        fraction = r"\d+" if self.suffix else r"\d*"  # 1.npy has no unit
        number = rf"(?:(?:{whole}(?:{decimal}{fraction})?|{decimal}\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?)"
        written = rf"([+-]?)\s?{prefix}\s?({number})\s?{suffix}"
        signed = rf"{prefix}\s?([+-])({number})\s?{suffix}"
        cells = pc.replace_substring_regex(cells, rf"^{signed}$", r"\1\2")  # $-5
        cells = pc.replace_substring_regex(cells, rf"^\(({written})\)$", r"-\1")  # as in accounting
        known = pc.match_substring_regex(cells, f"^{written}$")
        cells = pc.replace_substring_regex(pc.if_else(known, cells, None), f"^{written}$", r"\1\2")
        if self.groups:
            cells = pc.replace_substring(cells, self.groups, "")
        if self.decimal != ".":
            cells = pc.replace_substring(cells, self.decimal, ".")
        return cells.cast(pa.float64())


def _plain_signs(cells: pa.Array) -> pa.Array:
    """Return texts with ASCII digits and signs; a minus after its number comes before it, as 5-."""
    cells = pc.replace_substring(cells, "\u2212", "-")  # the minus sign
    if pc.any(pc.match_substring_regex(cells, "[" + "".join(some[1:-1] for _, some in DIGITS) + "]")).as_py():
        for zero, _ in DIGITS:
            for digit in range(10):
                cells = pc.replace_substring(cells, chr(ord(zero) + digit), str(digit))
        cells = pc.replace_substring(pc.replace_substring(cells, "\u066b", "."), "\u066c", ",")
    cells = pc.replace_substring_regex(cells, r"^'([+-]?[\d.,]+)$", r"\1")  # as Excel marks texts
    return pc.replace_substring_regex(cells, r"^([\d.,]+)-$", r"-\1")  # as SAP writes


class Numbers(NamedTuple):
    """A column of texts, read as numbers where it is one of numbers, how it is written, and remarks.

    ``example`` is a cell of which the format changes the value or the look; ``words`` counts the words for a
    missing number; ``problem`` is a remark on cells that are no numbers, if there is any.

    Example:
        >>> Numbers(pa.chunked_array([["hoot"]]), None).problem
        ''
    """

    column: pa.ChunkedArray
    format: NumberFormat | None
    example: str = ""
    words: Mapping[str, int] = MappingProxyType({})
    problem: str = ""


def read_known(column: pa.ChunkedArray, known: NumberFormat) -> Numbers:
    """Return a column of texts as numbers of the format of the training data.

    Other cells become empty, and ``problem`` names the first of them: a number of another unit, currency or
    style must not be taken for one of the column. A number without the unit is read as with it. Another
    decimal mark or other groups count only if all cells of the column have them, and can be read in no other
    way. The column stays as it is if the format is plain and reads none of its cells.

    Example:
        >>> read = read_known(pa.chunked_array([["72 kg", "20000 g", "65"]]), NumberFormat(suffix="kg"))
        >>> read.column.to_pylist()
        [72.0, None, 65.0]
        >>> german = NumberFormat(decimal=",", groups=".")
        >>> read_known(pa.chunked_array([["1.234"]]), german).column.to_pylist()
        [1234.0]
    """
    empty, plain = means_missing(column), replace(known, missing=())
    numbers, problems = plain.parse(column), []
    if (other := _other_marks(column, numbers, empty, plain)) is not None:
        differ = pc.not_equal(other, numbers)  # null where the format reads no number
        differ = differ if pc.any(differ).as_py() else pc.and_(pc.is_valid(other), pc.is_null(numbers))
        row = pc.index(differ, True).as_py()
        read = f"row {row + 1} is {shown(column[row].as_py())}, read as {other[row].as_py():.15g}"
        problems.append(f"{read}: the column is not written as in training ({plain.sample!r})")
        numbers = other
    wrong = pc.and_(pc.is_null(numbers), pc.invert(empty))
    if mistakes := pc.sum(wrong).as_py() or 0:
        row = pc.index(wrong, True).as_py()
        first = (
            f"row {row + 1} is {shown(column[row].as_py())}, no number like {plain.sample!r}, as in training"
        )
        problems.append(f"{first}{_more(mistakes)}: missing")
    if mistakes and numbers.null_count == len(numbers) and known.is_plain:
        return Numbers(column, None, problem="; ".join(problems))
    problems += _without_unit(column, numbers, known.suffix or known.prefix, of_training=True)
    numbers = without(numbers, known.missing)
    return Numbers(numbers, known, _example(column, numbers), count_words(column, empty), "; ".join(problems))


def _other_marks(
    column: pa.ChunkedArray, numbers: pa.ChunkedArray, empty: pa.ChunkedArray, known: NumberFormat
) -> pa.ChunkedArray | None:
    """Return the numbers of a column in which all are written with other marks, and can mean nothing else."""
    absent = pc.sum(empty).as_py() or 0
    if known.style or numbers.null_count == absent:
        return None
    unread = column.filter(pc.and_(pc.is_null(numbers), pc.invert(empty))).slice(0, SAMPLE)
    formats = [
        other
        for other in _formats(known.prefix, known.suffix, None, known.bounds)
        if not other.parse(unread).null_count
    ]
    whole = [read for other in formats if (read := other.parse(column)).null_count == absent]
    return whole[0] if whole and all(read.equals(whole[0]) for read in whole) else None


def read_numbers(column: pa.ChunkedArray, decimal: str | None = None) -> Numbers:
    """Return a column of texts as numbers if nearly all of its cells are numbers of one format.

    The other cells become empty: words for a missing number, and mistakes, which ``problem`` names. At most
    a tenth of the cells may be mistakes.

    Args:
        column: The texts.
        decimal: The decimal mark of other columns: it decides whether 1,234 has thousands.

    Example:
        >>> numbers = read_numbers(pa.chunked_array([["3,5 kg", "1.204,2 kg", "NA"]]))
        >>> numbers.column.to_pylist(), numbers.format.decimal, numbers.words
        ([3.5, 1204.2, None], ',', {'NA': 1})
    """
    empty = means_missing(column)
    filled = len(column) - (pc.sum(empty).as_py() or 0)
    some = _some(column.filter(pc.invert(empty)))
    if not filled or not len(some):
        return Numbers(column, None)
    best, share = _best(some, decimal)
    if best is None or share < MANY:
        return Numbers(column, None)
    numbers = best.parse(column)
    if _are_padded(column, numbers):
        return Numbers(column, None)
    if len(some) < filled or best.style:  # the whole column may tell more; a few clock times may have hours
        plain = () if best.style else _formats(best.prefix, best.suffix, decimal, best.bounds)
        for other in (*plain, *(NumberFormat(best.prefix, style=style) for style in STYLES)):
            if len(numbers) - numbers.null_count == filled:
                break
            parsed = other.parse(column)
            if parsed.null_count < numbers.null_count:
                best, numbers = other, parsed
    wrong = pc.and_(pc.is_null(numbers), pc.invert(empty))
    mistakes = pc.sum(wrong).as_py() or 0
    good = filled - mistakes
    if not good:
        return Numbers(column, None)
    words = count_words(column, empty)
    if good < MOSTLY * filled and (word := _only_word(column.filter(wrong), numbers)):
        words, mistakes, good = {**words, word: mistakes}, 0, filled
    row = pc.index(wrong, True).as_py()
    first = f"row {row + 1} is {shown(column[row].as_py())}" if mistakes else ""
    if good < MOSTLY * filled:
        telling = good >= MANY * filled and not best.prefix + best.suffix
        problem = f"{first}; it is read as text, though {good:,} of {filled:,} cells are numbers"
        return Numbers(column, None, problem=problem * telling)
    problem = f"{first}, no number{_more(mistakes)}: missing; the other {good:,} cells are numbers"
    problems = [*[problem] * bool(mistakes), *_without_unit(column, numbers, best.suffix)]
    return Numbers(numbers, best, _example(column, numbers), words, "; ".join(problems))


def _without_unit(
    column: pa.ChunkedArray, numbers: pa.ChunkedArray, unit: str, of_training: bool = False
) -> list[str]:
    """Return a remark on numbers other than 0 that lack the unit of others, or of training, if any do."""
    lack = pc.and_(pc.invert(pc.match_substring(column, unit)), pc.not_equal(numbers, 0)).fill_null(False)
    count = pc.sum(lack).as_py() or 0
    others = len(numbers) - numbers.null_count - count
    if not unit or not count or not (others or of_training):
        return []
    row = pc.index(lack, True).as_py()
    have = f"{others:,} have it" if others else "which those of training have"
    start = f"row {row + 1} is {shown(column[row].as_py())}: {count:,} numbers have no {unit!r}, {have}"
    return [f"{start}; all are read as of one scale"]


def _more(mistakes: int) -> str:
    return f" ({mistakes - 1:,} more such cells)" if mistakes > 1 else ""


def without(numbers: pa.ChunkedArray, missing: Iterable[float]) -> pa.ChunkedArray:
    """Return a column of numbers that is empty where it has one of those for a missing number.

    Example:
        >>> without(pa.chunked_array([[1.0, -999.0]]), [-999.0]).to_pylist()
        [1.0, None]
    """
    for number in missing:
        numbers = pc.if_else(pc.equal(numbers, number), None, numbers)
    return numbers


def _best(some: pa.ChunkedArray, decimal: str | None) -> tuple[NumberFormat | None, float]:
    """Return the format that reads the most cells, the earlier one of equals, and its share of them."""
    best, share = None, 0.0
    bounds = pc.sum(pc.match_substring_regex(some, rf"{BOUND}[\d.]")).as_py() > 1
    prefix, suffix = _around(some)
    formats = [*_formats(prefix, suffix, decimal, bounds)]
    if pc.any(pc.match_substring_regex(some, MULTIPLE)).as_py():  # 5M beside 131000 is no unit
        formats.insert(0, NumberFormat(prefix, style="multiples"))
    for format in [*formats, *(NumberFormat(style=style) for style in STYLES)]:
        if format.style and share >= MOSTLY:
            break
        if (found := 1 - format.parse(some).null_count / len(some)) > share:
            best, share = format, found
        if share == 1:
            break
    return best, share


def _formats(prefix: str, suffix: str, decimal: str | None, bounds: bool = False) -> Iterator[NumberFormat]:
    """Yield the formats to try, the more usual ones first."""
    for mark, groups in sorted(MARKS, key=lambda marks: (marks[1] != "", marks[0] != decimal)):
        yield NumberFormat(prefix, suffix, mark, groups, bounds=bounds)


def _around(some: pa.ChunkedArray) -> tuple[str, str]:
    """Return what most cells with a sign or unit have before and after their number, if these are not few."""
    pairs: Counter[tuple[str, str]] = Counter()
    for text in some.to_pylist():
        bare = re.sub(ASIDE, "", re.sub(BOUND, "", text)) if len(text) < MAX_LENGTH else ""
        if bare and (found := AROUND.fullmatch(bare.strip())):
            pairs[(found[1] or "").strip(), (found[3] or "").strip()] += 1
    often = [pair for pair in pairs if any(pair) and pairs[pair] > OFTEN * len(some)]
    return max(often or pairs, key=lambda pair: (pairs[pair], pair), default=("", ""))


def _some(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return up to a thousand cells, evenly spaced; none if the first ones have no digits at all."""
    first = texts.slice(0, 20)
    if not pc.any(pc.match_substring_regex(first, r"^.{0,12}\p{Nd}")).as_py():
        return texts.slice(0, 0)
    step = -(-len(texts) // SAMPLE)
    return texts.take(pa.array(np.arange(0, len(texts), step)))


def _are_padded(column: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    """Return whether whole numbers are codes: some start with 0, as 01067, and they repeat."""
    padded = pc.any(pc.match_substring_regex(column, r"^\s*0(?:\d+|[xX][0-9a-fA-F]+)\s*$")).as_py()
    whole = pc.all(pc.match_substring_regex(column, r"^\s*(?:\d*|0[xX][0-9a-fA-F]+)\s*$")).as_py()
    known = len(numbers) - numbers.null_count
    return bool(padded and whole and known >= REPEATED * pc.count_distinct(column).as_py())


def _only_word(others: pa.ChunkedArray, numbers: pa.ChunkedArray) -> str:
    """Return the word that all other cells of a column of numbers have: it stands for a missing number.

    It is "" if they differ, are most cells, or if the numbers are so few that they may be categories.
    """
    words = pc.utf8_trim_whitespace(others).unique().to_pylist()
    known = len(numbers) - numbers.null_count
    few = known < len(others) or pc.count_distinct(numbers).as_py() < FEW
    return str(words[0]) if len(words) == 1 and not few else ""


def means_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which texts stand for a missing value: empty ones and words such as NA (bool).

    Example:
        >>> means_missing(pa.chunked_array([["NA", " ", None, "3"]])).to_pylist()
        [True, True, True, False]
    """
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    return pc.or_(pc.is_null(column), pc.is_in(words, pa.array(["", *MISSING])).fill_null(True))


def count_words(column: pa.ChunkedArray, empty: pa.ChunkedArray) -> dict[str, int]:
    """Return how often each word is in the cells that stand for a missing value, ``means_missing``.

    Example:
        >>> column = pa.chunked_array([["NA", " ", "3", "NA"]])
        >>> count_words(column, means_missing(column))
        {'NA': 2}
    """
    cells = pc.utf8_trim_whitespace(column.filter(empty).drop_null())
    counts = pc.value_counts(cells.combine_chunks()).to_pylist()
    return {pair["values"]: pair["counts"] for pair in counts if pair["values"]}


def _example(column: pa.ChunkedArray, numbers: pa.ChunkedArray) -> str:
    """Return a cell that is not written as Arrow reads numbers, with its number; "" if there is none."""
    first = column.filter(pc.is_valid(numbers))
    odd = pc.invert(pc.match_substring_regex(first, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"))
    if (row := pc.index(odd, True).as_py()) < 0:
        return ""
    return f"{shown(first[row].as_py().strip())} is {numbers.drop_null()[row].as_py():.15g}"
