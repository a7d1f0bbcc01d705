"""What tests of commands share: data and a run."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fruit import COLOURS, SMALL, read, shell, write
from PIL import Image

from altuna.cli.main import main


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """72 samples of three classes with 16-pixel pictures, 0.2 s tones, words and two numbers."""
    folder, rng = tmp_path_factory.mktemp("fruit"), np.random.default_rng(0)
    rows = []
    for i in range(72):
        c = i % 3
        label = [*COLOURS][c]
        pixels = np.array(COLOURS[label]) + rng.integers(-25, 25, (16, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        wave = 0.3 * np.sin(2 * np.pi * 300 * (c + 1) * np.arange(1600) / 8000)
        soundfile.write(folder / f"{i}.wav", wave, 8000)
        rows.append(
            {
                "id": f"s{i}",
                "split": ["train", "train", "train", "val", "test"][i // 3 % 5],
                "label": label,
                "image": f"{i}.png" if i % 4 else "",
                "audio": f"{i}.wav" if i % 5 else "",
                "text": f"a {label}" if i % 7 else "",
                "acc_x": round(c + rng.normal() / 10, 3),
                "acc_y": -c - i % 2 / 100,
            }
        )
    return write(folder / "fruit.csv", rows)


@pytest.fixture
def rows(manifest, tmp_path, monkeypatch):
    """The manifest's rows, its files in the current folder, to be spoilt."""
    monkeypatch.chdir(tmp_path)
    for file in manifest.parent.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / manifest.name).unlink()
    return read(manifest)


@pytest.fixture
def command(capfd, monkeypatch, tmp_path):
    """Run a command in this process, which has torch already: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["altuna", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def run(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    result = shell("fit", "--data", manifest, "--epochs=2", "--out=run", "--quiet", *SMALL, cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "run\n", "")
    return folder / "run"


@pytest.fixture
def spoilt(run, tmp_path):
    """A copy of the run, to be spoilt."""
    return Path(shutil.copytree(run, tmp_path / "spoilt"))
