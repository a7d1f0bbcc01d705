"""Encode texts as the numbers of their words and character n-grams, in a vocabulary of the training split."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers.base import BadCellError, Reader, check_file, check_positive, sample, silent

NGRAMS = (2, 3, 4, 5)
MAX_VOCABULARY = 50_000
MAX_LENGTH = 1024
MAX_CHARACTERS = 20_000
_MAX_BYTES = 4 * (MAX_CHARACTERS + 1)  # of one character more than that, at least
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
MAX_TEXTS = 50_000  # from which the vocabulary is learnt: more change little, and take long
MAX_TOKENS = 2_000_000  # different tokens that are counted at a time


@dataclass(frozen=True)
class TextReader(Reader):
    """Encode to int32 [length]: token numbers from 1, padded with 0.

    A text is lower-cased and split into words; the tokens are the words and their character n-grams (2 to 5,
    with marks at the word's borders), as in fastText (Bojanowski et al., 2017, arXiv 1607.04606). Number 1
    stands for a text without any known token, so that no text is empty.

    Example:
        >>> reader = TextReader(vocabulary=("<owl>", "ow"), length=4)
        >>> reader.read("Owl, owl").tolist()
        [2, 3, 2, 3]
        >>> reader.read("cat").tolist()
        [1, 0, 0, 0]
    """

    vocabulary: tuple[str, ...]
    length: int

    name = "text"
    type = "text"
    dtype = np.int32

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def tokens(self) -> int:
        """Return how many token numbers there are, with that of the padding."""
        return len(self.vocabulary) + 2

    @property
    def words(self) -> NDArray[np.bool_]:
        """Return which token numbers [tokens] stand for whole words, or for no known token.

        Example:
            >>> TextReader(vocabulary=("<owl>", "ow", "<ow"), length=4).words.tolist()
            [False, True, True, False, False]
        """
        whole = [
            token.startswith("<") and token.endswith(">") and len(token) > 2 for token in self.vocabulary
        ]
        return np.array([False, True, *whole])

    @cached_property
    def _number(self) -> dict[str, int]:
        return {token: i + 2 for i, token in enumerate(self.vocabulary)}

    @classmethod
    def fit(
        cls,
        cells: Sequence[Any],
        *,
        vocabulary: Sequence[str] | None = None,
        length: int | None = None,
        min_count: int = 1,
    ) -> Self:
        """Learn the vocabulary: the tokens that occur in at least ``min_count`` training texts."""
        check_positive(length=length, min_count=min_count)
        counts: Counter[str] = Counter()
        lengths = []
        for cell in sample(cells, MAX_TEXTS):
            try:
                tokens = [*islice(_tokens(text_of(cell, silent)), MAX_LENGTH)]
            except Exception:  # reported when it is read
                continue
            counts.update(set(tokens))
            lengths.append(len(tokens))
            if len(counts) > MAX_TOKENS:  # drop the rarest, as in lossy counting
                counts = Counter({token: n for token, n in counts.items() if n > 1})
        if vocabulary is None:
            frequent = [(-n, token) for token, n in counts.items() if n >= min_count]
            vocabulary = [token for _, token in sorted(frequent)[:MAX_VOCABULARY]]
        longest = int(np.quantile(lengths, 0.99)) if lengths else 1
        return cls(tuple(vocabulary), length or min(MAX_LENGTH, max(8, longest)))

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        text_of(cell, note)

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        known = (self._number.get(token) for token in _tokens(text_of(cell, note)))
        numbers = [*islice(filter(None, known), self.length)] or [1]
        return np.array(numbers + [0] * (self.length - len(numbers)), dtype=np.int32)


def text_of(cell: Any, note: Callable[[str], None]) -> str:
    r"""Return the text of a cell: a string, bytes, or the path of a file.

    Example:
        >>> text_of("an owl", note=print)
        'an owl'
        >>> text_of(b"caf\xe9", note=print)
        not UTF-8, read as latin-1
        'café'
    """
    if isinstance(cell, Path):
        with check_file(cell).open("rb") as file:
            cell = file.read(_MAX_BYTES)
    if isinstance(cell, bytes):
        cell = _decode(cell[:_MAX_BYTES], note)
    if not isinstance(cell, str | int | float):
        raise BadCellError(f"not a text but {type(cell).__name__}")
    text = str(cell)
    if len(text) > MAX_CHARACTERS:
        note(f"cut to its first {MAX_CHARACTERS:,} characters")
        text = text[:MAX_CHARACTERS]
    text = text.encode(errors="replace").decode()  # JSON may have half of a surrogate pair
    if not text.strip():
        raise BadCellError("empty text")
    if "\0" in text:
        raise BadCellError("not a text: it has NUL characters")
    return text


def _decode(content: bytes, note: Callable[[str], None]) -> str:
    """Decode UTF-8, with or without a byte order mark; other bytes as latin-1, which accepts any."""
    whole = len(content) < _MAX_BYTES  # otherwise the last character may be cut in two
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content, final=whole)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        if _CONTROL.search(text):
            raise BadCellError("not a text: neither UTF-8 nor latin-1") from None
        note("not UTF-8, read as latin-1")
        return text


@cache
def _words() -> re.Pattern[str]:
    """Return what matches a word with its marks (as vowels of Indic scripts), or a single other character."""
    marks = "".join(chr(i) for i in range(0x300, 0x1F000) if unicodedata.category(chr(i)) in ("Mn", "Mc"))
    marks += "\u200c\u200d"  # joiners within words
    return re.compile(rf"[\w{marks}]+|[^\w\s{marks}]")


def _tokens(text: str) -> Iterator[str]:
    for word in _words().findall(unicodedata.normalize("NFKC", text).lower()):
        bordered = f"<{word}>"
        yield bordered
        for n in NGRAMS:
            if n < len(bordered):
                yield from (bordered[i : i + n] for i in range(len(bordered) - n + 1))
