"""Series or vector? Lists, files of arrays and columns that are channels."""

import re

import numpy as np
import pyarrow as pa
import pytest
from manifest_files import parquet, types, write

from altuna.data.table.cells import Cells
from altuna.data.table.manifest import Modality, read_manifest
from altuna.errors import UserError


@pytest.mark.parametrize(
    ("lists", "kind"),
    [
        ([[1.0, 2.0], [3.0]], "series"),
        ([[1.0, 2.0], [3.0, 4.0]], "vector"),
        ([[1.0, 2.0]] * 99 + [[3.0]], "vector"),  # one mistake among many
        ([[1.0, 2.0]] * 9 + [[3.0]], "series"),
        ([[1.0, 2.0], None, []], "vector"),
        ([[[1.0, 2.0], [3.0, 4.0]]] * 2, "series"),
        ([[[1.0, 2.0]]] * 2, "vector"),  # a step each
        ([[[1.0, 2.0]], [[1.0]]], "series"),  # a channel each
        ([[[[1.0]], [[2.0]]]] * 2, "vector"),
    ],
)
def test_lists(lists, kind, tmp_path):
    manifest = read_manifest(parquet(tmp_path, v=pa.array(lists), t=["a"] * len(lists)), lenient=True)
    assert types(manifest)["v"] == kind


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ([(5, 3), (7, 3)], "series"),
        ([(5, 3), (5, 3)], "series"),
        ([(5,), (7,)], "series"),
        ([(5,), (5,)], "vector"),
        ([(1, 5), (1, 5)], "vector"),
        ([(1, 5), (1, 7)], "series"),
        ([(4, 4, 3), (4, 4, 3)], "vector"),
    ],
)
def test_files_of_arrays(shapes, kind, tmp_path):
    for i, shape in enumerate(shapes):
        np.save(tmp_path / f"{i}.npy", np.zeros(shape))
    manifest = read_manifest(write(tmp_path, "label,v\na,0.npy\nb,1.npy\n"))
    assert manifest.modalities["v"] == Modality(kind, ("v",), files=True)
    content = [(tmp_path / f"{i}.npy").read_bytes() for i in range(2)]
    manifest = read_manifest(parquet(tmp_path, v=content, label=["a", "b"]))
    assert types(manifest) == {"v": kind}


@pytest.mark.parametrize("suffix", ["npz", "csv", "tsv", "parquet"])
def test_files_of_steps(suffix, tmp_path):
    manifest = read_manifest(write(tmp_path, f"label,v\na,0.{suffix}\nb,1.{suffix}\n"))
    assert manifest.modalities["v"] == Modality("series", ("v",), files=True)


def test_columns_that_are_channels(tmp_path):
    ragged, fixed = [[1, 2], [3]], [[1, 2], [3, 4]]
    path = parquet(
        tmp_path,
        label=["a", "b"],
        **{"imu_x": ragged, "imu_y": ragged, "gyro.x": fixed, "gyro.y": fixed},
        emb_a=fixed,
        emb_b=fixed,
        tail_a=ragged,
        tail_b=[[1], [2, 3]],
        imu_mean=[0.5, 0.7],
    )
    manifest = read_manifest(path)
    found = {name: (m.type, m.columns) for name, m in manifest.modalities.items()}
    assert found == {
        "imu": ("series", ("imu_x", "imu_y")),
        "gyro": ("series", ("gyro.x", "gyro.y")),
        "emb_a": ("vector", ("emb_a",)),
        "emb_b": ("vector", ("emb_b",)),
        "tail_a": ("series", ("tail_a",)),
        "tail_b": ("series", ("tail_b",)),
        "imu_numbers": ("vector", ("imu_mean",)),
    }
    cell = Cells(manifest, "imu")[1]
    assert {name: numbers.tolist() for name, numbers in cell.items()} == {"imu_x": [3], "imu_y": [3]}
    stated = {"both": {"columns": ["emb_a", "emb_b"]}, "imu": {"prefix": "imu_x"}}
    manifest = read_manifest(path, stated)
    assert manifest.modalities["both"] == Modality("series", ("emb_a", "emb_b"))
    assert manifest.modalities["imu"].type == "series"
    with pytest.raises(
        UserError, match=r"column 'imu_mean': .*: the cells are numbers, not lists of numbers"
    ):
        read_manifest(path, {"imu": {"type": "series", "prefix": "imu_"}})
    with pytest.raises(
        UserError, match=r"row 1, column 'imu_x': .*: the cells are lists of numbers, not numbers"
    ):
        read_manifest(path, {"imu": {"type": "vector", "prefix": "imu_"}})


def test_cells_have_keys_of_their_content(tmp_path):
    lists = [[1.0, 2.0], [1.0, 2.0], [[1.0], [2.0]][0] * 3, None, [1.0, None], [1.0, 2.5]]
    manifest = read_manifest(parquet(tmp_path, v=lists, t=[*"abcdef"]), {"v": {"type": "series"}, "t": {}})
    cells = Cells(manifest, "v")
    assert isinstance(cells[0], np.ndarray)
    assert cells[4] == [1.0, None]
    keys = [key.tobytes() for key in cells.keys(np.array([0, 1, 2, 4, 5]))]
    assert keys[0] == keys[1]
    assert len({*keys}) == 4


def test_long_series_that_differ_in_the_middle_have_different_keys(tmp_path):
    one = np.zeros(5000)
    other = one.copy()
    other[2500] = 1
    path = parquet(tmp_path, v_x=[one, other, one[:9]], v_y=[one, one, one[:9]])
    manifest = read_manifest(path)
    assert types(manifest) == {"v": "series"}
    keys = Cells(manifest, "v").keys(np.arange(3))
    assert len({key.tobytes() for key in keys}) == 3


def test_lists_in_jsonl_stay_lists_when_a_series_is_stated(tmp_path):
    path = write(tmp_path, '{"label": "a", "v": [1, 2]}\n{"label": "b", "v": [3, 4]}\n', "m.jsonl")
    manifest = read_manifest(path, {"v": {"type": "series"}})
    assert Cells(manifest, "v")[0].tolist() == [1, 2]


def test_bad_cells_name_row_and_column(tmp_path):
    """Those that are an error in the data end the training; the others count as missing, with a reason."""
    from altuna.data.fit_readers import fit_readers
    from altuna.data.samples import prepare_stores, problems_of

    rows = {"x": [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0], []], "y": [[1.0, 2.0], [3.0], [4.0], []]}
    path = parquet(tmp_path, label=[*"abab"], **{f"imu_{axis}": lists for axis, lists in rows.items()})
    manifest = read_manifest(path)
    readers = fit_readers(manifest, np.arange(2), {})
    problems = problems_of(prepare_stores(manifest, readers, tmp_path), manifest)
    assert [(p.row, p.column, p.kind) for p in problems] == [(3, "imu", "fatal"), (4, "imu", "unread")]
    assert re.search("has 1 steps in 'imu_y', but 3 in 'imu_x'", str(problems[0]))
    assert "an empty series" in problems[1].reason
