"""Readers: pictures, and what each reader says about what it cannot read."""

import os
import struct
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from media import OF_FILES, files, picture, readers, recording
from PIL import Image

from altuna.data.readers import BadCellError
from altuna.data.readers.image import ImageReader

# Pillow's warnings are ignored where altuna runs; here pytest sets filters of its own.
pytestmark = pytest.mark.filterwarnings(r"ignore::Warning:PIL\.")

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"


def pixel(cell, y=0.5, x=0.5, size=32):
    array = ImageReader(size).read(cell)
    assert array.shape == (size, size, 3)
    assert array.dtype == np.uint8
    return tuple(array[int(y * size), int(x * size)].tolist())


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Good files: {type of a column: {format: content}}."""
    return files(tmp_path_factory.mktemp("media"))


@pytest.fixture(params=OF_FILES)
def reader(request):
    return readers()[request.param]


def refusal(reader, cell):
    """Return why a cell is refused; the reason is plain words."""
    with pytest.raises(BadCellError) as caught:
        reader.read(cell)
    reason = str(caught.value)
    assert reason
    assert "0x" not in reason
    return reason


def cells_of(reader, path):
    """A path as a cell; as a str, too, unless a str is a text."""
    return [path] if reader.type == "text" else [path, str(path)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV"])
def test_colours_survive_every_mode(mode):
    image = Image.new("RGB", (40, 40), RED).convert(mode)
    if mode in ("CMYK", "YCbCr"):  # compressed: Pillow 12 cannot read its own plain YCbCr
        cell = picture(image, "TIFF", compression="tiff_lzw")
    else:
        cell = image if mode == "HSV" else picture(image)
    assert np.allclose(pixel(cell), RED, atol=3)


def test_transparent_pixels_become_white():
    for mode, clear in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        assert pixel(picture(Image.new(mode, (40, 40), clear))) == WHITE
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([*GREEN, *RED])
    assert pixel(picture(palette)) == RED
    assert pixel(picture(palette, transparency=1)) == WHITE
    assert pixel(picture(palette, transparency=0)) == RED
    half = np.array(pixel(picture(Image.new("RGBA", (40, 40), (255, 0, 0, 128)))))
    assert np.allclose(half, (255, 127, 127), atol=2)


@pytest.mark.parametrize("mode", ["1", "L", "I;16"])
def test_grey(mode):
    grey = Image.new("L", (40, 40), 128)
    if mode == "I;16":
        grey = Image.fromarray(np.full((40, 40), 128 * 257, np.uint16))
    elif mode == "1":
        grey = Image.fromarray(np.indices((40, 40)).sum(0) % 2 == 0).resize((320, 320))
    assert np.allclose(pixel(picture(grey), size=10), 128, atol=8)


def test_exif_orientation():
    image = Image.new("RGB", (40, 40), WHITE)
    image.paste(RED, (0, 0, 40, 20))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    cell = picture(image, exif=exif)
    assert pixel(cell, x=0.9) == RED
    assert pixel(cell, x=0.1) == WHITE


def test_centre_of_a_long_picture():
    image = Image.new("RGB", (120, 40), WHITE)
    image.paste(RED, (40, 0, 80, 40))
    assert pixel(picture(image), x=0.1) == pixel(picture(image), x=0.9) == RED


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_picture_formats(kind, tmp_path):
    data = picture(Image.new("RGB", (50, 50), GREEN), kind)
    (tmp_path / "f").write_bytes(data)
    assert np.allclose(pixel(data), GREEN, atol=3)
    assert pixel(data) == pixel(str(tmp_path / "f"))


@pytest.mark.parametrize(
    ("sides", "size"), [([16], 32), ([33, 33, 500], 48), ([64], 64), ([200], 224), ([2000], 224)]
)
def test_picture_size_follows_the_data(sides, size):
    pictures = [picture(Image.new("L", (side, 2 * side))) for side in sides]
    assert ImageReader.fit([b"broken", *pictures]).size == size
    assert ImageReader.fit(pictures, size=20).size == 20


def test_picture_arrays():
    assert pixel(np.full((9, 9, 3), RED, np.uint8)) == RED
    assert pixel(np.full((9, 9), 7, np.uint8)) == (7, 7, 7)
    for array in (np.zeros((9, 9, 2)), np.zeros(9), np.zeros((9, 9, 4)), np.zeros((9, 9), complex)):
        with pytest.raises(BadCellError, match=rf"an image array must be .* got {array.dtype} \[9"):
            ImageReader(32).read(array)


def test_a_grey_ramp_of_16_bits_keeps_its_range():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    image = picture(Image.fromarray(np.tile(ramp, (64, 1))))
    np.testing.assert_allclose(ImageReader(64).read(image)[5, :, 0], ramp / 257, atol=1)


def test_the_first_picture_of_an_animation():
    red, green = (Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN))
    for kind in ("GIF", "WEBP", "PNG"):
        cell = picture(red, kind, save_all=True, append_images=[green])
        assert np.allclose(pixel(cell), RED, atol=3), kind


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_one_pixel_wide(kind, size):
    assert np.allclose(pixel(picture(Image.new("RGB", size, GREEN), kind)), GREEN, atol=3)


@pytest.mark.parametrize("empty", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0), np.uint8)])
def test_no_pixels(empty):
    assert refusal(ImageReader(32), empty) == "has no pixels"


def png_of(width, height, *chunks):
    """A PNG by its header, with other chunks of it."""

    def chunk(name, content):
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + chunk(b"IEND", b"")


def test_a_header_of_ten_thousand_million_pixels():
    content = png_of(100_000, 100_000, (b"IDAT", zlib.compress(bytes(100_000))))
    tracemalloc.start()
    assert "refused, too large: " in refusal(ImageReader(32), content)
    assert "10000000000" in refusal(ImageReader(32), content)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_picture_whose_words_would_fill_the_memory():
    words = b"Comment\0\0" + zlib.compress(bytes(20_000_000))
    assert "broken image" in refusal(
        ImageReader(32), png_of(1, 1, (b"zTXt", words), (b"IDAT", zlib.compress(bytes(4))))
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_bomb(kind, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert pixel(picture(Image.new("RGB", (10, 10), WHITE), kind)) == WHITE
    for side in (12, 40):
        cell = picture(Image.new("L", (side, side)), kind)
        assert f"{side * side}" in (why := refusal(ImageReader(32), cell)) or f"{side} x {side}" in why
        assert "refused, too large" in why


def test_a_picture_that_is_a_program():
    """Pillow would have Ghostscript run it."""
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"
    assert refusal(ImageReader(32), content) == "refused: EPS is not a picture of pixels"


def test_hours_of_silence_in_a_small_file():
    content = recording(np.zeros(3 * 3600 * 8000, np.int16), 8000, "FLAC")
    assert len(content) < 1_000_000
    tracemalloc.start()
    assert not readers()["audio"].read(content).any()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_good_files_are_read(reader, good, tmp_path):
    """Whatever their names are."""
    for i, (kind, content) in enumerate(good[reader.type].items()):
        path = tmp_path / f"{i}.{['jpg', 'wav', 'mp4', 'npy', 'txt', ''][i % 6]}"
        path.write_bytes(content)
        for cell in (content, *cells_of(reader, path)):
            array = reader.read(cell)
            assert (array.shape, array.dtype) == (reader.shape, reader.dtype), kind
            assert array.any(), kind


def test_files_of_other_kinds(reader, good, tmp_path):
    path = tmp_path / f"x.{reader.type}"
    for other in set(good) - {reader.type}:
        for kind, content in good[other].items():
            if reader.type == "video" and kind in ("GIF", "animated", "AVIF"):
                continue  # clips, too
            if (reader.type, other) == ("audio", "video"):
                continue  # its sound
            if {reader.type, other} == {"series", "vector"}:
                continue  # both are arrays
            path.write_bytes(content)
            for cell in (content, *cells_of(reader, path)):
                assert "not a" in (why := refusal(reader, cell)) or "has no" in why, kind


def test_cut_in_the_middle(reader, good, tmp_path, capfd):
    """A file cut anywhere is refused, or read as far as it goes; nothing is printed."""
    path = tmp_path / "cut"
    for content in good[reader.type].values():
        sizes = {*range(1, 20), *(len(content) * i // 10 for i in range(1, 10))}
        for size in sizes & set(range(1, len(content))):
            path.write_bytes(content[:size])
            for cell in (content[:size], path):
                try:
                    array = reader.read(cell)
                except BadCellError:
                    continue
                assert (array.shape, array.dtype) == (reader.shape, reader.dtype)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000"])
def test_a_picture_cut_in_half_is_refused(kind, good):
    content = good["image"][kind]
    assert "broken image" in refusal(ImageReader(32), content[: len(content) // 2])


@pytest.mark.parametrize("odd", [None, object(), 1j, [object()], print, {"a": 1}, np.zeros(3, "V4")])
def test_odd_objects(reader, odd):
    assert "not a" in (why := refusal(reader, odd)) or "must be" in why


def test_a_number(reader):
    if reader.type == "text":
        assert reader.read(3.5).any()
    else:
        assert "not a" in refusal(reader, 3.5)


def test_no_bytes_at_all(reader, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    for cell in cells_of(reader, path):
        assert refusal(reader, cell) == "the file is empty (0 bytes)"
    refusal(reader, b"")


def test_files_that_cannot_be_read(reader, tmp_path):
    (tmp_path / "pointer").write_bytes(POINTER)
    (tmp_path / "link").symlink_to(tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    (tmp_path / "a\nb").mkdir()
    for name, words in {
        "pointer": "is a git-lfs pointer, not the file itself: run `git lfs pull`",
        "absent": "no such file",
        "absent/file": "no such file",
        "pointer/file": "cannot be opened: Not a directory",
        ".": "is a folder, not a file",
        "a\nb": "is a folder, not a file",
        "x" * 300: "cannot be opened: File name too long",
        "a\0b": "cannot be opened: embedded null byte",
        "link": "cannot be opened: Too many levels of symbolic links",
        "dangling": "no such file",
        "../../../../../../../../../../dev/null": "is a pipe or a device, not a file",
    }.items():
        for cell in cells_of(reader, tmp_path / name):
            assert refusal(reader, cell) == words


def test_no_permission(reader, good, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(next(iter(good[reader.type].values())))
    reader.read(path)

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    for cell in cells_of(reader, path):
        assert refusal(reader, cell) == "cannot be opened: Permission denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reasons = []

    def read():
        reasons.extend(refusal(reader, cell) for cell in cells_of(reader, tmp_path / "pipe"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert set(reasons) == {"is a pipe or a device, not a file"}


def test_settings_make_the_same_reader_even_from_nothing_readable(reader):
    options = {"tokenizer": reader.tokenizer} if reader.name == "tokens" else {}
    fitted = type(reader).fit([b"", None], **options)
    assert type(fitted)(**fitted.settings()) == fitted
    assert all(side > 0 for side in fitted.shape)
