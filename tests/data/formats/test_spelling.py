"""One value in several spellings is one value: labels, groups, ids and splits."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altuna.data.formats.spelling import alike, spelled
from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError


def labels_of(tmp_path, labels):
    pq.write_table(pa.table({"label": labels, "x": range(len(labels))}), tmp_path / "t.parquet")
    return read_manifest(tmp_path / "t.parquet").labels.to_pylist()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["cat", "cat ", " dog", "dog\u00a0", "\u3000dog"], ["cat", "cat", "dog", "dog", "dog"]),
        (["1", "1.0", "2", "2.00"], ["1", "1", "2", "2"]),
        ([1.0, 2.0, math.nan, None], ["1", "2", None, None]),
        ([1, 2, None], ["1", "2", None]),
        (["1", "1.5", "1.0"], ["1", "1.5", "1.0"]),
        (["007", "7", "07"], ["007", "7", "07"]),
        (["1.0", "one"], ["1.0", "one"]),
        ([True, False], ["true", "false"]),
        ([0.25, 1.0], ["0.25", "1"]),
        (["", " ", "a"], [None, None, "a"]),
        ([2.0**60, 1.0], ["1.152921504606847e+18", "1"]),
    ],
)
def test_labels(given, wanted, tmp_path):
    assert labels_of(tmp_path, given) == wanted


def test_rows_with_an_empty_label_are_left_out_and_named(tmp_path):
    pq.write_table(pa.table({"label": [1.0, 2.0, math.nan] * 4, "x": range(12)}), tmp_path / "t.parquet")
    manifest = read_manifest(tmp_path / "t.parquet")
    assert manifest.notes == ("row 3, column 'label': empty (and in 3 more rows): left out",)
    rows = split_rows(manifest)
    assert sorted(np.concatenate([*rows.values()]).tolist()) == [0, 1, 3, 4, 6, 7, 9, 10]


def test_labels_that_are_alike_are_remarked_on(tmp_path):
    (tmp_path / "t.csv").write_text("label,x\nTrue,1\ntrue,2\ncafe\u0301,3\ncaf\u00e9,4\ndog,5\n")
    (note,) = read_manifest(tmp_path / "t.csv").notes
    assert note.startswith("these labels are different, but look alike: ")
    assert "'True' and 'true'" in note
    assert "dog" not in note


def test_a_group_with_a_blank_is_the_same_group(tmp_path):
    (tmp_path / "t.csv").write_text("label,split,group,x\na,train,spk1,1\nb,train,spk2,2\na,test,spk1 ,3\n")
    with pytest.raises(UserError, match="group 'spk1' is in train and test"):
        read_manifest(tmp_path / "t.csv")


def test_splits_by_other_words(tmp_path):
    words = ["Train", "TRAINING", "validation", "dev ", "Testing", "test"]
    lines = [f"a,{word},{i}" for i, word in enumerate(words)]
    (tmp_path / "t.csv").write_text("\n".join(["label,split,x", *lines]) + "\n")
    splits = read_manifest(tmp_path / "t.csv").splits.to_pylist()
    assert splits == ["train", "train", "val", "val", "test", "test"]


def test_invisible_characters_around_a_value_are_cut_off():
    cells = pa.chunked_array([["\u200bcat", "cat\ufeff ", "\u200d dog"]])
    assert spelled(cells).to_pylist() == ["cat", "cat", "dog"]


def test_values_that_look_alike():
    assert alike(["big cat", "big  cat", "big_cat"]) == [("big  cat", "big cat", "big_cat")]
    assert alike(["01", "1", "10"]) == [("01", "1")]
    assert alike(["cat.", "cat"]) == [("cat", "cat.")]
    assert not alike(["c", "c++", "c#", "1.5", "15", "-1", "1"])
