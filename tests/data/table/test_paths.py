"""A column of paths or of files in base64 is one of files; it is never read as words."""

import base64
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from altuna.data.fit_readers import fit_readers
from altuna.data.samples import prepare_stores
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.data.table.paths import content_type, embedded, suffix, text_type
from altuna.errors import UserError


def table(folder, cells, name="t.csv"):
    rows = "".join(f'{"ab"[i % 2]},"{cell}",some words {i}\n' for i, cell in enumerate(cells))
    (folder / name).write_text("label,file,more\n" + rows)
    return folder / name


def picture(value, kind="PNG"):
    content = io.BytesIO()
    image = Image.new("RGB", (8, 8), (value, 0, 0))
    image.putpixel((0, 0), (9, 9, 9))
    image.save(content, kind)
    return content.getvalue()


def read_all(path):
    manifest = read_manifest(path)
    rows = np.arange(len(manifest))
    stores = prepare_stores(manifest, fit_readers(manifest, rows, {}), path.parent / "store")
    return manifest, stores["file"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PPM", "JPEG2000", "TGA", "BMP", "GIF"])
@pytest.mark.parametrize("ending", [True, False])
def test_pictures_of_any_ending_and_of_none(kind, ending, tmp_path):
    names = {"JPEG": ".jfif", "JPEG2000": ".jp2"}
    if kind == "TGA" and not ending:
        pytest.skip("nothing at the start of such a file tells what it is")
    (tmp_path / "pics").mkdir()
    cells = [f"pics/{i}" + ending * names.get(kind, f".{kind.lower()}") for i in range(12)]
    for i, cell in enumerate(cells):
        (tmp_path / cell).write_bytes(picture(i, kind))
    manifest, store = read_all(table(tmp_path, cells))
    assert manifest.modalities["file"].type == "image"
    assert (store.position >= 0).all()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_pictures_in_base64(prefix, tmp_path):
    cells = [prefix + base64.b64encode(picture(20 * i)).decode() for i in range(12)]
    manifest, store = read_all(table(tmp_path, cells))
    assert manifest.modalities["file"].type == "image"
    red = store.array[store.position][:, 20, 20, 0].astype(int)
    assert np.allclose(red, [20 * i for i in range(12)], atol=5)


WRITTEN = {
    "hex": bytes.hex,
    "0x": lambda content: f"0x{content.hex().upper()}",
    "postgres": lambda content: f"\\x{content.hex()}",
    "sqlite": lambda content: f"X'{content.hex()}'",
    "base64 of URLs": lambda content: base64.urlsafe_b64encode(content).decode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_pictures_as_databases_write_bytes(form, tmp_path):
    cells = [WRITTEN[form](picture(20 * i)) for i in range(12)]
    manifest, store = read_all(table(tmp_path, cells))
    assert manifest.modalities["file"].type == "image"
    red = store.array[store.position][:, 20, 20, 0].astype(int)
    assert np.allclose(red, [20 * i for i in range(12)], atol=5)


def test_hashes_are_no_files():
    assert embedded("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08") is None


def test_backslashes_separate_folders(tmp_path):
    (tmp_path / "pics").mkdir()
    for i in range(4):
        (tmp_path / "pics" / f"{i}.png").write_bytes(picture(i))
    _, store = read_all(table(tmp_path, [f"pics\\{i}.png" for i in range(4)]))
    assert (store.position >= 0).all()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("scans/{}.heic", r"no reader accepts \.heic files; they need the package pillow-heif"),
        ("scans/{}.dcm", "they need the package pydicom"),
        ("scans/{}.nii.gz", r"no reader accepts \.nii\.gz files"),
        ("{}.pdf", "they are documents"),
        ("{}.pt", "a pickle may run code"),
        ("https://host/{}.jpg", "URLs are not read; download the files"),
        ("scans/{}.qqq", r"look like paths, but no reader accepts \.qqq files"),
        ("C:\\scans\\{}.qqq", r"look like paths, but no reader accepts \.qqq files"),
    ],
)
def test_files_that_nothing_reads_are_an_error(cell, words, tmp_path):
    path = table(tmp_path, [cell.format(i) for i in range(12)])
    with pytest.raises(UserError, match=rf"t\.csv, row 1, column 'file': .*{words}") as error:
        read_manifest(path)
    assert "\n" not in str(error.value)
    assert read_manifest(path, types={"file": "text"}).modalities["file"].type == "text"
    assert "file" not in read_manifest(path, ignore=["file"]).modalities


@pytest.mark.parametrize(
    "cell",
    [
        "an owl no. {}",
        "either/or {} words",
        "www.host{}.com",
        "https://host/page{}",
        "see a.png of {}",
        "v1.{}",
    ],
)
def test_texts_stay_texts(cell, tmp_path):
    manifest = read_manifest(table(tmp_path, [cell.format(f"x{i}y") for i in range(12)]))
    assert manifest.modalities["file"].type == "text"


@pytest.mark.parametrize(
    "cells",
    [
        [f"scans/p{i}.xyz" for i in range(8)],
        [f"scans/p{i}.{('xyz', 'qqq')[i % 2]}" for i in range(12)],
        ["see note", *(f"scans/p{i}.xyz" for i in range(7))],
        [f"scan{i}.xyz" for i in range(12)],
    ],
)
def test_paths_are_never_words(cells, tmp_path):
    with pytest.raises(UserError, match=r"column 'file': .*look like paths, but no reader accepts \.\w+"):
        read_manifest(table(tmp_path, cells))


@pytest.mark.parametrize("cell", ["owl{}@host.com", "owl{}.com", "either/or", "1/{}.5", "{}.5x{}", "T{}.25Z"])
def test_mails_hosts_and_words_are_no_paths(cell, tmp_path):
    cells = [cell.format(i, i) for i in range(12)]
    assert "file" in read_manifest(table(tmp_path, cells)).modalities


def test_a_url_in_a_column_of_files_is_named(tmp_path):
    cells = ["https://host/0.png", *(f"{i}.png" for i in range(1, 12))]
    for cell in cells[1:]:
        (tmp_path / cell).write_bytes(picture(200))
    _, store = read_all(table(tmp_path, cells))
    (problem,) = store.problems
    assert (problem.row, problem.reason) == (1, "is a URL: download the file, and give its path")


def test_endings_and_beginnings():
    assert suffix("a/b.TAR.GZ") == ".gz"
    assert suffix("a/b.nii.gz") == ".nii.gz"
    assert suffix("https://host/a.png?size=3#x") == ".png"
    assert text_type("clip.m2ts") == "video"
    assert text_type("sound.amr") == "audio"
    assert content_type(picture(0)) == content_type(picture(0, "JPEG")) == "image"


def test_quotation_marks_around_paths_are_cut_off(tmp_path):
    for i in range(3):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{i}.png")
    rows = "".join(f'{"ab"[i % 2]},"""{i}.png"""\n' for i in range(3))
    (tmp_path / "t.csv").write_text("label,photo\n" + rows)
    manifest = read_manifest(tmp_path / "t.csv")
    assert manifest.modalities["photo"].type == "image"
    assert Cells(manifest, "photo")[1] == tmp_path / "1.png"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("{'bytes': None, 'path': 'owls/1.png'}", "write only the path 'owls/1.png'"),
        ('<img src="owls/1.png">', "write only the path 'owls/1.png'"),
        (str(b"\x89PNG\r\n"), "bytes that were printed"),
    ],
)
def test_paths_and_bytes_within_other_text_are_refused(cell, words, tmp_path):
    pq.write_table(pa.table({"label": ["a", "b"] * 10, "photo": [cell] * 20}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=re.escape(words)):
        read_manifest(tmp_path / "t.parquet")


def test_texts_that_look_like_paths_have_a_remark(tmp_path):
    columns = {
        "label": ["a", "b"] * 15,
        "clip": [f"frames/owl/part{i}/" for i in range(30)],
        "said": [f"an owl and/or {i} cats" for i in range(30)],
        "part": [f"{i}/5000" for i in range(30)],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    notes = read_manifest(tmp_path / "t.parquet").notes
    assert len(notes) == 1
    assert "column 'clip': read as text: its cells look like paths" in notes[0]
