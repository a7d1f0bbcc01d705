"""Training rows from shards: every row once, in an order that seed and epoch fix, and mistakes by name."""

import json
import shutil
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file
from shards import stream, table

import altuna
from altuna.data.stream.batches import Stream
from altuna.errors import UserError


def rows_of(batches):
    return [int(i) for batch in batches for i in batch.indices]


@pytest.mark.parametrize(("workers", "buffer"), [(1, 40), (3, 40), (1, 1), (2, 10_000)])
def test_every_row_comes_once(folder, workers, buffer):
    some = stream(folder, workers=workers, buffer=buffer)
    batches = [*some]
    assert [len(batch) for batch in batches] == [16] * 9 + [6]
    assert len(some) == 10
    rows = rows_of(batches)
    assert sorted(rows) == [*range(150)]
    assert rows != [*range(150)]


def test_batches_have_what_the_rows_have(folder):
    for batch in stream(folder):
        indices = batch.indices
        assert torch.equal(batch.labels, indices % 2)
        assert torch.equal(batch.inputs["x"][:, 0], indices.float())
        assert torch.equal(batch.inputs["x"][:, 1].isnan(), indices % 7 == 0)
        assert indices[batch.rows["picture"]].tolist() == [i for i in indices.tolist() if i % 5]
        red = batch.inputs["picture"].flatten(1, 2)[:, :, 0].float().mean(1)
        assert torch.equal(red, indices[batch.rows["picture"]].float() % 256)
        assert indices[batch.rows["words"]].tolist() == [i for i in indices.tolist() if i % 3]


def test_the_order_depends_on_seed_and_epoch_alone(folder):
    def order(seed, epoch, workers):
        some = stream(folder, seed=seed, workers=workers)
        some.set_epoch(epoch)
        return tuple(rows_of(some))

    assert order(0, 1, 1) == order(0, 1, 4)
    assert len({order(seed, epoch, 1) for seed in range(2) for epoch in range(2)}) == 4


def test_a_folder_is_its_shards(folder):
    assert rows_of(stream(folder, folder / "shards")) == rows_of(stream(folder))


def test_rows_are_mixed_over_shards(folder):
    firsts = [
        min(batch.indices.tolist()) // 50 != max(batch.indices.tolist()) // 50 for batch in stream(folder)
    ]
    assert sum(firsts) >= 5


def test_shards_may_lie_anywhere(folder):
    memory = fsspec.filesystem("memory")
    for path in sorted((folder / "shards").iterdir()):
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    remote = stream(folder, "memory://bucket/*.parquet")
    assert rows_of(remote) == rows_of(stream(folder))
    assert remote.shards[0].url == "memory:///bucket/0.parquet"


def test_shards_may_lie_behind_one_another(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "shards.zip", "w") as archive:
        for path in sorted((folder / "shards").iterdir()):
            archive.write(path, path.name)
    want = rows_of(stream(folder))
    assert rows_of(stream(folder, f"zip://*.parquet::{tmp_path / 'shards.zip'}")) == want
    memory = fsspec.filesystem("memory")
    for path in sorted((folder / "shards").iterdir()):
        memory.pipe(f"/far/{path.name}", path.read_bytes())
    cached = stream(folder, "simplecache::memory://far/*.parquet")
    assert rows_of(cached) == want
    memory.rm("/far", recursive=True)
    assert rows_of(cached) == want


@pytest.mark.parametrize("kind", ["tar", "filecache"])
def test_file_systems_that_threads_cannot_share(folder, tmp_path, kind):
    """Footers are read by many threads, and there are more shards than these."""
    (tmp_path / "shards").mkdir()
    for i in range(40):
        pyarrow.parquet.write_table(table([i]), tmp_path / "shards" / f"{i:02}.parquet")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "shards"), f"/{tmp_path.name}", recursive=True)
    with tarfile.open(tmp_path / "shards.tar", "w") as archive:
        for path in sorted((tmp_path / "shards").iterdir()):
            archive.add(path, path.name)
    places = {
        "tar": f"tar://*.parquet::{tmp_path / 'shards.tar'}",
        "filecache": f"filecache::memory://{tmp_path.name}/*.parquet",
    }
    assert sorted(rows_of(stream(folder, places[kind]))) == [*range(40)]


def test_what_a_file_system_raises_is_one_line(folder, monkeypatch):
    class ExpiredError(Exception):
        pass

    def read(*_):
        raise ExpiredError("the token\nexpired")

    fsspec.filesystem("memory").pipe("/bucket/0.parquet", (folder / "shards" / "0.parquet").read_bytes())
    opened = stream(folder, "memory://bucket/0.parquet")
    monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", read)
    told = r"^stream: memory:///bucket/0\.parquet: cannot be read: the token expired$"
    with pytest.raises(UserError, match=told):
        stream(folder, "memory://bucket/0.parquet")
    with pytest.raises(UserError, match=told):
        rows_of(opened)


def test_a_corrupt_cell_is_missing_and_named(folder, broken):
    pictures = [{"bytes": b"nothing", "path": None}, *table(range(2, 5))["picture"].to_pylist()]
    path = broken(picture=pictures)
    some = stream(folder, path)
    (batch,) = some
    assert sorted(batch.indices[batch.rows["picture"]].tolist()) == [1, 2, 3]
    ((problem),) = some.problems.values()
    assert (problem.row, problem.column, problem.cell) == (1, "picture", str(path))
    with pytest.raises(UserError, match=r"one\.parquet, row 1, column 'picture': "):
        [*stream(folder, path, strict=True)]


def test_a_row_of_which_nothing_can_be_read_is_left_out(folder, broken):
    nothing = dict.fromkeys(["picture", "words", "x_1", "x_2"])
    columns = {n: [None, *table(range(2, 5))[n].to_pylist()] for n in nothing}
    (batch,) = stream(folder, broken(**columns))
    assert sorted(batch.indices.tolist()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"label": ["class 0", "class 0", "what", "class 1"]},
            r"row 3, column 'label': label 'what' is in no",
        ),
        ({"label": ["class 0", None, "class 0", "class 1"]}, r"row 2, column 'label': empty"),
        ({"x_1": [0.0, 1.0, 2.0, float("inf")]}, r"row 4, column 'x_1': is inf; leave the cell empty"),
        ({"x_1": [[0.0], [1.0], None, None]}, r"column 'x_1': has list<element: double>, not numbers"),
        ({"words": [[0.0], [1.0], None, None]}, r"column 'words': has list<element: double>, not texts"),
        ({"picture": [0, 1, 2, 3]}, r"column 'picture': has int64, not files"),
        ({"x_1": ["0", "1", "2", "$3,000"]}, r"row 4, column 'x_1': '\$3,000' is not written as in"),
        ({"x_1": ["0", "hoot", "tu-whit", "3"]}, r"row 2.*x_1|2 of 4 cells are not numbers"),
    ],
)
def test_mistakes_are_named(folder, broken, columns, words):
    with pytest.raises(UserError, match=r"one\.parquet.*" + words):
        [*stream(folder, broken(**columns))]


def test_a_shard_without_a_column(folder, tmp_path):
    pyarrow.parquet.write_table(
        table(range(3)).rename_columns(["picture", "word", "x_1", "x_2", "label"]), tmp_path / "a.parquet"
    )
    with pytest.raises(UserError, match=r"a\.parquet: no column 'words'.*'word'"):
        stream(folder, tmp_path / "*.parquet")


@pytest.mark.parametrize("name", ["*.parquet", "none.parquet"])
def test_no_shard(folder, tmp_path, name):
    with pytest.raises(UserError, match="no shard matches"):
        stream(folder, tmp_path / name)


def test_what_is_no_shard(folder, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"a\.parquet: cannot be read"):
        stream(folder, tmp_path / "a.parquet")
    with pytest.raises(UserError, match="nowhere"):
        stream(folder, "nowhere://a/*.parquet")


@pytest.mark.parametrize("size", [16, 1])
def test_processes_share_what_can_be_read(folder, broken, monkeypatch, size):
    shard = table(range(40))
    columns = {name: shard[name].to_pylist() for name in shard.column_names if name != "label"}
    for row in (1, 6, 21):  # the last has nothing else
        columns["picture"][row] = {"bytes": b"no picture", "path": None}
    columns["words"][21] = columns["x_1"][21] = columns["x_2"][21] = None
    shards = [
        stream(folder, broken(label=shard["label"].to_pylist(), **columns), batch_size=size) for _ in "123"
    ]
    whole = [*shards.pop()]
    said, meet = [None, None], threading.Barrier(2)
    mine = threading.local()

    def all_gather_object(value):
        said[mine.rank] = value
        meet.wait(10)
        answers = [*said]
        meet.wait(10)
        return answers

    def batches(rank):
        mine.rank = shards[rank].rank = rank
        shards[rank].processes = 2
        return [*shards[rank]]

    monkeypatch.setattr("altuna.data.stream.batches.all_gather_object", all_gather_object)
    with ThreadPoolExecutor(2) as pool:
        parts = [*zip(*pool.map(batches, range(2)), strict=True)]
    assert len(parts) == len(whole)
    for batch, shares in zip(whole, parts, strict=True):
        for share in shares:
            assert torch.equal(share.indices, batch.indices)
            assert share.rows.keys() == batch.rows.keys() == share.inputs.keys()
        for name, cells in batch.inputs.items():
            again = torch.full_like(cells, 7)
            assert sorted(torch.cat([share.inputs[name].places for share in shares]).tolist()) == [
                *range(len(cells))
            ]
            for share in shares:
                assert torch.equal(share.rows[name], batch.rows[name])
                part = share.inputs[name]
                assert part.total == len(cells)
                again[part.places] = part.values[: len(part.places)]
            assert torch.equal(again.nan_to_num(), cells.nan_to_num())
    assert {row for one in shards for row, _ in one.problems} == {1, 6, 21}


def fit(folder, run, **options):
    return altuna.fit(
        folder / "some.parquet",
        **{"epochs": 2, "batch_size": 32, "stream": str(folder / "shards" / "*.parquet"), "buffer": 64}
        | options,
        modalities={"words": {}, "x": {"prefix": "x_"}},
        out=run,
        store=folder / "store",
        quiet=True,
    )


def test_a_training_is_the_same_again_and_resumed(folder, tmp_path, monkeypatch):
    first = load_file(fit(folder, tmp_path / "a") / "model.safetensors")
    decoded, seen = Stream._decoded, []

    def stopped(self, rows):
        seen.append(self.epoch)
        if len(seen) == 8:  # in the second of two epochs, of 5 batches each
            raise KeyboardInterrupt
        return decoded(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "_decoded", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit(folder, tmp_path / "b")
    assert set(seen) == {0, 1}
    fit(folder, tmp_path / "b", resume=True, workers=2)
    again = load_file(tmp_path / "b" / "model.safetensors")
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    metrics = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert metrics["cost"]["updates"] == 2 * 5 * 2
    assert altuna.load(tmp_path / "b").predict(folder / "shards" / "1.parquet").num_rows == 3


def test_other_shards_are_not_resumed(folder, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(folder / "shards", shards)
    fit(folder, tmp_path / "run", stream=str(shards))
    (shards / "1.parquet").unlink()
    with pytest.raises(UserError, match="the data differ from the data"):
        fit(folder, tmp_path / "run", stream=str(shards), resume=True)


def test_a_buffer_may_hold_more_than_columns_do(folder):
    """Those of usual texts and bytes end at 2 GiB, of which a buffer of pictures has more."""
    kinds = {kind for part in stream(folder)._tables() for kind in part.schema.types}
    assert pa.large_string() in kinds
    assert not kinds & {pa.string(), pa.binary()}
    assert "bytes: binary" not in str(kinds)


def test_a_thread_reads_ahead(folder, monkeypatch):
    parts, readers = Stream._parts, set()

    def noted(self, shard):
        for part in parts(self, shard):
            readers.add(threading.current_thread())
            yield part

    monkeypatch.setattr(Stream, "_parts", noted)
    assert len([*stream(folder)]) == 10
    assert len(readers) == 1
    assert threading.main_thread() not in readers


def test_a_buffer_is_of_a_stream(folder, tmp_path):
    with pytest.raises(UserError, match="buffer: requires the option stream"):
        fit(folder, tmp_path / "run", stream=None, buffer=7)


def test_a_batch_of_which_nothing_can_be_read_is_passed_over(folder, broken, tmp_path):
    columns = {n: [None, *table(range(2, 5))[n].to_pylist()] for n in ("words", "x_1", "x_2")}
    run = fit(folder, tmp_path / "run", stream=str(broken(**columns)), batch_size=1)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["cost"]["epochs"] == 2
    assert metrics["training"]["stream"] == 4
    assert "a stream of 4 rows in 1 shards" in (run / "report.html").read_text()


def test_an_epoch_begins_with_its_first_batch_that_has_rows(folder, broken, tmp_path, monkeypatch):
    """What methods do afresh with an epoch, they do at its batch 0."""
    columns = {n: [None, None, None, *table([4])[n].to_pylist()] for n in ("words", "x_1", "x_2")}
    seen, turns = [], altuna.methods.get("mla").turns

    def noted(method, batch):
        seen.append((method.clock.epoch, method.clock.batch))
        return turns(method, batch)

    monkeypatch.setattr(altuna.methods.get("mla"), "turns", noted)
    fit(folder, tmp_path / "run", stream=str(broken(**columns)), batch_size=1)
    assert seen == [(0, 0), (1, 0)]


def test_a_resumed_epoch_goes_on_where_it_was_after_batches_without_rows(folder, tmp_path, monkeypatch):
    rows = table(range(4, 16)).to_pydict()
    cells = {n: [None if i % 2 else v for i, v in enumerate(rows[n])] for n in ("words", "x_1", "x_2")}
    pyarrow.parquet.write_table(pa.table(rows | cells), tmp_path / "one.parquet")
    options = {"stream": str(tmp_path / "one.parquet"), "batch_size": 1, "checkpoint_every": 1}
    seen, turns = [], altuna.methods.get("mla").turns

    def noted(method, batch):
        seen.append((method.clock.epoch, method.clock.batch, batch.indices.tolist()))
        if len(seen) in stops:
            raise KeyboardInterrupt
        return turns(method, batch)

    monkeypatch.setattr(altuna.methods.get("mla"), "turns", noted)
    stops = []
    whole = load_file(fit(folder, tmp_path / "whole", **options) / "model.safetensors")
    want, seen[:] = [*seen], []
    assert [number for _, number, _ in want] == [*range(6)] * 2
    stops = [1, 4, 9]
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            fit(folder, tmp_path / "broken", resume=True, **options)
    broken = load_file(fit(folder, tmp_path / "broken", resume=True, **options) / "model.safetensors")
    assert [step for i, step in enumerate(seen, 1) if i not in stops] == want
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


@pytest.mark.parametrize(
    "options", [{"missing_rate": 0.2}, {"missing_mask": "m.parquet"}, {"test_missing_rate": 0.1}]
)
def test_what_a_stream_cannot_do(folder, tmp_path, options):
    with pytest.raises(UserError, match="cells of a stream"):
        fit(folder, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
