"""Find the kind of a column: a type of modality, or number, category, or the format of its dates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import filled, first_values, is_list, is_number
from altuna.data.formats.dates import FORMATS, date_format, first_no_date, mixed_dates
from altuna.data.formats.numbers import NumberFormat
from altuna.data.formats.spelling import category_texts, words_of
from altuna.data.table.column_types import TYPES, check_cells, column_type
from altuna.data.table.paths import unreadable
from altuna.data.table.sequences import array_type
from altuna.errors import UnreadableColumnError
from altuna.options import shown

# Words in the names of columns that are texts, even if they have few values.
TEXT_NAMES = {
    *("text", "texts", "title", "titles", "caption", "captions", "description", "descriptions", "note"),
    *("notes", "comment", "comments", "review", "reviews", "sentence", "sentences", "question", "answer"),
    *("message", "remark", "remarks", "transcript", "utterance", "tweet", "headline", "summary"),
}
# Last words in the names of columns whose whole numbers are codes if they repeat.
CODE_NAMES = {
    *(
        "id",
        "code",
        "codes",
        "zip",
        "zipcode",
        "postcode",
        "plz",
        "class",
        "type",
        "kind",
        "category",
    ),
    *("cluster", "gender", "sex", "color", "colour", "breed", "brand", "shop", "store", "station", "sector"),
    *("country", "state", "region", "county", "district", "location", "site", "ward", "department", "status"),
}
# Words in the names of columns whose whole numbers are counts or steps, whatever the last word is.
COUNT_NAMES = {
    *(
        "at",
        "in",
        "of",
        "per",
        "to",
        "from",
        "since",
        "by",
        "year",
        "years",
        "months",
        "weeks",
        "days",
        "hours",
    ),
    *("age", "num", "number", "count", "distance", "rank"),
}
MIN_ROWS = 20  # in a smaller column, values tell too little about it
OFTEN = 10  # cells of each category, on average
OFTEN_CODE = 3  # the same where categories are codes or single words
MAX_CATEGORIES, MAX_PHRASES = 1000, 50  # categories of a column, and if they are phrases
MOSTLY = 0.9  # of the values: so many must look alike
PATH = re.compile(r"[^\s/\\<>{}\"]*(?:[/\\][^\s/\\<>{}\"]+)+[/\\]?")  # without an ending that tells the type
FEW_WORDS, MAX_LENGTH = 2.5, 60  # words of a category on average, letters of each


@dataclass
class ColumnKinds:
    """Finds the kinds of a table's columns.

    Args:
        path: Path of the table, for errors and for the files that its cells name.
        table: The table.
        declared: Column to the type that the file itself states for it.
        types: Column to the type that the user states for it.
        lenient: Take columns of files that cannot be read as text.
        notes: Where remarks for the user are added.

    Example:
        >>> table = pa.table({"born": ["2020-01-02"], "room": ["a red room"]})
        >>> kinds = ColumnKinds(Path("owls.csv"), table, {}, {})
        >>> kinds.of("born"), kinds.of("room")
        ('%Y-%m-%d', 'text')
    """

    path: Path
    table: pa.Table
    declared: Mapping[str, str]
    types: Mapping[str, str]
    lenient: bool = False
    notes: list[str] = field(default_factory=list)

    def of(self, name: str, stated: str | None = None) -> str | None:
        """Return the kind of a column; None if it is empty or of no use.

        Args:
            name: The column.
            stated: Its kind where it is stated in ``modalities``; of ``tabular`` the kind is inferred.

        Raises:
            UserError: Its cells are not of the stated kind, or are paths of unreadable files.
        """
        if stated := stated or self.types.get(name):
            check_cells(self.path, self.table, [name], stated)
        if stated == "date":
            return self._stated_date(name)
        if stated == "number":
            return self._number(name)
        if stated == "tabular":
            kind = self._inferred(name)
            return "category" if kind in TYPES or kind == "class" else kind
        return stated or self._inferred(name)

    def _inferred(self, name: str) -> str | None:
        column = self.table[name]
        self._check_readable(name)
        found = column_type(column, self.declared.get(name), self.path.parent)
        if found == "vector" and not is_list(column.type):
            return array_type(self.path.parent, column)
        if found == "number" and is_code(name, column):
            return "category"
        if found != "text" or name in self.declared:
            return found
        if format := self._date(name):
            return format
        is_text = not TEXT_NAMES.isdisjoint(words_of(name))
        kind = "category" if not is_text and is_category(column) else "text"
        if self._is_of_texts(name) and (remark := mixed_dates(column)):
            self.notes.append(f"{self.path}, column {name!r}: is read as {kind}: {remark}")
        if kind == "category":
            return kind
        if self._is_of_texts(name) and (path := absent_path(first_values(column))):
            remark = f"read as text: its cells look like paths, but there is no file {path!r}"
            self.notes.append(f"{self.path}, column {name!r}: {remark}")
        return "text"

    def _is_of_texts(self, name: str) -> bool:
        kind = self.table[name].type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def _date(self, name: str, *, stated: bool = False) -> str | None:
        column = self.table[name]
        texts = (
            column if self._is_of_texts(name) else category_texts(column)
        )  # which takes a second a million
        format, remark = date_format(texts, stated=stated) or (None, "")
        self.notes += [f"{self.path}, column {name!r}: {remark}"] * bool(remark)
        return format

    def _stated_date(self, name: str) -> str:
        column = category_texts(self.table[name])
        format = self._date(name, stated=True)
        if format is None and column.null_count < len(column):
            self._refuse(name, first_no_date(column), "is no date, or not one like the others")
        return format or FORMATS[0]  # of an empty column

    def _number(self, name: str) -> str:
        column = self.table[name]
        if not (is_number(column.type) or pa.types.is_null(column.type)):
            unread = pc.is_null(NumberFormat().parse(column.cast(pa.string())))
            self._refuse(name, pc.index(pc.and_(unread, filled(column)), True).as_py(), "is not a number")
        return "number"

    def _check_readable(self, name: str) -> None:
        column = self.table[name]
        texts = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if texts and not self.lenient and (reason := unreadable(first_values(column))):
            words = quote(f"types.{name}=text")
            options = f"--ignore {quote(name)} leaves it out, --set {words} reads its words"
            self._refuse(name, 0, f"{reason} ({options})")

    def _refuse(self, name: str, row: int, reason: str) -> NoReturn:
        """Raise UserError for the first filled cell from a row on."""
        column = self.table[name]
        row += max(0, pc.index(filled(column.slice(row)), True).as_py())
        raise UnreadableColumnError(
            f"{self.path}, row {row + 1}, column {name!r}: {shown(column[row].as_py())}: {reason}", name
        )


def is_code(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether a column of numbers has codes: its name says so, and they are whole and repeat.

    Two different numbers are the same to a model as two categories.

    Example:
        >>> numbers = pa.chunked_array([[10115, 20095, 80331] * 8])
        >>> is_code("zip", numbers), is_code("price", numbers)
        (True, False)
    """
    words = words_of(name)
    if (
        CODE_NAMES.isdisjoint(words[-1:])
        or not COUNT_NAMES.isdisjoint(words)
        or pa.types.is_boolean(column.type)
    ):
        return False
    cells = column.drop_null()
    distinct = pc.count_distinct(cells).as_py()
    whole = pc.all(pc.equal(cells, pc.floor(cells))).as_py()
    few = 2 < distinct <= min(len(cells) // OFTEN_CODE, MAX_CATEGORIES)
    return bool(len(cells) >= MIN_ROWS and whole and few)


def absent_path(values: Sequence[str | bytes]) -> str:
    """Return the first of some values if nearly all look like paths without an ending; "" if they do not.

    Example:
        >>> absent_path(["clips/owl/1", "clips/owl/2"]), absent_path(["an owl", "owls and/or cats"])
        ('clips/owl/1', '')
    """
    texts = [value.strip() for value in values if isinstance(value, str)]
    paths = [text for text in texts if PATH.fullmatch(text) and re.search(r"[^\W\d]", text)]  # not 1/2
    many = len(paths) >= MOSTLY * len(texts) and len({*texts}) > len(texts) / 2
    return paths[0][:80] if paths and many else ""


def is_category(column: pa.ChunkedArray) -> bool:
    """Return whether a column of texts has few values, of few words, each of them often.

    Example:
        >>> [is_category(pa.chunked_array([["red", "blue"] * n])) for n in (10, 2)]
        [True, False]
    """
    cells = column.filter(filled(column))
    if len(cells) < MIN_ROWS or len(cells.slice(0, 2000).unique()) > MAX_CATEGORIES:
        return False
    values = [value.strip() for value in cells.unique().to_pylist()]
    words = np.mean([len(value.split()) for value in values])
    often = OFTEN_CODE if words == 1 else OFTEN
    most = min(len(cells) // often, MAX_CATEGORIES if words <= FEW_WORDS else MAX_PHRASES)
    return len(values) <= most and max(map(len, values)) <= MAX_LENGTH
