"""Runs that tests of reports share."""

import numpy as np
import pytest
from media import picture, recording, tone
from PIL import Image
from report_data import LONG, NASTY, fit_vectors, rows_of, write_manifest

import altuna


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    """A run on pictures, sounds, texts and numbers with gaps, whose names and texts are HTML."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    rows = rows_of((NASTY, LONG, "c"), {"train": 8, "val": 4, "test": 12})
    pictures, sounds, texts = [], [], []
    for i, (_, label) in enumerate(rows):
        c = (NASTY, LONG, "c").index(label)
        pixels = rng.integers(0, 90, (24, 24, 3), dtype=np.uint8) + np.uint8(70 * c)
        (folder / f"{i}.png").write_bytes(picture(Image.fromarray(pixels)))
        (folder / f"{i}.wav").write_bytes(recording(tone(0.3, 8000, 300 * (c + 1)), 8000))
        pictures.append(f"{i}.png" if i % 5 else None)
        sounds.append(f"{i}.wav" if i % 7 else None)
        texts.append(f"{NASTY} word{c if i % 3 else 0}")
    numbers = {f"acc_{j}": rng.normal(size=len(rows)) for j in range(12)}
    path = write_manifest(folder, rows, **{"look & <b>": pictures}, sound=sounds, text=texts, **numbers)
    narrow = {"look & <b>": {"width": 4}, "sound": {"width": 4}}
    return altuna.fit(path, epochs=2, encoders=narrow, out=folder / "run", quiet=True)


@pytest.fixture(scope="session")
def modalities(tmp_path_factory):
    """A run with 20 modalities."""
    return fit_vectors(tmp_path_factory.mktemp("modalities"), 20, "abcdefghijklmnopqrst")


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """A run with 300 classes."""
    return fit_vectors(tmp_path_factory.mktemp("classes"), 300, "ab")


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """A run with one modality and without a test split."""
    folder = tmp_path_factory.mktemp("alone")
    rows = rows_of("ab", {"train": 8, "val": 8})
    path = write_manifest(folder, rows, text=[f"word {label}" for _, label in rows])
    return altuna.fit(path, epochs=2, out=folder / "run", quiet=True, report=False)
