"""Tables as programs write them: separators, encodings, blanks in the header, compression."""

import gzip
import re

import pyarrow as pa
import pyarrow.feather
import pytest

from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError

HEADER, ROWS = ["title", "label", "acc"], [["red, fox", "a", "0.5"], ["blue", "b", "1.5"], ["", "a", "2.5"]]


def text(separator=",", blank=""):
    def cell(value):
        return f'"{value}"' if separator in value else value

    lines = [(separator + blank).join(map(cell, row)) for row in (HEADER, *ROWS)]
    return "\n".join(lines) + "\n"


FILES = {
    "commas": ("t.csv", text().encode(), ""),
    "semicolons": ("t.csv", text(";").encode(), "its columns are separated by semicolons"),
    "tabs": ("t.csv", text("\t").encode(), "its columns are separated by tabs"),
    "bars": ("t.csv", text("|").encode(), "its columns are separated by vertical bars"),
    "tsv with commas": ("t.tsv", text().encode(), "its columns are separated by commas"),
    "utf-16": ("t.csv", text().encode("utf-16"), "it is in UTF-16"),
    "utf-16, big-endian": ("t.csv", b"\xfe\xff" + text().encode("utf-16-be"), "it is in UTF-16"),
    "utf-16 with tabs": ("t.csv", text("\t").encode("utf-16"), "it is in UTF-16"),
    "byte order mark": ("t.csv", text(";").encode("utf-8-sig"), "its columns are separated by semicolons"),
    "gzip": ("t.csv.gz", gzip.compress(text().encode()), ""),
    "gzip with semicolons": (
        "t.csv.gz",
        gzip.compress(text(";").encode()),
        "its columns are separated by semicolons",
    ),
    "windows": ("t.csv", text(";").replace("\n", "\r\n").encode(), "its columns are separated by semicolons"),
}


@pytest.mark.parametrize("case", FILES)
def test_is_read_as_what_it_is(case, tmp_path):
    name, content, note = FILES[case]
    (tmp_path / name).write_bytes(content)
    manifest = read_manifest(tmp_path / name)
    assert manifest.labels.to_pylist() == ["a", "b", "a"]
    assert {name: modality.type for name, modality in manifest.modalities.items()} == {
        "title": "text",
        "acc": "vector",
    }
    assert manifest.table["title"].to_pylist()[:2] == ["red, fox", "blue"]
    assert manifest.table["acc"].to_pylist() == [0.5, 1.5, 2.5]
    assert any(note in said for said in manifest.notes) if note else not manifest.notes


@pytest.mark.parametrize("before", [0, 100_000])
def test_western_letters_of_one_byte_are_read(before, tmp_path):
    path = tmp_path / "t.csv"
    text = "title;label;acc\n" + "owl;a;1\n" * before + "noche señor;a;0,5\ndía;b;1,5\n"
    path.write_bytes(text.encode("windows-1252"))
    manifest = read_manifest(path)
    assert manifest.table["title"].to_pylist()[-2:] == ["noche señor", "día"]
    assert manifest.table["acc"].to_pylist()[-2:] == [0.5, 1.5]
    assert "it is not in UTF-8, and read as Windows-1252" in " ".join(manifest.notes)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("shift_jis", "身長,色は赤"), ("gb18030", "身高,红色的树"), ("windows-1251", "рост,красный")],
)
def test_other_encodings_are_refused_with_the_command_to_convert(encoding, text, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(f"label,{text}\n".encode(encoding) + f"a,{text}\n".encode(encoding) * 50)
    with pytest.raises(UserError, match=rf"iconv -f .*{encoding}.*") as error:
        read_manifest(path)
    assert "t.csv: is not in UTF-8; convert it: iconv -f " in str(error.value)


PREAMBLES = {
    "comments": "# device 7\n# 50 Hz, 2 g\n",
    "percent": "% made by a logger\n",
    "title": "Measurements of 2024\nStation 7\n\n",
}


@pytest.mark.parametrize("start", PREAMBLES)
@pytest.mark.parametrize("separator", [",", ";"])
def test_lines_before_the_header_are_skipped(start, separator, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(PREAMBLES[start] + text(separator))
    manifest = read_manifest(path)
    assert manifest.table.column_names == HEADER
    assert manifest.table["acc"].to_pylist() == [0.5, 1.5, 2.5]
    assert f"lines before its header are skipped: {PREAMBLES[start].count(chr(10))}" in " ".join(
        manifest.notes
    )
    path.write_text(PREAMBLES[start] + text(separator) + "a,b,c,d\n".replace(",", separator))
    with pytest.raises(UserError, match=r"t\.csv, row 4: has 4 columns, not 3"):
        read_manifest(path)


def test_a_header_that_starts_like_a_comment(tmp_path):
    (tmp_path / "t.csv").write_text("# device 7\n#label,acc\na,1\nb,2\n")
    assert read_manifest(tmp_path / "t.csv", columns={"label": "#label"}).labels.to_pylist() == ["a", "b"]


def test_blanks_around_names_are_cut_off(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("title, label, day,acc\nx, 1,2024-01-02,1\ny, 2,2024-01-03,2\n")
    manifest = read_manifest(path)
    assert manifest.table.column_names == ["title", "label", "day", "acc"]
    assert manifest.labels.to_pylist() == ["1", "2"]
    assert manifest.notes == (f"{path}: blanks around the names of its columns are cut off",)


def test_names_that_differ_by_blanks_are_one_name_twice(tmp_path):
    (tmp_path / "t.csv").write_text("label,x, x\na,1,2\nb,2,3\n")
    with pytest.raises(UserError, match=r"t\.csv: column 'x' occurs twice"):
        read_manifest(tmp_path / "t.csv")


def test_one_column_of_texts_with_commas_stays_one_column(tmp_path):
    (tmp_path / "t.tsv").write_text('label\ttext\na\t"x, y"\nb\tz, w\n')
    manifest = read_manifest(tmp_path / "t.tsv")
    assert manifest.table.column_names == ["label", "text"]
    assert not manifest.notes


def test_feather(tmp_path):
    table = pa.table({"label": ["a", "b"], "acc": [1.0, 2.0]})
    pyarrow.feather.write_feather(table, tmp_path / "t.feather")
    assert read_manifest(tmp_path / "t.feather").labels.to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.xlsx", "unknown format; save the sheet as CSV"),
        ("t.json", "not JSON"),
        ("t.pkl", "unknown format; a pickle may run code"),
        ("t.docx", "unknown format; a manifest must be .csv"),
    ],
)
def test_other_formats_are_refused_with_what_helps(name, words, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=re.escape(words)):
        read_manifest(tmp_path / name)


def test_a_row_with_more_cells_is_named_in_any_dialect(tmp_path):
    for content in (text(";") + "a;b;c;d\n", text().replace(", ", "") + "a,b,c,d\n"):
        for encoding in ("utf-8", "utf-16"):
            (tmp_path / "t.csv").write_bytes(content.encode(encoding))
            with pytest.raises(UserError, match=r"t\.csv, row 4: has 4 columns, not 3: a.b.c.d"):
                read_manifest(tmp_path / "t.csv")


def test_the_separator_that_excel_reads_from_a_first_line(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nlabel;x\na;1,5\nb;2\n")
    manifest = read_manifest(tmp_path / "t.csv")
    assert manifest.table.to_pydict() == {"label": ["a", "b"], "x": [1.5, 2.0]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PAR1\0\0", "rename it to .parquet"),
        (gzip.compress(b"label,x\na,1\n"), "rename it to .csv.gz"),
        (b"PK\x03\x04xl", "save the sheet as CSV"),
        (b"<table><tr><td>label", "HTML or XML"),
        ("label,x\na,1\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("label,x\na,1\n".encode("utf-32"), "UTF-32"),
    ],
)
def test_other_formats_that_are_called_csv_are_refused_by_name(content, words, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.json.gz", "t.json", "t.jsonl"])
@pytest.mark.parametrize("whole", [True, False])
def test_json_in_lines_or_whole_and_compressed(name, whole, tmp_path):
    rows = ['{"label": "a", "x": 1.5}', '{"label": "b", "x": 2}']
    text = f"[{', '.join(rows)}]" if whole else "\n".join(rows)
    if whole and "jsonl" in name:
        return
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    assert read_manifest(tmp_path / name).table.to_pydict() == {"label": ["a", "b"], "x": [1.5, 2.0]}
