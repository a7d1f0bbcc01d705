"""Training on a table in memory."""

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import altuna
from altuna.data.readers.image import ImageReader
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError
from altuna.training.frame import path_of

OPTIONS = {"epochs": 1, "report": False, "quiet": True}


class Frame:
    """What pandas has: columns of several types, and records."""

    def __init__(self, rows):
        self.rows = rows

    def __dataframe__(self):
        raise NotImplementedError

    def to_dict(self, orient):
        assert orient == "records"
        return self.rows


def rows(n=40):
    return [{"label": "ab"[i % 2], "x": float(i % 2), "y": i * 7 % 5, "title": f"owl {i}"} for i in range(n)]


@pytest.mark.parametrize("make", [pa.Table.from_pylist, lambda rows: rows, Frame])
def test_a_table_in_memory_is_trained_on(make, tmp_path):
    run = altuna.fit(make(rows()), out=tmp_path / "run", **OPTIONS)
    assert {*altuna.load(run).modalities} == {"title", "tabular"}


def test_the_same_table_has_the_same_copy():
    assert path_of(rows()) == path_of(pa.Table.from_pylist(rows())) != path_of(rows(30))
    assert path_of("owls.csv") == "owls.csv"


def test_cells_of_several_types_are_texts():
    mixed = [*rows(), {"label": "a", "x": "high", "y": 1, "title": 1776}]
    table = pa.parquet.read_table(path_of(Frame(mixed)))
    assert table["title"].to_pylist()[-1] == "1776"
    assert table["x"].to_pylist()[-1] == "high"


def test_paths_are_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("owl.png")
    table = pa.parquet.read_table(path_of([{"label": "a", "photo": "owl.png"}] * 3))
    assert table["photo"].to_pylist() == [str(Path("owl.png").absolute())] * 3


def test_other_data_are_refused():
    with pytest.raises(UserError, match="data must be a path, a frame or a list of dicts, not int"):
        altuna.fit(7)


def test_arrays_are_lists_and_other_objects_are_refused():
    table = pa.parquet.read_table(path_of([{"label": "a", "x": np.ones((3, 2))}, {"label": "b", "x": None}]))
    assert table["x"].to_pylist() == [[[1, 1]] * 3, None]
    with pytest.raises(UserError, match="data, row 2, column 'x': object cannot be kept in a table"):
        path_of([{"label": "a", "x": "text"}, {"label": "b", "x": object()}])


def pictures(n=12):
    """Dark ones for one label, bright ones for the other."""
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 40, (16, 12, 3)) + 180 * (i % 2)).astype(np.uint8) for i in range(n)]


PICTURES = {
    "Pillow": Image.fromarray,
    "uint8 [H, W, 3]": lambda array: array,
    "uint8 [H, W]": lambda array: array[:, :, 0],
    "deep": lambda array: Image.fromarray(array[:, :, 0].astype(np.int32) * 100),
    "CMYK": lambda array: Image.fromarray(array).convert("CMYK"),
    "HSV": lambda array: Image.fromarray(array).convert("HSV"),
    "palette": lambda array: Image.fromarray(array).convert("P"),
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("make", [lambda rows: rows, Frame])
def test_pictures_in_memory_are_files(make, kind):
    given = [PICTURES[kind](array) for array in pictures()]
    given[3] = None
    rows = [{"label": "ab"[i % 2], "x": i % 5, "photo": picture} for i, picture in enumerate(given)]
    manifest = read_manifest(path_of(make(rows)))
    assert manifest.modalities["photo"].type == "image"
    assert manifest.filled("photo").tolist() == [i != 3 for i in range(12)]
    reader = ImageReader(16, (0.0, 22_000.0) if kind == "deep" else ())
    for cell, picture in zip(Cells(manifest, "photo"), given, strict=True):
        assert cell is None or np.array_equal(reader.read(cell), reader.read(picture))


def test_a_picture_is_turned_as_its_exif_data_say():
    image = Image.fromarray(pictures()[0])
    image.getexif()[0x0112] = 6
    (cell, *_) = Cells(read_manifest(path_of([{"label": "a", "photo": image}] * 3)), "photo")
    assert np.array_equal(ImageReader(16).read(cell), ImageReader(16).read(image))


def test_lists_of_pictures_and_paths_beside_pictures(tmp_path):
    images = [*map(Image.fromarray, pictures(4))]
    path = path_of([{"label": "a", "photos": images[: 1 + i % 3]} for i in range(6)])
    manifest = read_manifest(path)
    assert manifest.modalities["photos"].type == "image_list"
    assert [len(cell) for cell in Cells(manifest, "photos")] == [1, 2, 3, 1, 2, 3]
    images[0].save(tmp_path / "owl.png")
    mixed = [tmp_path / "owl.png", images[1], str(tmp_path / "owl.png"), None]
    manifest = read_manifest(path_of([{"label": "a", "photo": photo, "x": 1} for photo in mixed]))
    assert manifest.modalities["photo"].type == "image"
    read = [None if cell is None else ImageReader(16).read(cell) for cell in Cells(manifest, "photo")]
    assert np.array_equal(read[0], read[2])
    assert not np.array_equal(read[0], read[1])
    assert read[3] is None


def test_a_broken_picture_is_named(tmp_path):
    Image.fromarray(pictures()[0]).save(tmp_path / "owl.png")
    content = (tmp_path / "owl.png").read_bytes()
    (tmp_path / "owl.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="data, row 2, column 'photo': broken image"):
        path_of([{"label": "a", "photo": None}, {"label": "b", "photo": Image.open(tmp_path / "owl.png")}])


def test_a_model_of_pictures_in_memory_predicts_them(tmp_path):
    rows = [{"label": "ab"[i % 2], "photo": Image.fromarray(p)} for i, p in enumerate(pictures(40))]
    model = altuna.load(altuna.fit(Frame(rows), out=tmp_path / "run", **OPTIONS))
    found = model.predict(rows[:4])["p_a"].to_pylist()
    arrays = [{"photo": np.asarray(row["photo"])} for row in rows[:4]]
    assert model.predict(Frame(arrays))["p_a"].to_pylist() == pytest.approx(found, abs=1e-6)
    assert np.ptp(found) > 0


@pytest.mark.parametrize(
    "value",
    [uuid.UUID(int=7), Path("owl"), type("Period", (), {"__str__": lambda self: "2024-01"})()],
    ids=str,
)
def test_paths_and_the_like_are_texts(value):
    table = pa.parquet.read_table(path_of([{"label": "a", 0: value, "x": np.float32(1)}]))
    assert table["0"].to_pylist() == [str(value)]


class Named(Frame):
    """What pandas has of the names of columns."""

    columns = ("label", "x", "x")


@pytest.mark.parametrize(
    "data", [Named(rows()), pa.table([["a"], [1], [2]], ["label", "x", "x"]), [{"label": "a", "1": 2, 1: 3}]]
)
def test_two_columns_of_one_name(data, tmp_path):
    with pytest.raises(UserError, match=r"column '[x1]' occurs twice"):
        path_of(data)


def test_uuids_of_arrow_are_texts():
    values = [uuid.UUID(int=i % 2) for i in range(40)]
    table = pa.table({"label": [*"ab"] * 20, "x": [*range(20)] * 2, "owner": pa.array(values, pa.uuid())})
    manifest = read_manifest(path_of(table))
    assert manifest.modalities["tabular"].kinds == ("number", "category")
    assert manifest.table["owner"].to_pylist() == [*map(str, values)]
