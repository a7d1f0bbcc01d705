"""Small pictures, sounds, texts and numbers of fruit, and how commands on them are run."""

import csv
import os
import subprocess
import sys
from pathlib import Path

COLOURS = {"apple": (200, 30, 30), "pear": (30, 200, 30), "plum": (30, 30, 200)}
SMALL = [
    "--batch-size=16",
    "--set=encoders.image.width=4",
    "--set=encoders.audio.width=4",
    "--set=encoders.text.dimension=16",
]
FAST = ["--batch-size=16", "--set=modalities={text: {type: text}, acc: {prefix: acc_}}"]


def read(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def shell(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "altuna", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        **options,
    )


def refused(result, *words):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    *notes, message = err.splitlines()  # on the columns of the table
    assert message.startswith("altuna: ")
    assert not any(note.startswith(("altuna: ", "Traceback", " ")) for note in notes)
    for word in words:
        assert str(word) in err
    assert not Path("runs").exists()


def one_line(result):
    out, err = result
    assert out == ""
    assert err.startswith("altuna: ")
    assert err.count("\n") == 1
    return err
