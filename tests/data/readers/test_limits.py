"""A file that costs too much, or ends the decoder, costs one cell."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from altuna.data.readers import READERS, limits
from altuna.data.readers.limits import Overrun, Worker, within_limits
from altuna.data.store.build import prepare_store
from altuna.data.table.manifest import read_manifest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are limited on Linux only")


def decode(cell):
    """Do what the content of a file says."""
    match cell:
        case b"spin":
            while True:
                pass
        case b"fill":
            return len(bytearray(2 << 30))
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"exit":
            os._exit(3)
    return len(cell), os.getpid()


def filled(cell):
    try:
        return decode(cell)
    except MemoryError:
        return "no memory"


def test_what_costs_too_much_is_named_and_the_others_are_read(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.3)
    with Worker(filled) as worker:
        found = worker.map([b"a", b"spin", b"bb", b"fill", b"crash", b"exit", b"ccc"])
        again = worker.map([b"d"])
    reasons = [one.reason for one in found if isinstance(one, Overrun)]
    assert reasons == [
        "refused: took over 0.3 s of processor time to decode",
        "refused: the decoder ended its process by signal 11 (Segmentation fault)",
        "refused: the decoder ended its process with code 3",
    ]
    assert found[3] == "no memory"
    assert [one[0] for one in (found[0], found[2], found[6], *again)] == [1, 2, 3, 1]
    pids = {one[1] for one in (found[0], found[2], found[6])}
    assert len(pids) == 3  # after the endless loop and the crash, others took over
    assert os.getpid() not in pids


def test_what_needs_no_decoder_is_read_here():
    def here(cell):
        return os.getpid()

    cells = [np.zeros(3), [1.0, 2.0], b"file", "path.png", ["a.png", "b.png"], []]
    assert [pid == os.getpid() for pid in Worker(here).map(cells)] == [True, True, False, False, False, True]


def test_larger_files_may_cost_more(monkeypatch):
    monkeypatch.setattr(limits, "MEMORY", 64 << 20)

    def fill(cell):
        try:
            return len(bytearray(100 << 20))
        except MemoryError:
            return None

    assert within_limits(fill, [b"small", bytes(8 << 20)]) == [None, 100 << 20]


def test_a_process_ends_with_its_parent():
    code = """
import os, signal, time
from altuna.data.readers.limits import Worker
worker = Worker(lambda cell: os.getpid())
print(worker.map([b"x"])[0], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the process still runs")


def progressive(scans):
    """Return a progressive JPEG whose last scan is repeated."""
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG", progressive=True)
    jpeg = content.getvalue()
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * scans + jpeg[-2:]


def encoded(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


COSTLY = {
    "transparent.png": lambda: encoded(Image.new("RGBA", (9400, 9400)), "PNG", compress_level=1),
    "floats.tif": lambda: encoded(Image.new("F", (9400, 9400)), "TIFF", compression="tiff_deflate"),
    "scans.jpg": lambda: progressive(5000),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n.endswith("tif") else ()) for n in COSTLY]
)
def test_a_costly_picture_is_refused_and_the_others_are_read(tmp_path, name):
    rng = np.random.default_rng(0)
    names = [f"good{i}.png" for i in range(6)]
    for good in names:
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / good)
    (tmp_path / name).write_bytes(COSTLY[name]())
    rows = [*names[:3], name, *names[3:]]
    (tmp_path / "t.csv").write_text(
        "photo,label\n" + "".join(f"{n},{'ab'[i % 2]}\n" for i, n in enumerate(rows))
    )
    reader = READERS["image"].fit([tmp_path / n for n in rows])
    assert reader.size == 32
    store = prepare_store(read_manifest(tmp_path / "t.csv"), "photo", reader, tmp_path / "store")
    assert store.position.tolist() == [0, 1, 2, -1, 3, 4, 5]
    (problem,) = store.problems
    assert (problem.row, problem.kind) == (4, "unread")
    assert problem.reason.startswith("refused: ")
    alike = [np.array_equal(store.array[i], reader.read(tmp_path / n)) for i, n in enumerate(names)]
    assert all(alike)
