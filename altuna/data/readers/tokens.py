"""Encode texts as the token numbers of a pretrained model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from altuna.data.readers.base import BadCellError, Reader, check_positive, sample, silent
from altuna.data.readers.text import text_of
from altuna.errors import UserError


@dataclass(frozen=True)
class TokenReader(Reader):
    """Encode to int32 [length]: the numbers of a tokenizer plus 1, padded with 0.

    ``tokenizer`` is JSON of the tokenizers library, which has all of it, so that a run needs no other file.

    Example:
        >>> model = {"type": "WordLevel", "vocab": {"owl": 0, "?": 1}, "unk_token": "?"}
        >>> tokenizer = json.dumps({"model": model, "pre_tokenizer": {"type": "Whitespace"}})
        >>> TokenReader(tokenizer, length=4).read("owl owls").tolist()
        [1, 2, 0, 0]
    """

    tokenizer: str
    length: int

    name = "tokens"
    type = "text"
    dtype = np.int32

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def tokens(self) -> int:
        """Return how many token numbers there are, with that of the padding."""
        return int(self._tokenizer.get_vocab_size()) + 1

    @property
    def words(self) -> NDArray[np.bool_]:
        """Return which token numbers [tokens] are words or parts of words: all but that of the padding."""
        return np.arange(self.tokens) > 0

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return _load(self.tokenizer)

    @classmethod
    def fit(
        cls,
        cells: Sequence[Any],
        *,
        tokenizer: str,
        most: int = 512,
        length: int | None = None,
        marks: bool = True,
    ) -> Self:
        """Choose the length that fits 99 % of the training texts, at most ``most`` tokens.

        Args:
            cells: The training texts.
            tokenizer: JSON of the tokenizers library, or a local folder or hub id with a tokenizer.
            most: Maximum number of tokens.
            length: Number of tokens, if stated.
            marks: Keep the tokens that the tokenizer adds at the start and the end of a text.
        """
        check_positive(length=length)
        if not tokenizer.lstrip().startswith("{"):
            tokenizer = _find(tokenizer)
        if not marks:
            tokenizer = json.dumps({**json.loads(tokenizer), "post_processor": None})
        if length is None:
            loaded, lengths = _load(tokenizer), []
            for cell in sample(cells, 10_000):
                try:
                    lengths.append(len(loaded.encode(text_of(cell, silent)).ids))
                except Exception:  # reported when it is read
                    continue
            length = max(4, int(np.quantile(lengths, 0.99, method="higher"))) if lengths else most
        return cls(tokenizer, min(length, most))

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        numbers = self._tokenizer.encode(text_of(cell, note)).ids
        if not numbers:
            raise BadCellError("empty text")
        if len(numbers) > self.length:  # keep the last token if it marks the end
            last = numbers[-1] if self._tokenizer.post_processor else numbers[self.length - 1]
            numbers = [*numbers[: self.length - 1], last]
        padded = np.zeros(self.length, dtype=np.int32)
        padded[: len(numbers)] = np.asarray(numbers) + 1
        return padded


def _find(source: str) -> str:
    """Return the JSON of the tokenizer in a local folder or on the hub."""
    import transformers  # takes half a second

    folder = Path(source)
    vocabulary = folder / "vocab.txt"
    try:
        if vocabulary.is_file() and not (folder / "tokenizer.json").is_file():  # the original release of BERT
            loaded: Any = transformers.BertTokenizerFast.from_pretrained(source)  # type: ignore[attr-defined]
        else:
            loaded = transformers.AutoTokenizer.from_pretrained(source)
        return str(loaded.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, ImportError):
        what = "no tokenizer in this folder" if folder.is_dir() else "neither a local folder nor on the hub"
        raise UserError(f"tokenizer {source!r}: {what}; give a folder with a tokenizer") from None


def _load(tokenizer: str) -> Tokenizer:
    try:
        loaded = Tokenizer.from_str(tokenizer)
    except Exception:  # the library raises no narrower type
        raise UserError("tokenizer is not the JSON of a tokenizer") from None
    # The reader itself pads and cuts.
    loaded.no_padding()
    loaded.no_truncation()
    return loaded
