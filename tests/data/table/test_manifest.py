"""Manifests: what is read, what is inferred, and what every mistake is called."""

import csv
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from manifest_files import PNG, cells, parquet, types, write
from PIL import Image

from altuna.data.table.manifest import modality_of, read_manifest
from altuna.errors import UserError

ROWS = [
    {
        "id": "a",
        "split": "train",
        "label": "x",
        "group": "g",
        "picture": "a.png",
        "words": "one, two",
        "v": 1,
    },
    {"id": "b", "split": "test", "label": "y", "group": "h", "picture": "b.png", "words": None, "v": 2},
]


def write_as(kind, folder):
    if kind == "parquet":
        return parquet(folder, **{name: [row[name] for row in ROWS] for name in ROWS[0]})
    path = folder / f"m.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ROWS[0], delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_every_format_says_the_same(kind, tmp_path):
    manifest = read_manifest(write_as(kind, tmp_path))
    assert types(manifest) == {"picture": "image", "words": "text", "v": "vector"}
    for name in ("id", "split", "label", "group"):
        assert getattr(manifest, f"{name}s").to_pylist() == [row[name] for row in ROWS]
    assert cells(manifest, "picture") == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert cells(manifest, "words") == ["one, two", None]
    assert np.array_equal(cells(manifest, "v"), [[1], [2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ": cannot be read: Empty CSV file"),
        ("id,t\n", ": the manifest has no rows"),
        ("id,t\na,x\nb,y,z\n", ", row 2: has 3 columns, not 2: b,y,z"),
        ("id,t\na,x\n,y\n", ", row 2, column 'id': empty"),
        ("id,t\na,x\nb,y\na,z\n", ", row 3 (id 'a'), column 'id': the id is already in row 1"),
        ("id,t,t\na,x,y\n", ": column 't' occurs twice"),
        ("id,label\na,x\n", ": no modality"),
        ("id,fused\na,x\n", ": a modality cannot be named 'fused'"),
        ("id,t\na,\n", ": no modality"),
        ("id,split,t\na,train,x\nb,trian,y\n", ", row 2 (id 'b'), column 'split': unknown split 'trian'"),
        ("id,split,t\na,train,x\nb,,y\n", ", row 2 (id 'b'), column 'split': empty"),
        (
            "id,split,group,t\na,train,g,x\nb,test,g,y\nc,test,h,z\n",
            ", row 1 (id 'a'), column 'group': group 'g' is in train and test (1 such groups)",
        ),
        ("id,t,p\na,x,\nb,  ,\nc,,\n", ", row 2 (id 'b'), column 't': every modality is empty (and 1 more"),
    ],
)
def test_mistakes_name_file_row_and_column(text, words, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}{words}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ": no modality|: the manifest has no rows"),
        ('{"t": "a"}\n{"t": }\n', ", row 2: not JSON"),
        ('{"t": "a"}\n\n[1]\n', ", row 2: not a JSON object"),
        (
            '{"t": "a"}\n{"t": null}\n{"t": [5]}\n',
            ", row 3, column 't': has type list, but earlier rows have text",
        ),
        ('{"v": [1, 2]}\n{"v": [1, "b"]}\n', ", row \\d, column 'v': has type "),
    ],
)
def test_mistakes_in_jsonl(text, words, tmp_path):
    path = write(tmp_path, text, "m.jsonl")
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}({words})") as error:
        read_manifest(path)
    assert "\n" not in str(error.value)


def test_jsonl_keeps_dates_numbers_and_long_lines(tmp_path):
    rows = [{"id": 1, "label": True, "t": "2024-01-31", "v": 1}, {"id": 2, "label": 5, "t": "x" * 3_000_000}]
    manifest = read_manifest(write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"))
    assert manifest.ids.to_pylist() == ["1", "2"]
    assert manifest.labels.to_pylist() == ["true", "5"]
    assert cells(manifest, "t") == [row["t"] for row in rows]
    assert cells(manifest, "v")[1] is None


@pytest.mark.parametrize("name", ["absent.csv", "folder", "m.xlsx", "m.parquet", "plain"])
def test_files_that_are_no_manifest(name, tmp_path):
    (tmp_path / "folder").mkdir()
    for other in ("m.xlsx", "m.parquet", "plain"):
        (tmp_path / other).write_bytes(b"nonsense")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / name))) as error:
        read_manifest(tmp_path / name)
    assert "\n" not in str(error.value)


def test_text_that_is_not_utf8(tmp_path):
    """Bytes among UTF-8 are a mistake: which letters they are, nobody knows."""
    path = tmp_path / "m.csv"
    path.write_bytes("id,t\na,né né\nb,caf".encode() + b"\xe9\n")
    with pytest.raises(UserError, match="row 2, column 't': the text is not in UTF-8"):
        read_manifest(path)
    path.write_bytes(b"label,t\ncaf" + b"\xe9" + ",né né\n".encode())
    with pytest.raises(UserError, match=r"m\.csv, row 1, column 'label': the text is not in UTF-8"):
        read_manifest(path)


def test_columns_that_cannot_be_text(tmp_path):
    with pytest.raises(UserError, match=r"m\.parquet, column 'label': cannot be read as text"):
        read_manifest(parquet(tmp_path, label=[{"a": 1}], t=["x"]))


def test_shared_groups_can_be_allowed(tmp_path):
    path = write(tmp_path, "split,group,t\ntrain,g,x\ntest,g,y\ntest,,z\ntrain,,z\n")
    assert read_manifest(path, allow_shared_groups=True).groups.to_pylist() == ["g", "g", None, None]


def test_ids_are_row_numbers_where_there_are_none(tmp_path):
    assert read_manifest(write(tmp_path, "t\nx\ny\n")).ids.to_pylist() == ["1", "2"]


def test_ids_and_labels_stay_as_written(tmp_path):
    manifest = read_manifest(write(tmp_path, "id,label,t\n007,01,x\n1.0,NA,y\n2024-01-31,true,z\n"))
    assert manifest.ids.to_pylist() == ["007", "1.0", "2024-01-31"]
    assert manifest.labels.to_pylist() == ["01", "NA", "true"]


def test_digits_stay_as_written_where_text_is_wanted(tmp_path):
    path = write(tmp_path, "t\n007\n1.50\n")
    assert cells(read_manifest(path, {"t": {"type": "text"}}), "t") == ["007", "1.50"]
    assert read_manifest(path, text=["t"]).table["t"].to_pylist() == ["007", "1.50"]


def test_words_for_nothing_stay_text(tmp_path):
    words = ["NA", "None", "null", "nan", "NULL", "N/A", "-", "hello"]
    manifest = read_manifest(write(tmp_path, "t\n" + "\n".join(words)))
    assert cells(manifest, "t") == words


def test_unicode_quotes_and_newlines(tmp_path):
    path = write(tmp_path, '\ufeffid,t\na,"first\nsecond, ""q"""\nü,日本語 🎉\n')
    manifest = read_manifest(path)
    assert manifest.ids.to_pylist() == ["a", "ü"]
    assert cells(manifest, "t") == ['first\nsecond, "q"', "日本語 🎉"]


def test_absolute_paths_and_spaces(tmp_path):
    manifest = read_manifest(write(tmp_path, "p\n/abs/a.png\n ../b c.png \n"))
    assert cells(manifest, "p") == ["/abs/a.png", str(tmp_path / "../b c.png")]


def test_relative_to_the_manifest_not_to_the_caller(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "sub" / "a.png")
    write(tmp_path / "sub", "p\na.png\n")
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest("sub/m.csv")
    assert cells(manifest, "p") == [str(tmp_path / "sub" / "a.png")]


def test_which_cells_are_files(tmp_path):
    path = parquet(
        tmp_path,
        photo=["a.png", None, "c"],
        bytes=[PNG, PNG, None],
        both=[{"bytes": PNG, "path": "a.png"}, None, {"bytes": PNG, "path": None}],
        path=[{"bytes": None, "path": "a.wav"}, None, {"bytes": None, "path": "b.wav"}],
        note=["notes/1.txt", "notes/2.TXT#t=1", "see below"],
        words=["see 1.txt", "line\nline.txt", "it"],
        vectors=["a.npy", "b.npy", None],
        lists=[[1.0], [2.0], None],
        x_1=[1, 2, 3],
        x_2=[1, 2, 3],
    )
    manifest = read_manifest(path)
    assert {name: (m.type, m.files) for name, m in manifest.modalities.items()} == {
        "photo": ("image", True),
        "bytes": ("image", False),
        "both": ("image", False),
        "path": ("audio", True),
        "note": ("text", True),
        "words": ("text", False),
        "vectors": ("vector", True),
        "lists": ("vector", False),
        "x": ("vector", False),
    }
    for modality in manifest.modalities.values():
        assert modality_of(manifest.table, modality.type, modality.columns) == modality


@pytest.mark.parametrize("word", ["NA", "N/A", "n/a", "null", "None", "?", "-", " ", "<NA>"])
def test_words_for_nothing_among_numbers_are_empty(word, tmp_path):
    manifest = read_manifest(write(tmp_path, f"t,x\na,1\nb,{word}\nc,2.5\n"))
    assert types(manifest) == {"t": "text", "x": "vector"}
    assert manifest.table["x"].to_pylist() == [1, None, 2.5]


@pytest.mark.parametrize("cells", ["NA,1,inf", "1,?,-inf", "0,5,3,9," * 9 + "inf"])
def test_an_infinite_number_is_a_mistake(cells, tmp_path):
    cells = cells.split(",")
    path = write(tmp_path, "t,x\n" + "".join(f"a,{cell}\n" for cell in cells))
    with pytest.raises(UserError, match=rf"row {len(cells)} .*column 'x': is -?inf; leave the cell"):
        read_manifest(path)


@pytest.mark.parametrize("cells", ["1,nan", "1,NA,NaN"])
def test_nan_is_missing_and_is_named(cells, tmp_path):
    cells = cells.split(",")
    manifest = read_manifest(write(tmp_path, "t,x\n" + "".join(f"a,{cell}\n" for cell in cells)))
    assert manifest.table["x"].to_pylist() == [1, *[None] * (len(cells) - 1)]
    assert any(note.lower().endswith("'nan' in x (1)") or "NaN in x (1)" in note for note in manifest.notes)


def test_a_number_that_float32_has_not(tmp_path):
    path = write(tmp_path, "t,x\na,1\na,1e39\n")
    with pytest.raises(UserError, match=r"row 2 .*column 'x': is 1e\+39"):
        read_manifest(path)


def test_words_for_nothing_stay_in_a_text_that_says_so(tmp_path):
    path = write(tmp_path, "t\n1\nNA\n2\n")
    assert cells(read_manifest(path, {"t": {"type": "text"}}), "t") == ["1", "NA", "2"]
    assert cells(read_manifest(write(tmp_path, "t\n1\nNA\nx\n")), "t") == ["1", "NA", "x"]
    assert cells(read_manifest(write(tmp_path, "t,x\nNA,1\nNA,2\n")), "t") == ["NA", "NA"]


def test_ids_and_labels_in_jsonl_stay_as_written(tmp_path):
    big = 12345678901234567890
    rows = [{"id": big, "label": 1.0, "t": "x"}, {"id": big + 1, "label": "a", "t": "y"}]
    manifest = read_manifest(write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"))
    assert manifest.ids.to_pylist() == [str(big), str(big + 1)]
    assert manifest.labels.to_pylist() == ["1.0", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"t": "a"}\nnull\n', ", row 2: not a JSON object"),
        ('{"t": "a"}\n{"t": "b"} null\n', ", row 2: not JSON"),
        ('{"v": ' + "[" * 100_000 + "]" * 100_000 + "}\n", ", row 1: not JSON"),
        ('{"x": 1}\n{"x": 1e999}\n', ", row 2, column 'x': is inf; leave the cell empty"),
        ('{"t": "a", "t": "b"}\n', ", row 1: not JSON: a name occurs twice in one object"),
        ('{"t": "a"}\n{"t": "\\ud800"}\n', ", row 2, column 't': the text is not in UTF-8"),
    ],
)
def test_json_that_arrow_cannot_take(text, words, tmp_path):
    path = write(tmp_path, text, "m.jsonl")
    with pytest.raises(UserError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}{words}")
    assert "\n" not in str(error.value)


def test_text_in_jsonl_that_is_not_utf8(tmp_path):
    path = write(tmp_path, '{"t": "a"}\n{"t": "é"}\n', "m.jsonl", encoding="latin-1")
    with pytest.raises(UserError, match="row 2, column 't': the text is not in UTF-8"):
        read_manifest(path)


def test_text_in_parquet_that_is_not_utf8(tmp_path):
    broken = pa.array([b"a", None, b"caf\xe9"]).view(pa.string())
    with pytest.raises(UserError, match=r"m\.parquet, row 3, column 't': the text is not in UTF-8"):
        read_manifest(parquet(tmp_path, t=broken))


def test_a_first_list_after_many_rows_without(tmp_path):
    lines = [json.dumps({"t": f"some words {i}", "v": None}) for i in range(50_000)]
    lines += [json.dumps({"t": "x", "v": [1.5, 2]})]
    manifest = read_manifest(write(tmp_path, "\n".join(lines), "m.jsonl"))
    assert types(manifest) == {"t": "text", "v": "vector"}
    assert manifest.table["v"].null_count == 50_000
    assert manifest.table["v"][-1].as_py() == [1.5, 2]


def test_a_late_value_in_a_column(tmp_path):
    """Types come from the first values that there are, wherever they stand."""
    rows = [f"{i / 2},\n" for i in range(5000)] + ["5000,a.png\n"]
    assert types(read_manifest(write(tmp_path, "x,p\n" + "".join(rows)))) == {"x": "vector", "p": "image"}


def test_an_error_late_in_a_large_csv_knows_its_row(tmp_path):
    good = "".join(f"{i},{'mañana ' * 20}\n" for i in range(40_000))
    with pytest.raises(UserError, match="row 40001: has 3 columns, not 2: x,y,z"):
        read_manifest(write(tmp_path, f"id,t\n{good}x,y,z\n"))
    path = tmp_path / "m.csv"
    path.write_bytes(f"id,t\n{good}".encode() + b"x,\xff\n")
    with pytest.raises(UserError, match="row 40001, column 't': the text is not in UTF-8"):
        read_manifest(path)
    path.write_bytes(f"id,t\n{good}".encode() + b"x,\xff,z\n")
    with pytest.raises(UserError, match="row 40001: has 3 columns, not 2: x,\ufffd,z"):
        read_manifest(path)


def test_rows_that_a_quotation_mark_swallows_are_noticed(tmp_path):
    rows = [f"a,{i},owl {i}\n" for i in range(20)]
    rows[4] = 'a,4,"owl 4\n'  # the mark at its end is missing
    rows[9] = 'a,9,owl 9"\n'
    manifest = read_manifest(write(tmp_path, "label,x,note\n" + "".join(rows)))
    assert len(manifest) < 20
    assert any("row 5, column 'note': has" in n and "quotation mark missing?" in n for n in manifest.notes)
    letters = 'label,x,note\na,1,"Dear owl,\nthank you, and all.\nYours, the cat"\nb,2,c\n'
    assert not read_manifest(write(tmp_path, letters)).notes
