"""A run of lists of pictures, from the table to report, demo, export and predictions: all read them alike."""

import json
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from media import picture
from PIL import Image
from torch import nn

import altuna
from altuna.data.readers import READERS, BadCellError, InconsistentError
from altuna.data.readers.image_list import ImageListReader
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.demo.answer import answer
from altuna.demo.samples import sampler
from altuna.encoders.base import OverTime
from altuna.errors import UserError
from altuna.export import export as exporting

READ = runpy.run_path(str(Path(exporting.__file__).parent / "scripts" / "readers.py"))["READERS"]


def flat(level, size=16):
    """A grey picture with one black pixel, so that it is no mistake."""
    pixels = np.full((size, size, 3), level, np.uint8)
    pixels[0, 0] = 0
    return pixels


def grey(folder, name, level):
    """Write a grey picture; return its name."""
    Image.fromarray(flat(level)).save(folder / name)
    return name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose class is in the second picture alone; the first is noise. Rows have 2 to 4 pictures."""
    folder, rng = tmp_path_factory.mktemp("lists"), np.random.default_rng(0)
    rows = []
    for i in range(96):
        c, split = i % 2, ("train", "train", "val", "test")[i // 2 % 4]
        levels = [int(rng.integers(1, 256)), 60 + 130 * c, *[125] * (i % 3)]
        names = [grey(folder, f"{i}-{j}.png", level) for j, level in enumerate(levels)]
        rows.append({"id": str(i), "split": split, "label": "ab"[c], "photos": names})
    rows[0]["photos"].insert(1, "gone.png")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"encoders": {"photos": {"width": 4}}, "epochs": 12, "batch_size": 8, "quiet": True}
    return altuna.fit(folder / "data.jsonl", out=folder / "run", **options)


def rows_of(run):
    return [json.loads(line) for line in (run.parent / "data.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_it_learns_what_only_the_second_picture_tells(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["n"] == 24
    assert metrics["fused"]["accuracy"] > 0.9
    reader = json.loads((run / "config.json").read_text())["modalities"]["photos"]["reader"]
    assert (reader["name"], reader["pictures"], reader["size"]) == ("image_list", 4, 32)
    problems = (run / "problems.csv").read_text()
    assert "picture 2 of 3 (gone.png): left out: no such file" in problems
    assert "photos (image_list)" in (run / "columns.csv").read_text()


def test_the_report_shows_pictures_side_by_side(run):
    report = (run / "report.html").read_text()
    assert "3 of 4 pictures" in report
    assert "cannot be shown" not in report


def test_samples_in_every_form_are_predicted_alike(run):
    model, folder = altuna.load(run, device="cpu"), run.parent
    row = rows_of(run)[7]
    paths = [folder / name for name in row["photos"]]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    forms = [
        *(paths, [*map(str, paths)], tuple(paths), ";".join(map(str, paths)), json.dumps([*map(str, paths)])),
        *(arrays, np.stack(arrays), [torch.from_numpy(a.copy()) for a in arrays]),
        [path.read_bytes() for path in paths],
        [{"bytes": path.read_bytes(), "path": None} for path in paths],
    ]
    found = model.predict([{"photos": form} for form in forms])["p_a"].to_pylist()
    whole = model.predict(folder / "data.jsonl")["p_a"].to_pylist()
    assert found == pytest.approx([whole[7]] * len(forms), abs=1e-6)
    assert np.std(whole) > 0.1
    table = pa.table({"photos": [[*map(str, paths)], None, [str(paths[1])]]})
    framed = model.predict(table)["p_a"].to_pylist()
    assert framed[0] == pytest.approx(whole[7], abs=1e-6)
    assert framed[1] is None
    single = model.predict([{"photos": paths[1]}])["p_a"][0].as_py()
    assert framed[2] == pytest.approx(single, abs=1e-6)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([], "has no picture: the list is empty"),
        (["gone.png", "lost.png"], "none of its 2 pictures can be read: no such file"),
        ([flat(9), 3], "part 2 of its list is no picture but int: 3"),
    ],
)
def test_a_mistake_in_a_sample_is_named(run, cell, reason):
    with pytest.raises(UserError, match=f"^sample 0, 'photos': {reason}$"):
        altuna.load(run, device="cpu").predict([{"photos": cell}])


def test_the_demo_takes_several_files(run, tmp_path):
    gr = pytest.importorskip("gradio")
    from altuna.demo.page import _checked, page

    model = altuna.load(run, device="cpu")
    _, given, unread = sampler(model, str(run), str(tmp_path))()
    assert not unread
    assert len(given["photos"]) >= 2
    assert answer(model, given).probabilities is not None
    assert "Give at least one of: photos" in answer(model, {"photos": []}).message
    blocks = page(model, str(run), None)
    (place,) = (block for block in blocks.blocks.values() if isinstance(block, gr.File))
    assert place.file_count == "multiple"
    uploaded = Path(place.GRADIO_CACHE) / "altuna-test.png"
    uploaded.parent.mkdir(parents=True, exist_ok=True)
    uploaded.write_bytes(picture(Image.fromarray(flat(9))))
    try:
        (files,) = _checked([place], [[{"path": str(uploaded)}] * 2])
        assert [file["path"] for file in files] == [str(uploaded)] * 2
        for wrong in ([{"path": "/etc/hostname"}], {"path": str(uploaded) + "x"}, ["a"], "a"):
            with pytest.raises(gr.Error, match="uploaded within the last hour"):
                _checked([place], [wrong])
    finally:
        uploaded.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_the_export_predicts_as_the_model_does(run, tmp_path, format):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    _, checked = altuna.export.export.export(run, format, out=tmp_path / format)
    assert checked["largest_difference"] < 1e-4


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_the_script_of_an_export_reads_as_the_reader_does(tmp_path, number):
    names = [str(tmp_path / grey(tmp_path, f"{i}.png", 20 + 30 * i)) for i in range(number)]
    reader = ImageListReader(pictures=3, size=8)
    found = READ["image_list"](";".join(names), **reader.settings())
    assert np.array_equal(found, reader.read(names))


def test_repeated_pictures_count_once():
    """The mean over pictures, by a plain loop; it is another one if repeats count."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(5)]
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 6))
    network.out_features = 6
    for number in range(1, 6):
        cell = torch.from_numpy(ImageListReader(pictures=5, size=8).read(pictures[:number])) / 50.0
        alone = [network(torch.from_numpy(one)[None] / 50.0) for one in pictures[:number]]
        wanted = torch.stack(alone).mean(0)
        assert torch.allclose(OverTime(network, distinct=True)(cell[None]), wanted, atol=1e-5)
        assert torch.allclose(OverTime(network)(cell[None]), wanted, atol=1e-5) == (5 % number == 0)


def test_a_row_of_one_picture_is_encoded_as_the_picture():
    torch.manual_seed(0)
    one = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    several = altuna.encoders.build("photos", ImageListReader(3, 32), "resnet18", width=4).eval()
    single = altuna.encoders.build("photo", READERS["image"](32), "resnet18", width=4).eval()
    single.network.load_state_dict(several.network.network.state_dict())
    repeated = one[:, None].expand(-1, 3, -1, -1, -1)
    assert torch.allclose(several(repeated), single(one), atol=1e-5)
    mixed = torch.stack([one, one[[1, 0, 3, 2]], one[[1, 0, 3, 2]]], 1)
    assert torch.allclose(several(mixed), several(mixed[:, [1, 2, 0]]), atol=1e-5)  # in any order
    assert several.train()(mixed).shape == (4, several.out_features)


def test_of_many_pictures_evenly_spaced_ones_are_read_with_a_note():
    notes = []
    read = ImageListReader(pictures=3, size=4).read(
        [flat(level) for level in range(10, 100, 10)], notes.append
    )
    assert read[:, -1, -1, 0].tolist() == [20, 50, 80]
    assert notes == ["3 of its 9 pictures are read, evenly spaced"]


def test_another_picture_replaces_one_that_cannot_be_read(tmp_path):
    levels = [flat(10), str(tmp_path / "gone.png"), flat(50), b"no picture", flat(90)]
    notes = []
    read = ImageListReader(pictures=5, size=4).read(levels, notes.append)
    assert [*dict.fromkeys(read[:, -1, -1, 0].tolist())] == [10, 50, 90]
    reasons = [
        "picture 2 of 5 (gone.png): left out: no such file",
        "picture 4 of 5: left out: not an image that Pillow",
    ]
    notes = [note for note in notes if "left out" in note]  # not those on pictures of one colour
    assert all(note.startswith(reason) for note, reason in zip(notes, reasons, strict=True))
    assert ImageListReader(pictures=3, size=4).read(levels)[:, -1, -1, 0].tolist() == [10, 50, 90]
    with pytest.raises(BadCellError, match=r"^none of its 2 pictures can be read: not an image"):
        ImageListReader(3, 4).read([b"no picture", b"none"])


def test_what_fit_chooses():
    cells = [[flat(9, 40)] * n for n in [1] * 50 + [2] * 45 + [30] * 5]
    assert ImageListReader.fit(cells) == ImageListReader(pictures=2, size=48)
    assert ImageListReader.fit([[flat(9)] * 30] * 4).pictures == 8
    assert ImageListReader.fit([[flat(9)] * 30], pictures=12, size=20) == ImageListReader(12, 20)
    assert ImageListReader.fit([[]]).pictures == 1
    deep = [[np.full((8, 8), 1000 * i, np.uint16)] * 2 for i in range(5)]
    reader = ImageListReader.fit(deep)
    assert reader.levels
    assert ImageListReader(**reader.settings()).settings() == reader.settings()
    with pytest.raises(UserError, match="pictures must be more than 0"):
        ImageListReader.fit(cells, pictures=0)


FORMS = [
    ["a.png;b.png", "c.png"],
    ["a.png|b.png", "c.png"],
    ["a.png, b.png", "c.png"],
    ['["a.png", "b.png"]', '["c.png"]'],
    ["['a.png' 'b.png']", "['c.png']"],
    [["a.png", "b.png"], ["c.png", None]],
]


@pytest.mark.parametrize(
    ("suffix", "cells"),
    [
        (suffix, cells)
        for suffix in (".csv", ".parquet", ".jsonl")
        for cells in FORMS[: -1 if suffix == ".csv" else None]
    ],
)
def test_lists_of_pictures_are_found(tmp_path, suffix, cells):
    path = tmp_path / f"table{suffix}"
    table = pa.table({"label": ["x", "y"], "photos": cells})
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, table.to_pylist())))
    else:
        write = pa.csv.write_csv if suffix == ".csv" else pa.parquet.write_table
        write(table, path)
    manifest = read_manifest(path)
    assert manifest.modalities["photos"].type == "image_list"
    names = [tuple(part.name for part in cell) for cell in Cells(manifest, "photos")]
    assert names == [("a.png", "b.png"), ("c.png",)]
    stated = read_manifest(path, types={"photos": "image_list"})
    assert [*Cells(stated, "photos")] == [*Cells(manifest, "photos")]


def test_a_row_far_below_that_has_several_pictures_tells_the_type(tmp_path):
    rows = "".join(f"{'ab'[i % 2]},{i}.png\n" for i in range(150))
    (tmp_path / "one.csv").write_text("label,photo\n" + rows)
    (tmp_path / "two.csv").write_text("label,photo\n" + rows + "a,1.png;2.png\n")
    types = [read_manifest(tmp_path / f"{name}.csv").modalities["photo"].type for name in ("one", "two")]
    assert types == ["image", "image_list"]


def test_bytes_are_pictures_by_their_content_and_other_lists_are_left_out():
    content = picture(Image.fromarray(flat(9)))
    columns = {
        "photos": [[content, content], [content]],
        "parts": [[{"bytes": content, "path": "a.png"}], [{"bytes": None, "path": "b.png"}]],
        "sounds": [[b"fLaC...."], [b"fLaC....", b"fLaC"]],
        "tags": [["fun", "red"], ["blue"]],
        "clips": [["a.mp4"], ["b.mp4", "c.mp4"]],
    }
    table = pa.table({"label": ["x", "y"], **columns})
    manifest = read_manifest("table", table=table)
    assert {name: m.type for name, m in manifest.modalities.items()} == dict.fromkeys(
        ("photos", "parts"), "image_list"
    )
    left = {column.column: column.reason for column in manifest.account if not column.used_as}
    assert [*left] == ["sounds", "tags", "clips"]
    assert all(reason.startswith("has cells of the type list<") for reason in left.values())
    assert Cells(manifest, "parts")[0] == (content,)
    assert Cells(manifest, "parts")[1][0].name == "b.png"


def test_stated_types(tmp_path):
    table = pa.table({"label": ["x", "y"], "files": [["a", "b"], ["c"]], "tags": [["p"], ["q"]]})
    path = tmp_path / "table.parquet"
    pa.parquet.write_table(table, path)
    for options in ({"types": {"files": "image_list"}}, {"modalities": {"files": {"type": "image_list"}}}):
        manifest = read_manifest(path, **options)
        assert manifest.modalities["files"].type == "image_list"
        assert [part.name for part in Cells(manifest, "files")[0]] == ["a", "b"]
    for spec in ({}, {"type": "text"}):
        with pytest.raises(UserError, match=r"row 1, column 'tags': \['p'\]: the cells are lists of texts"):
            read_manifest(path, {"tags": spec})
    with pytest.raises(UserError, match="did you mean 'image_list'"):
        read_manifest(path, types={"files": "imagelist"})


def test_lists_that_differ_in_a_file_have_keys_of_their_own(tmp_path):
    for name in "abc":
        grey(tmp_path, f"{name}.png", ord(name))
    (tmp_path / "t.csv").write_text(
        "label,p\nx,a.png;b.png\ny,b.png;a.png\nx,a.png\ny,a.png|b.png\nx,b.png;c.png\n"
    )

    def keys():
        return [key.tobytes() for key in Cells(read_manifest(tmp_path / "t.csv"), "p").keys(np.arange(5))]

    before = keys()
    assert before[0] == before[3]
    assert len({*before}) == 4
    grey(tmp_path, "c.png", 7)
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes() + b"\0")
    assert [old == new for old, new in zip(before, keys(), strict=True)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ('["0.png", 3]', "part 2 of its list is no picture but int: 3"),
        ("[]", "has no picture: the list is empty"),
        ("gone.png;lost.png", "none of its 2 pictures can be read: no such file"),
    ],
)
def test_bad_cells_of_a_table_are_named_by_row_and_column(tmp_path, cell, reason):
    for i in range(8):
        grey(tmp_path, f"{i}.png", 30 * i + 9)
    table = pa.table(
        {
            "label": [*"abababab"],
            "photos": [f"{i}.png;{(i + 2) % 8}.png" if i != 4 else cell for i in range(8)],
            "size": [0.5, 1.5] * 4,
        }
    )
    pa.csv.write_csv(table, tmp_path / "table.csv")
    options = {"strict": True, "epochs": 1, "quiet": True, "out": tmp_path / "run"}
    with pytest.raises(UserError, match=reason) as caught:
        altuna.fit(tmp_path / "table.csv", **options)
    assert "row 5" in str(caught.value)
    assert "'photos'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_in_a_list_is_an_error_without_strict_too():
    with pytest.raises(InconsistentError, match=r"part 1 of its list is no picture but float: 0\.5"):
        ImageListReader(2, 8).read([0.5, flat(9)])
