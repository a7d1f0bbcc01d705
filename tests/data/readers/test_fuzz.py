"""Mutated files: a reader gives its array or refuses, and never crashes, hangs, prints or eats the memory.

Each reader runs in a process of its own, so that a codec's crash is a failed test. To see one case again::

    PYTHONPATH=tests python tests/data/readers/test_fuzz.py READER SEED --case NUMBER
"""

import argparse
import faulthandler
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from media import OF_FILES, files, readers

import altuna
from altuna.data.readers import BadCellError
from altuna.hardware import peak_memory

SECONDS = 1.5  # for each reader
HANG = 20  # seconds that no file may take
MEMORY = 1 << 30  # bytes that may be resident
TIFF = b"II*\0"  # libtiff prints on what is broken, and Pillow cannot tell it not to
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
RANGES = ("", "", "", "#t=0.1,0.3", "#t=0.2", "#t=,0.1")


def mutate(rng, content, other):
    """Flip, cut, insert, repeat or splice, one to four times; half the time near the beginning."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 256)
        place, size = int(rng.integers(reach)), int(rng.integers(1, 65))
        match rng.integers(7):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place : place + int(rng.integers(1, 5))] = bytes([rng.choice(EDGES)]) * 4
            case 2:
                data[place : place + size] = rng.bytes(size)
            case 3:
                del data[place if rng.random() < 0.5 else -size :]
            case 4:
                data[place:place] = rng.bytes(size)
            case 5:
                data[place:place] = data[place : place + size]
            case 6:
                cut = int(rng.integers(len(other)))
                data[place:] = other[cut:]
    return bytes(data)


def read(reader, seed, number, contents, folder):
    """Read one mutated file; return what is wrong with how it was read, if anything."""
    rng = np.random.default_rng([seed, number])
    content, other = (contents[rng.integers(len(contents))] for _ in range(2))
    cell = mutated = mutate(rng, content, other)
    before = os.fstat(2).st_size
    if rng.random() < 0.5:
        path = folder / "file"
        path.write_bytes(cell)
        cell = path
        if reader.type in ("audio", "video"):
            cell = f"{path}{rng.choice(RANGES)}"
    elif reader.type == "text" and rng.random() < 0.5:
        cell = cell.decode("utf-8", "surrogateescape")
    try:
        array = reader.read(cell)
        if (array.shape, array.dtype) != (reader.shape, np.dtype(reader.dtype)):
            return f"got {array.dtype} {array.shape}"
    except BadCellError:
        pass
    except BaseException:
        return traceback.format_exc()
    if peak_memory() > MEMORY:  # not rusage, which begins with the peak of the process of the tests
        return "too much memory"
    printed = os.pread(2, 9999, before)
    return f"printed {printed!r}" if printed and not mutated.startswith(TIFF) else None


def main(name, seed, seconds, case):
    """Read mutated files until the time is up, or a first one goes wrong."""
    crashes = os.fdopen(os.dup(2), "w")
    faulthandler.enable(crashes)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        made = files(Path(folder))
        reader = readers()[name]
        contents = [*made[reader.type].values()]
        if name == "audio":
            contents += made["video"].values()
        end, number = time.monotonic() + seconds, case or 0
        while time.monotonic() < end:
            # Printed before it is read: the last line names what crashed or hung.
            print(f"{name} {seed} --case {number}", flush=True)
            faulthandler.dump_traceback_later(HANG, exit=True, file=crashes)
            wrong = read(reader, seed, number, contents, Path(folder))
            faulthandler.cancel_dump_traceback_later()
            if wrong:
                print(wrong)
                sys.exit(1)
            number += 1
            if case is not None:
                return


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FILES)
def test_mutated_files(name, tmp_path):
    paths = str(Path(altuna.__file__).parents[1]), str(Path(__file__).parents[2])
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, __file__, name, "0", "--seconds", str(SECONDS)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            timeout=SECONDS + 5 * HANG,
        )
    said = (tmp_path / "out").read_text().splitlines()
    assert done.returncode == 0, "\n".join(said[-40:])
    assert len(said) > 20


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=OF_FILES)
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--case", type=int)
    options = parser.parse_args()
    main(options.reader, options.seed, options.seconds, options.case)
