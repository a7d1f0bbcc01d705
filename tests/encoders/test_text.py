"""The bag of words and n-grams: against float64, its properties, and that its weights act."""

import re

import numpy as np
import pytest
import torch

from altuna.data.readers.text import TextReader
from altuna.encoders import build
from altuna.errors import UserError

TEXTS = ["an owl", "the cat sat on the mat", "owls and cats", "zebra"]
READER = TextReader.fit(TEXTS)


def encoder_of(**options):
    torch.manual_seed(0)
    return build("m", READER, "text_bag", transforms={}, **options).eval()


def read(*texts):
    return torch.from_numpy(np.stack([READER.read(text) for text in texts]))


def test_agrees_with_float64():
    encoder, cells = encoder_of(dimension=8), read(*TEXTS)
    table = encoder.network.embedding.weight.detach().double().numpy()
    for row, found in zip(cells.tolist(), encoder(cells).tolist(), strict=True):
        words = [t for t in row if t == 1 or (t and re.fullmatch("<.+>", READER.vocabulary[t - 2]))]
        ngrams = [t for t in row if t and t not in words]
        total = sum(table[t] for t in words) / max(1, len(words)) ** 0.5
        total = total + sum((table[t] for t in ngrams), np.zeros(8)) / max(1, len(ngrams)) ** 0.5
        np.testing.assert_allclose(found, np.maximum(3.0 * total, 0), atol=1e-5)


def test_words_are_told_from_ngrams():
    words = {READER.vocabulary[t - 2] for t in np.flatnonzero(READER.words) if t > 1}
    assert words == {f"<{word}>" for word in " ".join(TEXTS).split()}


def test_a_word_counts_as_much_as_all_its_ngrams():
    encoder = encoder_of(dimension=4)
    weights = []
    encoder.network.embedding.register_forward_pre_hook(
        lambda module, args, kwargs: weights.append(kwargs["per_sample_weights"]), with_kwargs=True
    )
    encoder(cells := read("zebra"))
    is_word = torch.from_numpy(READER.words)[cells]
    squares = weights[0].square() / 9
    torch.testing.assert_close(squares[is_word].sum(), torch.tensor(1.0))
    torch.testing.assert_close(squares[~is_word].sum(), torch.tensor(1.0))


def test_padding_changes_nothing():
    encoder, cells = encoder_of(), read("an owl")
    longer = torch.cat([cells, torch.zeros(1, 5, dtype=cells.dtype)], 1)
    torch.testing.assert_close(encoder(longer), encoder(cells))


def test_gain_changes_the_speed_and_not_the_start():
    cells = read(*TEXTS)
    torch.testing.assert_close(encoder_of(gain=1.0)(cells), encoder_of(gain=5.0)(cells))
    moved = []
    for gain in (1.0, 5.0):
        encoder = encoder_of(gain=gain)
        before = encoder(cells).detach()
        optimizer = torch.optim.Adam(encoder.parameters(), 1e-4)
        encoder(cells).sum().backward()
        optimizer.step()
        moved.append((encoder(cells) - before).norm().item())
    assert moved[1] > 4 * moved[0]


@pytest.mark.parametrize("gain", [0.0, -1.0, float("inf")])
def test_a_gain_must_be_positive(gain):
    with pytest.raises(UserError, match="gain must be more than 0"):
        encoder_of(gain=gain)


def test_an_unknown_text_has_features():
    assert encoder_of()(read("qqq")).abs().sum() > 0
