"""Cells that a training does without: nothing of them is read, and a file says which."""

import csv
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from altuna.data.missing.masks import Missing, masked, read_mask, write_mask
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError

NAMES = ("text", "acc")


@pytest.fixture
def manifest(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "toy.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "group", "text", "acc_x", "acc_y"])
        for i in range(200):
            split = ["train", "train", "val", "test"][i // 2 % 4]
            text = "" if i % 10 == 0 else f"word{i} and more words"
            row = [f"s{i}", split, f"c{i % 2}", f"{split}{i // 20}", text, rng.random(), rng.random()]
            writer.writerow(row)
    return read_manifest(path)


WHOLE = Missing()


def stays(manifest, missing, seed=0, default=WHOLE):
    rows = split_rows(manifest)
    return masked(manifest, rows, {"train": default, "val": default, "test": default} | missing, seed), rows


def test_the_rate_is_of_the_cells_there_are_in_each_split(manifest):
    some, rows = stays(manifest, {"train": Missing(0.3), "test": Missing(0.1)})
    for split, rate in (("train", 0.3), ("val", 0), ("test", 0.1)):
        before = sum(manifest.filled(m)[rows[split]].sum() for m in NAMES)
        after = np.stack([some.filled(m)[rows[split]] for m in NAMES])
        assert after.sum() == pytest.approx((1 - rate) * before, abs=0.51)
        assert after.any(0).all()
    again, _ = stays(manifest, {"train": Missing(0.3), "test": Missing(0.1)})
    other, _ = stays(manifest, {"train": Missing(0.3), "test": Missing(0.1)}, seed=1)
    assert np.array_equal(some.filled("acc"), again.filled("acc"))
    assert not np.array_equal(some.filled("acc"), other.filled("acc"))


def test_a_cell_taken_away_is_not_read(manifest):
    some, _ = stays(manifest, {"train": Missing(0.4)})
    cells = Cells(some, "text")
    gone = np.flatnonzero(manifest.filled("text") & ~some.filled("text"))
    assert len(gone)
    assert all(cells[row] is None for row in gone)
    assert np.array_equal(cells.filled, some.filled("text"))


def test_the_file_repeats_the_mask(manifest, tmp_path):
    some, _ = stays(manifest, {}, default=Missing(0.25))
    write_mask(tmp_path / "m.parquet", some)
    again, _ = stays(manifest, {}, seed=9, default=Missing(file=tmp_path / "m.parquet"))
    for name in NAMES:
        assert np.array_equal(again.filled(name), some.filled(name))
    order = np.array([5, 2, 7])
    found = read_mask(tmp_path / "m.parquet", manifest, order)
    assert np.array_equal(found, np.stack([some.filled(m)[order] for m in NAMES]))


def test_refuses(manifest, tmp_path):
    good = {"id": [f"s{i}" for i in range(200)], "text": [True] * 200, "acc": [True] * 200}
    cases = {
        "no such file": None,
        "for other data: it lacks .*row 200 .id 's199'.": {n: v[:-1] for n, v in good.items()},
        "for other data: its label differs in .*row 7.*, column 'label'": good | {"label": ["x"] * 200},
        "for other data: it has no column 'acc'": {n: v for n, v in good.items() if n != "acc"},
        "column 'acc' has type int64": good | {"acc": [1] * 200},
        r"parquet, row 3: 'acc' is empty": good | {"acc": [True, True, None] + [True] * 197},
    }
    for words, content in cases.items():
        path = tmp_path / f"{abs(hash(words))}.parquet"
        if content:
            pyarrow.parquet.write_table(pa.table(content), path)
        with pytest.raises(UserError, match=words):
            stays(manifest, {"test": Missing(file=path)})
    (tmp_path / "no.parquet").write_text("id,text\n")
    with pytest.raises(UserError, match=r"no\.parquet: not a Parquet file"):
        stays(manifest, {"test": Missing(file=tmp_path / "no.parquet")})
    with pytest.raises(UserError, match="is a folder, not a mask file"):
        stays(manifest, {"test": Missing(file=tmp_path)})
    with pytest.raises(UserError, match="no train row has a 'text'"):
        stays(manifest, {"train": Missing(pattern="never:text")})


def test_groups_need_a_column(manifest, tmp_path):
    stays(manifest, {"train": Missing(0.3, "group")})
    table = manifest.table.drop_columns("group")
    pyarrow.parquet.write_table(table, tmp_path / "nogroup.parquet")
    with pytest.raises(UserError, match="'group' needs a column 'group'"):
        stays(read_manifest(tmp_path / "nogroup.parquet"), {"train": Missing(0.3, "group")})
