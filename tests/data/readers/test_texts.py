"""Texts: how they are decoded and cut, and which numbers they become."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from media import readers

from altuna.data.readers import READERS, BadCellError
from altuna.data.readers.text import MAX_CHARACTERS, text_of
from altuna.errors import UserError

TextReader = READERS["text"]


def heard(cell):
    """Return the text of a cell and what was noted about it."""
    notes = []
    return text_of(cell, notes.append), notes


def test_text_becomes_words_and_ngrams():
    reader = TextReader.fit(["the red cat", "the red hat", "a red bat"], min_count=2)
    assert {"<red>", "at>"} <= set(reader.vocabulary)
    assert "<cat>" not in reader.vocabulary  # stands in one text only
    numbers = reader.read("red")
    assert numbers.dtype == np.int32
    assert numbers.shape == reader.shape
    assert {reader.vocabulary[n - 2] for n in numbers if n > 1} >= {"<red>", "re", "ed>"}


def test_text_case_width_and_punctuation():
    reader = TextReader.fit(["Café!", "café !"])
    assert np.array_equal(reader.read("CAFÉ!"), reader.read("ｃａｆｅ\u0301!"))


def test_unknown_text_is_not_empty():
    reader = TextReader.fit(["aaa bbb", "aaa bbb"])
    assert reader.read("日本語").tolist() == [1] + [0] * (reader.length - 1)


def test_text_vocabulary_does_not_depend_on_order():
    texts = ["red cat", "blue cat", "blue dog", "red dog"]
    assert TextReader.fit(texts) == TextReader.fit(texts[::-1])


def test_text_is_cut_at_the_length():
    reader = TextReader.fit(["abc def"] * 2, length=3)
    whole = TextReader(reader.vocabulary, 50)
    assert np.array_equal(reader.read("abc def abc def"), whole.read("abc def abc def")[:3])
    assert (reader.read("abc def abc def") > 1).all()


def test_the_length_holds_nearly_all_texts_whole():
    texts = ["ab"] * 995 + ["ab " * 500] * 5
    assert TextReader.fit(texts).length == 8
    assert TextReader.fit(["ab " * 9] * 50).length == 9 * 6  # the word and its five n-grams
    assert TextReader.fit(["word " * 9000] * 2).length == 1024


@pytest.mark.parametrize("text", ["café 5", "日本語 😀", "naïve\n\ttext", "a\u2028b", "x" * MAX_CHARACTERS])
def test_utf8(text, tmp_path):
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode()):  # with a byte order mark, too
        (tmp_path / "t.txt").write_bytes(content)
        for cell in (content, tmp_path / "t.txt"):
            assert heard(cell) == (text, [])
    assert heard(text) == (text, [])


def test_what_is_not_utf8_is_latin1_with_a_note(tmp_path):
    content = "Ärger im café".encode("latin-1")
    (tmp_path / "t.txt").write_bytes(content)
    for cell in (content, tmp_path / "t.txt"):
        assert heard(cell) == ("Ärger im café", ["not UTF-8, read as latin-1"])
    # A character cut in two at the very end of a short text is not UTF-8 either.
    assert heard("café".encode()[:-1]) == ("cafÃ", ["not UTF-8, read as latin-1"])


def test_what_is_neither_is_no_text():
    for content in (b"\xff\x01\x02", b"words\x1f\xe9", bytes(range(1, 256))):
        with pytest.raises(BadCellError, match="not a text: neither UTF-8 nor latin-1"):
            heard(content)


def test_a_str_is_a_text_and_never_a_path(tmp_path):
    (tmp_path / "t.txt").write_text("inside")
    assert heard(str(tmp_path / "t.txt")) == (f"{tmp_path}/t.txt", [])
    assert heard(tmp_path / "t.txt") == ("inside", [])
    reader = TextReader.fit(["inside"])
    assert np.array_equal(reader.read(tmp_path / "t.txt"), reader.read("inside"))


@pytest.mark.parametrize(("cell", "text"), [(5, "5"), (3.5, "3.5"), (True, "True"), (np.float64(2), "2.0")])
def test_numbers_are_text(cell, text):
    assert heard(cell) == (text, [])


@pytest.mark.parametrize("cell", ["", "  \n\t", b"", b"\xef\xbb\xbf", b"\n", "\u3000"])
def test_empty_texts(cell, tmp_path):
    with pytest.raises(BadCellError, match="empty text"):
        heard(cell)
    if isinstance(cell, bytes):
        (tmp_path / "t.txt").write_bytes(cell)
        with pytest.raises(BadCellError, match="empty"):
            heard(tmp_path / "t.txt")


@pytest.mark.parametrize("cell", ["a\0b", b"a\0b", "text".encode("utf-16"), "text".encode("utf-32")])
def test_nul_characters_are_no_text(cell):
    with pytest.raises(BadCellError, match="NUL"):
        heard(cell)


@pytest.mark.parametrize("cell", [None, [1], {}, object(), np.zeros(3), ("a", "b"), 1j])
def test_what_is_no_text(cell):
    with pytest.raises(BadCellError, match=f"not a text but {type(cell).__name__}"):
        TextReader(("a",), 8).read(cell)


def test_half_of_a_character():
    """JSON may hold half of a surrogate pair, which no encoding and no tokenizer takes."""
    assert heard("a \ud800") == ("a ?", [])
    assert readers()["tokens"].read("a \ud800")[:2].tolist() == [2, 1]
    assert TextReader(("<a>",), 8).read("a \ud800")[0] == 2


def test_hundred_megabytes(tmp_path, monkeypatch):
    """Only the beginning is looked at, be it a file, bytes or a str."""
    from altuna.data.readers import text

    looked_at = []
    decode, tokens = text._decode, text._tokens
    monkeypatch.setattr(text, "_decode", lambda c, note: looked_at.append(len(c)) or decode(c, note))
    monkeypatch.setattr(text, "_tokens", lambda t: looked_at.append(len(t)) or tokens(t))
    reader = TextReader.fit(["an orange"])
    expected = reader.read("an orange " * 200)
    looked_at.clear()
    content = b"an orange " * 10_000_000
    (tmp_path / "t.txt").write_bytes(content)
    for cell in (tmp_path / "t.txt", content, content.decode()):
        notes = []
        assert np.array_equal(reader.read(cell, notes.append), expected)
        assert notes == [f"cut to its first {MAX_CHARACTERS:,} characters"]
    assert len(looked_at) == 5
    assert max(looked_at) <= 4 * (MAX_CHARACTERS + 1)


@pytest.mark.parametrize("character", ["é", "日", "😀"])
def test_a_long_text_is_not_cut_in_the_middle_of_a_character(character, tmp_path):
    for before in range(4):
        content = ("a" * before + character * (MAX_CHARACTERS + 50_000)).encode()
        text, notes = heard(content)
        assert text == "a" * before + character * (MAX_CHARACTERS - before)
        assert notes == [f"cut to its first {MAX_CHARACTERS:,} characters"]


class Counting(Sequence):
    """A million texts that count how often they are looked at."""

    def __init__(self, rows):
        self.rows, self.looked_at = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[i] for i in self.rows[place]]
        self.looked_at += 1
        return f"text {place % 1000}"


def test_a_million_texts_are_sampled():
    texts = Counting(range(1_000_000))
    reader = TextReader.fit(texts)
    assert 10_000 < texts.looked_at <= 50_000
    assert "<text>" in reader.vocabulary
    # From all parts of them.
    assert {"<0>", "<500>", "<980>"} <= set(reader.vocabulary)


def test_fit_passes_over_what_is_no_text():
    assert TextReader.fit([None, b"\0", "", "red"]) == TextReader.fit(["red"])
    assert TextReader.fit([None]) == TextReader((), 8)
    assert TextReader.fit(["red"], vocabulary=["a"], length=5) == TextReader(("a",), 5)


@pytest.mark.parametrize("options", [{"length": 0}, {"min_count": -1}])
def test_options_out_of_range(options):
    with pytest.raises(UserError, match="must be more than 0"):
        TextReader.fit(["red"], **options)


@pytest.mark.parametrize("word", ["हिन्दी", "தமிழ்", "ภาษาไทยที่นี่", "cafe\u0301", "می\u200cخواهم"])
def test_marks_belong_to_their_words(word):
    reader = TextReader.fit([f"{word} a", f"{word} b"])
    assert f"<{unicodedata.normalize('NFKC', word).lower()}>" in reader.vocabulary
