"""Pictures of more than 8 bits, signed or float keep their contrast; what comes out flat has a note."""

import json
import runpy
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from media import picture
from notes import Notes
from PIL import Image

import altuna
from altuna.data.readers import READERS, BadCellError
from altuna.data.readers.levels import VALUES, column_levels, own_levels
from altuna.errors import UserError
from altuna.export import export as exporting
from altuna.runs.schema import check, make_reader

ImageReader = READERS["image"]
SIDE = 16
CASE = Path(__file__).parents[4] / "shared" / "cases" / "deep-pictures"


def ramp(low, high, kind):
    return np.tile(np.linspace(low, high, SIDE).astype(kind), (SIDE, 1))


def tiff(array):
    return picture(Image.fromarray(array), "TIFF")


RAMPS = {
    "12 in 16 bits": ramp(0, 4095, np.uint16),
    "16 bits": ramp(0, 65535, np.uint16),
    "signed": ramp(-2000, 2000, np.int32),
    "float to 1": ramp(0, 1, np.float32),
    "float to 65535": ramp(0, 65535, np.float32),
}


def read(reader, cell):
    notes = []
    return reader.read(cell, notes.append)[:, :, 0].astype(int), notes


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("form", [tiff, np.asarray], ids=["file", "array"])
def test_a_ramp_is_one_in_any_type(name, form):
    cell, expected = form(RAMPS[name]), np.linspace(0, 255, SIDE)
    fitted = ImageReader.fit([cell], size=SIDE)
    assert fitted.levels == (RAMPS[name].min(), RAMPS[name].max())
    for reader in (fitted, ImageReader(SIDE)):
        found, notes = read(reader, cell)
        np.testing.assert_allclose(found[3], expected, atol=1)
        assert notes == [] if reader is fitted else "scaled to 0 to 255" in notes[0]


def test_the_levels_of_a_column_are_those_of_its_training_cells():
    """A dim and a bright picture stay so; by its own range each would be the same."""
    random = np.random.default_rng(0)
    cells = [random.integers(top // 10, top, (40, 30)).astype(np.uint16) for top in (500, 1000, 3000)]
    reader = ImageReader.fit([b"broken", *map(tiff, cells), picture(Image.new("L", (9, 9)))], size=SIDE)
    expected = np.percentile(np.concatenate([c.ravel() for c in cells]), [0.1, 99.9])
    np.testing.assert_allclose(reader.levels, expected, rtol=0.05)
    means = [read(reader, cell)[0].mean() for cell in cells]
    np.testing.assert_allclose(
        means, [(c.mean() - expected[0]) / np.ptp(expected) * 255 for c in cells], atol=4
    )
    hot = cells[2].copy()
    hot[3, 4] = 65535
    assert column_levels([*cells[:2], hot]) == column_levels(cells)
    assert column_levels([np.full((9, 9), 7.0), np.full((9, 9), np.nan)]) == ()
    sparse = np.zeros((200, 200), np.uint16)
    sparse[0, 0] = 900
    assert column_levels([sparse]) == (0, 900)
    assert column_levels([np.arange(100 * VALUES)])[1] == pytest.approx(99.9 * VALUES, rel=1e-3)


def test_pictures_of_8_bits_have_the_settings_and_pixels_of_before():
    random = np.random.default_rng(0)
    cells = [picture(Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8))) for _ in range(3)]
    reader = ImageReader.fit(cells)
    assert reader.settings() == {"size": 32}
    assert reader == ImageReader(32) == make_reader({"name": "image", "size": 32})
    assert np.array_equal(reader.read(cells[0]), ImageReader(32, (5.0, 9.0)).read(cells[0]))


def test_levels_are_settings(tmp_path):
    reader = ImageReader(32, (-1000.0, 1000.0))
    assert make_reader({"name": "image", **json.loads(json.dumps(reader.settings()))}) == reader
    assert ImageReader.fit([tiff(RAMPS["16 bits"])], size=8, levels=[0, 4095]) == ImageReader(
        8, (0.0, 4095.0)
    )
    for levels in ([1, 1], [2, 1], [1], [0, float("inf")], ["a", "b"]):
        with pytest.raises(UserError, match="levels must be two increasing numbers"):
            ImageReader.fit([], levels=levels)


@pytest.mark.parametrize("levels", [[3.0, 1.0], [1.0], ["a", "b"], 3])
def test_levels_in_a_damaged_file_are_a_line(levels):
    from altuna.runs.schema import ModalityFile

    reader = {"name": "image", "size": 8, "levels": levels}
    with pytest.raises(UserError, match=r"^config.json: reader.levels.*must be") as caught:
        check(ModalityFile, {"type": "image", "reader": reader, "encoder": {}}, "config.json")
    assert "\n" not in str(caught.value)


def test_colours_of_more_than_8_bits():
    colours = np.stack([RAMPS["float to 1"], 0 * RAMPS["float to 1"], 1 - RAMPS["float to 1"]], axis=2)
    notes = []
    found = ImageReader(SIDE).read(colours, notes.append)
    np.testing.assert_allclose(found, 255 * colours, atol=1)
    np.testing.assert_allclose(ImageReader(SIDE).read((colours * 65535).astype(np.uint16)), found, atol=1)


@pytest.mark.parametrize("depth", [12, 16])
def test_colours_of_16_bits_in_a_file(depth):
    """Pillow reads their upper 8 bits."""
    rows = (np.stack([RAMPS["float to 1"]] * 3, axis=2) * (2**depth - 1)).astype(">u2")
    header = struct.pack(">2I5B", SIDE, SIDE, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    cell = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in parts
    )
    notes = read(ImageReader(SIDE), cell)[1]
    upper = "its colours of 16 bits are read by their upper 8 bits: at most 15 of 255"
    assert notes == ([upper] if depth == 12 else [])


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (np.full((9, 9), 300, np.uint16), "become one value"),
        (np.full((9, 9), -50, np.int16), "is all of one colour: 0, 0, 0"),
        (
            np.where(np.arange(81).reshape(9, 9) < 50, 5000, 200).astype(np.uint16),
            "62% of its pixels are clipped",
        ),
        (
            np.where(np.eye(9) > 0, np.nan, RAMPS["float to 1"][:9, :9] * 1000),
            "9 of its pixels are not finite",
        ),
        (np.zeros((9, 9), np.uint8), "is all of one colour: 0, 0, 0"),
        (np.full((9, 9, 3), 255, np.uint8), "is all of one colour: 255, 255, 255"),
    ],
)
def test_what_comes_out_flat_has_a_note(cell, words):
    notes = read(ImageReader(8, (0.0, 1000.0)), cell)[1]
    assert words in "; ".join(notes)


def test_a_picture_of_nan_alone_is_refused():
    with pytest.raises(BadCellError, match="no pixel with a finite value"):
        ImageReader(8).read(np.full((9, 9), np.nan))


@pytest.mark.parametrize(
    ("low", "high", "kind", "levels"),
    [
        *((0, top, np.uint16, (0, full)) for top, full in ((200, 255), (1000, 1023), (5000, 16383))),
        (-5, 9, np.int16, (-5, 9)),
        (0.2, 0.8, np.float32, (0, 1)),
        (0.5, 200.0, np.float32, (0, 255)),
        (0.5, 900.0, np.float64, (0.5, 900)),
        (-3.0, -3.0, np.float64, (-3, -2)),
    ],
)
def test_levels_of_a_picture_alone(low, high, kind, levels):
    assert own_levels(np.array([[low, high]], kind)) == levels


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("levels", [(), (100.0, 3000.0)])
def test_the_script_of_an_export_reads_them_alike(name, levels, tmp_path):
    script = runpy.run_path(str(Path(exporting.__file__).parent / "scripts" / "readers.py"))["READERS"][
        "image"
    ]
    reader = ImageReader(SIDE, levels)
    (tmp_path / "p.tif").write_bytes(tiff(RAMPS[name]))
    found = script(tmp_path / "p.tif", **reader.settings())
    assert np.abs(found.astype(int) - reader.read(tmp_path / "p.tif")).max() <= 1


def test_a_run_keeps_the_levels_of_its_training_cells(tmp_path):
    random = np.random.default_rng(0)
    lines = ["label,scan"]
    for i in range(40):
        dark = random.integers(1000, 1500, (12, 12)) + 1500 * (i % 2)
        Image.fromarray(dark.astype(np.uint16)).save(tmp_path / f"{i}.png")
        lines.append(f"{'ab'[i % 2]},{i}.png")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    options = {"encoders": {"scan": {"width": 4}}, "epochs": 1, "store": tmp_path / "s", "report": False}
    notes = Notes()
    run = altuna.fit(tmp_path / "t.csv", out=tmp_path / "run", reporter=notes, **options)
    assert any(text.startswith("scan: in pictures of more than 8 bits, 10") for text in notes.texts)
    levels = json.loads((run / "config.json").read_text())["modalities"]["scan"]["reader"]["levels"]
    np.testing.assert_allclose(levels, [1000, 3000], atol=10)
    assert (run / "problems.csv").read_text().count("\n") == 1  # the header
    array = np.asarray(Image.open(tmp_path / "3.png"))
    file, given = (altuna.load(run).predict([{"scan": cell}]) for cell in (tmp_path / "3.png", array))
    assert file["p_a"][0].as_py() == pytest.approx(given["p_a"][0].as_py(), abs=1e-6)


@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not there")
def test_the_shared_case_of_deep_pictures():
    cells = sorted(path for path in CASE.iterdir() if path.suffix in (".png", ".tif"))
    assert len(cells) == 6
    for cell in cells:
        for reader in (ImageReader(24), ImageReader.fit([cell], size=24)):
            found, notes = read(reader, cell)
            assert (found.min(), found.max(), len(np.unique(found))) == (0, 255, 24), cell.name
            assert len(notes) == (0 if reader.levels else 1)
