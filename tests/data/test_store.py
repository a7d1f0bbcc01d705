"""The prepared store: decoded once, complete or not there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from altuna.data.manifest import read_manifest
from altuna.data.prepare import fit_readers, prepare_stores, problems_of, samples_at
from altuna.data.readers import ImageReader
from altuna.data.store import Problem, cache_folder, prepare_store, write_problems
from altuna.errors import UserError


@pytest.fixture
def pictures(tmp_path):
    """Six rows: four pictures, an absent file, an empty cell."""
    for i in range(4):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    cells = ["0.png", "1.png", "absent.png", "2.png", "", "3.png"]
    lines = [f"r{i},{cell},w" for i, cell in enumerate(cells)]
    (tmp_path / "m.csv").write_text("\n".join(["id,p,t", *lines]))
    return read_manifest(tmp_path / "m.csv")


@pytest.fixture
def reads(monkeypatch):
    """The cells read so far."""
    read, cells = ImageReader.read, []

    def counted(self, cell):
        cells.append(cell)
        return read(self, cell)

    monkeypatch.setattr(ImageReader, "read", counted)
    return cells


def folders(folder):
    return sorted(path.name for path in folder.iterdir())


def test_decoded_once(pictures, reads, tmp_path):
    done = []
    for _ in range(2):
        store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store", done.append)
        assert store.position.tolist() == [0, 1, -1, 3, -1, 4]
        assert [store.array[p, 0, 0, 0] for p in store.position[[0, 1, 3, 5]]] == [0, 1, 2, 3]
        assert [(p.row, p.id, p.column, p.reason) for p in store.problems] == [(3, "r2", "p", "no such file")]
        assert store.problems[0].cell == str(tmp_path / "absent.png")
    assert len(reads) == 5
    assert done == [1] * 5 + [5]
    assert isinstance(store.array, np.memmap)
    assert len(folders(tmp_path / "store")) == 1


def test_a_new_setting_rebuilds(pictures, reads, tmp_path):
    for size in (8, 9, 8):
        store = prepare_store(pictures, "p", ImageReader(size), tmp_path / "store")
        assert store.array.shape[1:] == (3, size, size)
    assert len(reads) == 10


def test_a_changed_file_rebuilds(pictures, reads, tmp_path):
    prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    Image.new("RGB", (8, 8), (99, 0, 0)).save(tmp_path / "1.png")
    os.utime(tmp_path / "1.png", (1, 1))
    assert prepare_store(pictures, "p", ImageReader(8), tmp_path / "store").array[1, 0, 0, 0] == 99
    Image.new("RGB", (8, 8)).save(tmp_path / "absent.png")
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert store.problems == ()
    assert len(reads) == 15


@pytest.mark.parametrize("column", ["t", "x"])
def test_a_changed_cell_rebuilds(column, tmp_path):
    def prepared(table):
        (tmp_path / "m.csv").write_text(table)
        manifest = read_manifest(tmp_path / "m.csv")
        reader = fit_readers(manifest, np.arange(2), {})[column]
        return prepare_store(manifest, column, reader, tmp_path / "store")

    first = prepared("t,x\nab cd,1\nab cd,2\n")
    second = prepared("t,x\nab cd,1\ncd ab,3\n")
    assert not np.array_equal(first.array, second.array)


def test_problems_have_the_ids_of_the_manifest_at_hand(pictures, tmp_path):
    prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    text = (tmp_path / "m.csv").read_text().replace("r2", "new")
    (tmp_path / "m.csv").write_text(text)
    store = prepare_store(read_manifest(tmp_path / "m.csv"), "p", ImageReader(8), tmp_path / "store")
    assert store.problems[0].id == "new"


def test_a_surprise_about_one_cell_is_a_problem_of_that_cell(pictures, monkeypatch, tmp_path):
    def surprise(self, cell):
        if cell.endswith("1.png"):
            raise MemoryError("two\nlines")
        return np.zeros(self.shape, np.uint8)

    monkeypatch.setattr(ImageReader, "read", surprise)
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [(p.row, p.reason) for p in store.problems] == [(2, "MemoryError: two lines")]


def test_a_build_that_fails_leaves_nothing(pictures, monkeypatch, tmp_path):
    def stop(self, cell):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageReader, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert folders(tmp_path / "store") == []
    monkeypatch.undo()
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert folders(tmp_path / "store") == []
    monkeypatch.undo()
    assert len(prepare_store(pictures, "p", ImageReader(8), tmp_path / "store").array) == 5


KILLED = """
import sys, time
from pathlib import Path
from altuna.data.manifest import read_manifest
from altuna.data.readers import ImageReader
from altuna.data.store import prepare_store
read = ImageReader.read
def slow(self, cell):
    if cell.endswith("3.png"):
        print("there", flush=True)
        time.sleep(60)
    return read(self, cell)
ImageReader.read = slow
prepare_store(read_manifest(sys.argv[1]), "p", ImageReader(8), Path(sys.argv[2]))
"""


def test_a_killed_build_is_not_taken_for_complete(pictures, tmp_path):
    command = [sys.executable, "-c", KILLED, pictures.path, tmp_path / "store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
    assert [name.startswith("unfinished-") for name in folders(tmp_path / "store")] == [True]
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert store.array[4, 0, 0, 0] == 3


def test_builders_at_the_same_time(pictures, monkeypatch, tmp_path):
    read = ImageReader.read
    monkeypatch.setattr(ImageReader, "read", lambda self, cell: time.sleep(0.02) or read(self, cell))
    with ThreadPoolExecutor(6) as pool:
        stores = [*pool.map(lambda _: prepare_store(pictures, "p", ImageReader(8), tmp_path / "s"), range(6))]
    assert all(np.array_equal(store.array, stores[0].array) for store in stores)
    assert len(folders(tmp_path / "s")) == 1


def _build(path, folder):
    prepare_store(read_manifest(path), "p", ImageReader(8), folder)


def test_processes_at_the_same_time(pictures, tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_build, args=(pictures.path, tmp_path / "s")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(folders(tmp_path / "s")) == 1


def test_nothing_readable_and_nothing_there(tmp_path):
    (tmp_path / "m.csv").write_text("p,q\na.png,\nb.png,\n")
    manifest = read_manifest(tmp_path / "m.csv", {"p": {}, "q": {"type": "image"}})
    for _ in range(2):
        store = prepare_store(manifest, "q", ImageReader(8), tmp_path / "store")
        assert store.array.shape == (0, 3, 8, 8)
    assert prepare_store(manifest, "p", ImageReader(8), tmp_path / "store").position.tolist() == [-1, -1]
    with pytest.raises(UserError, match=r"m\.csv, column 'q': no train row has 'q'"):
        fit_readers(manifest, np.arange(2), {})


def test_rows_left_with_nothing_are_named_and_left_out(tmp_path):
    (tmp_path / "m.csv").write_text("id,p,q\na,x.png,y.png\nb,x.png,\nc,x.png,w.png\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "w.png")
    manifest = read_manifest(tmp_path / "m.csv")
    stores = prepare_stores(manifest, {n: ImageReader(8) for n in "pq"}, tmp_path / "store")
    problems = problems_of(stores, manifest)
    assert [(p.row, p.column) for p in problems] == [(1, "p"), (1, "q"), (1, ""), (2, "p"), (2, ""), (3, "p")]
    assert "left out" in problems[2].reason
    samples = samples_at(np.arange(3), stores, np.arange(3))
    assert samples.rows.tolist() == [2]
    assert samples.dataset.labels.tolist() == [2]


def test_problems_as_csv(tmp_path):
    write_problems(tmp_path / "p.csv", [Problem(3, 'a"b', "p", "x, y.png", "no such file")])
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "row,id,column,cell,reason",
        '3,"a""b",p,"x, y.png",no such file',
    ]


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ALTUNA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ALTUNA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert str(cache_folder()) == "/some/where/altuna"
