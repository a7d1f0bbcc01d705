"""Which columns of a manifest are read as what: types by value, vectors, stated modalities, other names."""

import csv
import datetime
import decimal
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from manifest_files import PNG, WAV, cells, parquet, types, write

from altuna.data.table.manifest import Modality, read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        *((f"f{suffix}", "image") for suffix in (".png", ".JPG", ".jpeg", ".webp", ".bmp", ".gif", ".tif")),
        *(
            (f"d.x/f{suffix}", "audio")
            for suffix in (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".AIF")
        ),
        *((f"f{suffix}", "video") for suffix in (".mp4", ".avi", ".mov", ".mkv", ".webm", ".flv", ".wmv")),
        *((f"f{suffix}#t=1.5,3", "video") for suffix in (".mpg", ".mpeg", ".m4v", ".3gp")),
        ("a.wav#t=10", "audio"),
        ("a.b#c.png", "image"),
        ("f.npy", "vector"),
        ("7.5", "vector"),
        ("true", "vector"),
        ("a picture of a.png file", "text"),
        ("2024-01-31", "tabular"),
        ("12:30:00", "vector"),
        ("x" * 5000, "text"),
    ],
)
def test_types_by_value(cell, kind, tmp_path):
    assert types(read_manifest(write(tmp_path, f'label,m\na,"{cell}"\nb,"{cell}"\n'))) == {"m": kind}


def test_the_usual_type_wins(tmp_path):
    assert types(read_manifest(write(tmp_path, "m\na.png\nb.png\nwhat\n"))) == {"m": "image"}


def test_types_of_binary_cells(tmp_path):
    path = parquet(tmp_path, p=[PNG, None], s=[WAV, WAV], o=[b"OggS", b"OggS"], n=[b"\x93NUMPY", b""])
    manifest = read_manifest(path)
    assert types(manifest) == {"p": "image", "s": "audio", "o": "audio", "n": "vector"}
    assert cells(manifest, "p") == [PNG, None]


def test_pictures_of_hugging_face(tmp_path):
    manifest = read_manifest(parquet(tmp_path, image=[{"bytes": PNG, "path": "a.png"}, None], t=["x", "y"]))
    assert types(manifest)["image"] == "image"
    assert cells(manifest, "image") == [PNG, None]


def test_numeric_columns_with_one_prefix_form_a_vector(tmp_path):
    path = write(tmp_path, "acc_x,acc_y,gyro.x,mfcc1,mfcc2,acc,age\n1,2,3,4,5,text,7\n1,,3,4,5,text,7\n")
    manifest = read_manifest(path)
    columns = {name: modality.columns for name, modality in manifest.modalities.items()}
    assert columns == {
        "acc": ("acc",),
        "acc_numbers": ("acc_x", "acc_y"),
        "gyro": ("gyro.x",),
        "mfcc": ("mfcc1", "mfcc2"),
        "age": ("age",),
    }
    first, second = cells(manifest, "acc_numbers")
    assert first.tolist() == [1, 2]
    assert second[0] == 1
    assert np.isnan(second[1])


@pytest.mark.parametrize("large", [False, True])
def test_list_cells_are_vectors(large, tmp_path):
    kind = (pa.large_list if large else pa.list_)(pa.float32())
    manifest = read_manifest(parquet(tmp_path, v=pa.array([[1.0, 2.0], None], kind), t=["a", "b"]))
    assert types(manifest)["v"] == "vector"
    assert cells(manifest, "v") == [[1.0, 2.0], None]


def test_arrow_types_that_need_not_be_told_apart(tmp_path):
    path = parquet(
        tmp_path,
        label=pa.array(["x", "y"]).dictionary_encode(),
        p=pa.array(["a.png", " "]).dictionary_encode(),
        d=[decimal.Decimal("1.5"), decimal.Decimal("2.5")],
        t=[datetime.date(2024, 1, 31), None],
    )
    manifest = read_manifest(path)
    assert types(manifest) == {"p": "image", "tabular": "tabular"}
    assert manifest.labels.to_pylist() == ["x", "y"]
    assert cells(manifest, "p") == [str(tmp_path / "a.png"), None]
    assert cells(manifest, "tabular") == [{"d": 1.5, "t": "2024-01-31"}, {"d": 2.5, "t": None}]


def test_stated_modalities(tmp_path):
    path = write(tmp_path, "title,file,acc_x,acc_y,b,other\n5,a.bin,1,2,3,z\n6,b.bin,1,2,3,z\n")
    stated = {
        "title": {"type": "text"},
        "image": {"type": "image", "column": "file"},
        "motion": {"prefix": "acc_"},
        "pair": {"columns": ["b", "acc_x"]},
    }
    manifest = read_manifest(path, stated)
    assert types(manifest) == {"title": "text", "image": "image", "motion": "vector", "pair": "vector"}
    assert cells(manifest, "title") == ["5", "6"]
    assert cells(manifest, "image")[0] == str(tmp_path / "a.bin")
    assert cells(manifest, "pair")[0].tolist() == [3, 1]
    assert list(manifest.only(["pair"]).modalities) == ["pair"]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"m": {"column": "titel"}}, "modality 'm': no column 'titel'; did you mean 'title'?"),
        ({"m": {"prefix": "gyro_"}}, "modality 'm': no column starts with 'gyro_'"),
        ({"m": {"column": "title", "type": "imag"}}, "unknown type 'imag'; did you mean 'image'?"),
        (
            {"m": {"columns": ["title", "v_x"], "type": "text"}},
            "several columns must be of type vector, series or tabular, not text",
        ),
        ({"m": {"prefix": "v_"}}, "column 'v_note': 'x': the cells are texts, not numbers"),
        ({"m": {"colum": "title"}}, "unknown option 'colum'; did you mean 'column'?"),
        ({"m": {"columns": ["v_x", "v_x"]}}, "modality 'm': has the column 'v_x' twice"),
        ({"m": {"column": 3}}, "modalities.m: column must be a text, got 3"),
        ({"m": {"column": "label"}}, "no column 'label'"),
        ({"m": "title"}, "modalities.m: must be a mapping of options to values, got 'title'"),
        ({}, "modalities is empty"),
    ],
)
def test_stated_modalities_that_do_not_fit(stated, words, tmp_path):
    path = write(tmp_path, "label,title,v_x,v_note\na,hi,1,x\nb,ho,2,y\n")
    with pytest.raises(UserError, match=re.escape(words)) as error:
        read_manifest(path, stated)
    assert "\n" not in str(error.value)


def test_types_by_the_beginning_of_bytes(tmp_path):
    beginnings = {
        "webp": (b"RIFF\0\0\0\0WEBP", "image"),
        "wav": (b"RIFF\0\0\0\0WAVE", "audio"),
        "avi": (b"RIFF\0\0\0\0AVI LIST", "video"),
        "mp4": (b"\0\0\0\x20ftypisom", "video"),
        "m4a": (b"\0\0\0\x20ftypM4A ", "audio"),
        "avif": (b"\0\0\0\x20ftypavif", "image"),
        "mkv": (b"\x1aE\xdf\xa3", "video"),
        "flv": (b"FLV\x01", "video"),
        "mp3": (b"ID3", "audio"),
        "jpg": (b"\xff\xd8\xff\xe0", "image"),
    }
    path = parquet(
        tmp_path, **{name: [None, cell + b"..."] for name, (cell, _) in beginnings.items()}, x=[1, 2]
    )
    found = read_manifest(path).modalities
    assert {name: found[name].type for name in beginnings} == {n: kind for n, (_, kind) in beginnings.items()}
    assert not any(modality.files for modality in found.values())


def test_one_column_may_be_two_modalities(tmp_path):
    path = write(tmp_path, "clip\n'a.mp4#t=0,2'\nb.mp4\n".replace("'", '"'))
    stated = {"video": {"column": "clip"}, "audio": {"type": "audio", "column": "clip"}}
    assert read_manifest(path, stated).modalities == {
        "video": Modality("video", ("clip",), files=True),
        "audio": Modality("audio", ("clip",), files=True),
    }


def test_what_no_reader_takes_is_no_modality(tmp_path):
    path = parquet(
        tmp_path,
        tags=[["a"], ["b"]],
        answers=[{"start": 1}, {"start": 2}],
        nested=[[[1.0]], [[2.0]]],
        t=["x", "y"],
        __index_level_0__=[0, 1],
    )
    assert types(read_manifest(path)) == {"nested": "vector", "t": "text"}
    with pytest.raises(UserError, match=r"row 1, column 'tags': \['a'\]: the cells are lists of texts"):
        read_manifest(path, {"tags": {"type": "text"}})


def test_the_row_numbers_of_pandas_are_no_modality(tmp_path):
    assert types(read_manifest(write(tmp_path, ",t\n0,x\n1,y\n"))) == {"t": "text"}


RENAMED = "name,part,category,speaker,t,label\n1,train,a,g,x,0\n2,train,b,h,y,1\n3,test,a,i,z,0\n"


COLUMNS = {"id": "name", "split": "part", "label": "category", "group": "speaker"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_of_other_names(kind, tmp_path):
    path = write(tmp_path, RENAMED)
    rows = list(csv.DictReader(io.StringIO(RENAMED)))
    if kind == "jsonl":
        path = write(
            tmp_path, "\n".join(json.dumps(row | {"name": int(row["name"])}) for row in rows), "m.jsonl"
        )
    elif kind == "parquet":
        path = parquet(tmp_path, **{name: [row[name] for row in rows] for name in rows[0]})
    manifest = read_manifest(path, columns=COLUMNS)
    assert types(manifest) == {"t": "text"}
    assert manifest.ids.to_pylist() == ["1", "2", "3"]
    assert manifest.splits.to_pylist() == ["train", "train", "test"]
    assert manifest.labels.to_pylist() == ["a", "b", "a"]
    assert manifest.groups.to_pylist() == ["g", "h", "i"]


def test_a_column_called_label_that_is_none_is_a_modality_only_if_that_is_stated(tmp_path):
    path = write(tmp_path, RENAMED)
    assert types(read_manifest(path, {"label": {}}, columns=COLUMNS)) == {"label": "vector"}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"lable": "t"}, "columns: unknown key 'lable'; did you mean 'label'?"),
        ({"label": "categroy"}, "columns.label: no column 'categroy'; did you mean 'category'?"),
        ({"label": 3}, "columns.label: must be the name of a column, got 3"),
    ],
)
def test_columns_that_do_not_fit(columns, words, tmp_path):
    with pytest.raises(UserError, match=re.escape(words)):
        read_manifest(write(tmp_path, RENAMED), columns=columns)


def test_data_that_a_model_meets_may_lack_columns(tmp_path):
    path = write(tmp_path, "label,t\na,x\n")
    assert read_manifest(path, columns=COLUMNS, lenient=True).labels.to_pylist() == ["a"]


def test_errors_name_the_column_as_it_is_called(tmp_path):
    path = write(tmp_path, RENAMED.replace("3,test", "2,test"))
    with pytest.raises(UserError, match=r"row 3 \(id '2'\), column 'name': the id is already in row 2"):
        read_manifest(path, columns=COLUMNS)
    path = write(tmp_path, RENAMED.replace("2,train", "2,trial"))
    with pytest.raises(UserError, match=r"row 2 \(id '2'\), column 'part': unknown split 'trial'"):
        read_manifest(path, columns=COLUMNS)


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("t,Category", "did you mean 'Category'? Then add --set columns.label=Category"),
        ("class,labels", "did you mean 'labels'? Then add --set columns.label=labels"),
        ("t,lable", "did you mean 'lable'? Then add --set columns.label=lable"),
        ("t,my label", "did you mean 'my label'? Then add --set 'columns.label=my label'"),
        ("t,kind", "if it has another name: --set columns.label=NAME"),
    ],
)
def test_no_label_suggests_a_column(header, hint, tmp_path):
    manifest = read_manifest(write(tmp_path, f"{header}\na,b\n"))
    with pytest.raises(UserError) as error:
        split_rows(manifest)
    assert str(error.value) == f"{manifest.path}: no column 'label'; {hint}"
