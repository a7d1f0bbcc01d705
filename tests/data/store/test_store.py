"""The prepared store: every cell read once, whatever stops it."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from altuna.data.fit_readers import fit_readers
from altuna.data.readers import READERS
from altuna.data.samples import prepare_stores, problems_of, samples_at
from altuna.data.store import arrays as store_module
from altuna.data.store.arrays import KEY, UNKNOWN, UNREADABLE, CellStore, Remark, first_rows
from altuna.data.store.build import prepare_store
from altuna.data.store.problems import Problem, write_problems
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.reporting import Reporter
from altuna.text import readable_bytes

ImageReader = READERS["image"]


def drawn(red, green):
    """Return a picture with a patch, for one of a single colour would have a remark."""
    image = Image.new("RGB", (8, 8), (red, green, 0))
    image.paste((200, 200, 200), (2, 2, 7, 7))
    return image


@pytest.fixture
def pictures(tmp_path):
    """Six rows: four pictures, an absent file, an empty cell."""
    for i in range(4):
        drawn(i, 50).save(tmp_path / f"{i}.png")
    cells = ["0.png", "1.png", "absent.png", "2.png", "", "3.png"]
    lines = [f"r{i},{cell},w" for i, cell in enumerate(cells)]
    (tmp_path / "m.csv").write_text("\n".join(["id,p,t", *lines]))
    return read_manifest(tmp_path / "m.csv")


@pytest.fixture
def reads(monkeypatch):
    """The cells read so far, in this process."""
    read, cells = ImageReader.read, []
    monkeypatch.setattr(ImageReader, "decodes_files", False)

    def counted(self, cell, note):
        cells.append(cell)
        return read(self, cell, note)

    monkeypatch.setattr(ImageReader, "read", counted)
    return cells


def folders(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_cell_is_read_once(pictures, reads, tmp_path):
    done = []

    class Recorded(Reporter):
        @contextmanager
        def cells(self, what, total):
            done.append((what, total))
            yield lambda *advanced: done.append(advanced)

    for _ in range(2):
        store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store", Recorded())
        assert store.position.tolist() == [0, 1, -1, 2, -1, 3]
        assert store.array[store.position[[0, 1, 3, 5]]][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
        assert [(p.row, p.id, p.column, p.reason) for p in store.problems] == [(3, "r2", "p", "no such file")]
        assert store.problems[0].cell == str(tmp_path / "absent.png")
        assert store.problems[0].kind == "unread"
    assert len(reads) == 5
    assert done == [("reading p", 5), (1, 0), (1, 0), (1, 1), (1, 0), (1, 0)]
    assert store.size == 4 * 8 * 8 * 3
    assert len(folders(tmp_path / "store")) == 1


def test_a_new_setting_reads_anew(pictures, reads, tmp_path):
    for size in (8, 9, 8):
        store = prepare_store(pictures, "p", ImageReader(size), tmp_path / "store")
        assert store.array.shape[1:] == (size, size, 3)
    assert len(reads) == 10


def test_only_what_changed_is_read_anew(pictures, reads, tmp_path):
    prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    reads.clear()
    drawn(99, 0).save(tmp_path / "1.png")
    os.utime(tmp_path / "1.png", (1, 1))
    drawn(98, 0).save(tmp_path / "absent.png")
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert sorted(path.name for path in reads) == ["1.png", "absent.png"]
    assert store.array[store.position[[0, 1, 2, 3, 5]]][:, 0, 0, 0].tolist() == [0, 99, 98, 2, 3]
    assert store.problems == ()


def test_manifests_share_what_they_have_in_common(pictures, reads, tmp_path):
    prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    drawn(7, 0).save(tmp_path / "new.png")
    (tmp_path / "n.csv").write_text("p\nnew.png\n3.png\n3.png\n")
    reads.clear()
    store = prepare_store(read_manifest(tmp_path / "n.csv"), "p", ImageReader(8), tmp_path / "store")
    assert [path.name for path in reads] == ["new.png"]
    assert store.array[store.position][:, 0, 0, 0].tolist() == [7, 3, 3]


def test_numeric_columns_need_no_store(tmp_path):
    (tmp_path / "m.csv").write_text("x_a,x_b\n1,2\n3,\n,\n")
    (tmp_path / "n.csv").write_text("x_a,x_b,t\n1,2,a\n3,,a\n,,a\n")
    manifest = read_manifest(tmp_path / "n.csv")
    store = prepare_store(manifest, "x", READERS["vector"](2), tmp_path / "store")
    assert store.position.tolist() == [0, 1, -1]
    np.testing.assert_array_equal(store.array, np.array([[1, 2], [3, np.nan], [np.nan, np.nan]]))
    assert [(p.row, p.kind) for p in store.problems] == [(0, "note")]
    assert "empty numbers in rows with others, imputed by the training means: 1" in str(store.problems[0])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("column", ["t", "x"])
def test_a_changed_cell_is_read_anew(column, tmp_path):
    def prepared(table):
        (tmp_path / "m.csv").write_text(table)
        manifest = read_manifest(tmp_path / "m.csv")
        reader = fit_readers(manifest, np.arange(2), {})[column]
        return prepare_store(manifest, column, reader, tmp_path / "store")

    first = prepared("t,x\nab cd,1\nab cd,2\n")
    second = prepared("t,x\nab cd,1\ncd ab,3\n")
    assert not np.array_equal(first.array[first.position], second.array[second.position])


def test_problems_have_the_ids_of_the_manifest_at_hand(pictures, tmp_path):
    prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    text = (tmp_path / "m.csv").read_text().replace("r2", "new")
    (tmp_path / "m.csv").write_text(text)
    store = prepare_store(read_manifest(tmp_path / "m.csv"), "p", ImageReader(8), tmp_path / "store")
    assert store.problems[0].id == "new"


def test_a_surprise_about_one_cell_is_a_problem_of_that_cell(pictures, monkeypatch, tmp_path):
    def surprise(self, cell, note):
        if cell.name == "1.png":
            raise RuntimeError("two\nlines")
        return np.zeros(self.shape, np.uint8)

    monkeypatch.setattr(ImageReader, "read", surprise)
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [(p.row, p.reason) for p in store.problems] == [(2, "RuntimeError: two lines")]


def test_what_was_read_before_a_stop_is_kept(pictures, reads, monkeypatch, tmp_path):
    counted = ImageReader.read

    def stop(self, cell, note):
        if cell.name == "2.png":
            raise KeyboardInterrupt
        return counted(self, cell, note)

    monkeypatch.setattr("altuna.data.store.build._TASK_CELLS", 1)
    monkeypatch.setattr(ImageReader, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    monkeypatch.setattr(ImageReader, "read", counted)
    reads.clear()
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [path.name for path in reads] == ["2.png", "3.png"]
    assert store.array[store.position[[0, 1, 3, 5]]][:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_full_disk_is_one_line(pictures, monkeypatch, tmp_path):
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match=r"960 B are needed, 100 B are free on the disk; choose"):
        prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    monkeypatch.undo()
    monkeypatch.setattr(store_module.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match=r"No space.*cells\.bin"):
        prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    monkeypatch.undo()
    assert len(prepare_store(pictures, "p", ImageReader(8), tmp_path / "store").array) == 4


KILLED = """
import sys, time
from pathlib import Path
from altuna.data.store import arrays, build
from altuna.data.table.manifest import read_manifest
from altuna.data.readers import READERS
ImageReader = READERS["image"]
build._TASK_CELLS, arrays._COMMIT_SECONDS = 1, 0
read = ImageReader.read
def slow(self, cell, note):
    sys.stdout.write(cell.name + "\\n")  # at once: two threads' lines must not mix
    sys.stdout.flush()
    if cell.name == "3.png":
        time.sleep(60)
    return read(self, cell, note)
ImageReader.read = slow
build.prepare_store(read_manifest(sys.argv[1]), "p", ImageReader(8), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_was(pictures, reads, tmp_path):
    command = [sys.executable, "-c", KILLED, pictures.path, tmp_path / "store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "3.png\n" in process.stdout
        built = CellStore(next((tmp_path / "store").iterdir()), (8, 8, 3), np.uint8)
        while process.poll() is None and len(built._index()) < 4:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [path.name for path in reads] == ["3.png"]
    assert store.array[store.position[[0, 1, 3, 5]]][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert [p.row for p in store.problems] == [3]


def keys(*numbers):
    return np.array([number.to_bytes(16, "big") for number in numbers], KEY)


@pytest.mark.parametrize("cut", [("cells.bin", 7), ("index.bin", 5), ("remarks.jsonl", 3)])
def test_half_an_entry_is_none(cut, tmp_path):
    """A kill may leave any of the files with part of what was being written."""
    store = CellStore(tmp_path, (3,), np.int32)
    name, size = cut
    with store.writing() as writer:
        writer.add(keys(1)[0].tobytes(), np.array([1, 2, 3]))
        writer.add(keys(2)[0].tobytes(), None, Remark("broken", "unread"))
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with store.writing() as writer:
        writer.add(keys(3)[0].tobytes(), np.array([4, 5, 6]), Remark("odd", "note"))
    (tmp_path / name).write_bytes(whole[name] + (tmp_path / name).read_bytes()[len(whole[name]) :][:size])
    if name != "index.bin":  # the index is written last
        (tmp_path / "index.bin").write_bytes(whole["index.bin"])
    assert store.find(keys(1, 2, 3)).tolist() == [0, UNREADABLE, UNKNOWN]
    assert [(p, r.reason) for p, r in store.remarks(keys(2, 3))][:1] == [(0, "broken")]
    with store.writing() as writer:
        writer.add(keys(3)[0].tobytes(), np.array([7, 8, 9]))
    assert store.find(keys(3, 2, 1)).tolist() == [1, UNREADABLE, 0]
    assert store.array()[np.array([1, 0])].tolist() == [[7, 8, 9], [1, 2, 3]]


def test_a_store_cut_short_is_named(tmp_path):
    store = CellStore(tmp_path, (3,), np.int32)
    with store.writing() as writer:
        writer.add(keys(1)[0].tobytes(), np.array([1, 2, 3]))
    os.truncate(tmp_path / "cells.bin", 4)
    with pytest.raises(UserError, match=r"cells\.bin: is damaged"), store.writing():
        pass
    with pytest.raises(UserError, match=r"cells\.bin: is damaged"):
        store.array()


def test_first_rows():
    assert first_rows(keys(5, 3, 5, 5, 4, 3)).tolist() == [0, 1, 4]


def test_an_array_travels_as_its_path_and_forgets_what_it_mapped(monkeypatch, tmp_path):
    store = CellStore(tmp_path, (1000,), np.uint8)
    with store.writing() as writer:
        for i in range(10):
            writer.add(keys(i)[0].tobytes(), np.full(1000, i))
    array = store.array()
    assert len(pickle.dumps(array)) < 500
    monkeypatch.setattr(store_module, "_MAPPED_BYTES", 2500)
    for _ in range(3):
        assert pickle.loads(pickle.dumps(array))[np.array([9, 0])][:, 0].tolist() == [9, 0]
        assert array[np.array([3, 4, 3])][:, -1].tolist() == [3, 4, 3]


def test_readable():
    assert [readable_bytes(n) for n in (0, 999, 1500, 2_500_000_000, 3e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 GB",
        "3.0 TB",
    ]


def test_builders_at_the_same_time(pictures, monkeypatch, tmp_path):
    read = ImageReader.read
    monkeypatch.setattr(
        ImageReader, "read", lambda self, cell, note: time.sleep(0.02) or read(self, cell, note)
    )
    with ThreadPoolExecutor(6) as pool:
        stores = [*pool.map(lambda _: prepare_store(pictures, "p", ImageReader(8), tmp_path / "s"), range(6))]
    assert all(store.position.tolist() == [0, 1, -1, 2, -1, 3] for store in stores)
    assert all(len(store.array) == 4 for store in stores)
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
        assert store.array.shape == (0, 8, 8, 3)
    assert prepare_store(manifest, "p", ImageReader(8), tmp_path / "store").position.tolist() == [-1, -1]
    with pytest.raises(UserError, match=r"m\.csv, column 'q': no train row has 'q'"):
        fit_readers(manifest, np.arange(2), {})


def test_rows_left_with_nothing_are_named_and_left_out(tmp_path):
    (tmp_path / "m.csv").write_text("id,p,q\na,x.png,y.png\nb,x.png,\nc,x.png,w.png\n")
    drawn(255, 0).save(tmp_path / "w.png")
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
        "row,id,column,cell,reason,kind",
        '3,"a""b",p,"x, y.png",no such file,unread',
    ]


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ALTUNA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ALTUNA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert str(cache_folder()) == "/some/where/altuna"


def test_what_passes_is_tried_again(pictures, reads, monkeypatch, tmp_path):
    """A cell that cannot be had for a reason that is not its own is no verdict."""
    read = ImageReader.read

    def trouble(self, cell, note):
        if cell.name == "1.png":
            raise OSError(24, "Too many open files")
        return read(self, cell, note)

    monkeypatch.setattr(ImageReader, "read", trouble)
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [(p.row, p.kind) for p in store.problems] == [(2, "unread"), (3, "unread")]
    assert store.position.tolist() == [0, -1, -1, 1, -1, 2]
    monkeypatch.setattr(ImageReader, "read", read)
    reads.clear()
    store = prepare_store(pictures, "p", ImageReader(8), tmp_path / "store")
    assert [path.name for path in reads] == ["1.png"]
    assert store.position.tolist() == [0, 3, -1, 1, -1, 2]


@pytest.mark.slow
def test_workers_read_the_array_by_its_path(tmp_path):
    from altuna.data.dataset import MultimodalDataset, loader

    store = CellStore(tmp_path, (4,), np.float32)
    with store.writing() as writer:
        for i in range(20):
            writer.add(keys(i)[0].tobytes(), np.full(4, i))
    dataset = MultimodalDataset({"m": store.array()}, {"m": np.arange(20)}, np.zeros(20, np.int64))
    batches = loader(dataset, 8, workers=2)
    batches.multiprocessing_context = "spawn"
    assert [batch.inputs["m"][:, 0].tolist() for batch in batches] == [
        [*range(8)],
        [*range(8, 16)],
        [*range(16, 20)],
    ]
