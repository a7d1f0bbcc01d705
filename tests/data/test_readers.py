"""Readers: what a cell becomes, and what a broken one is called."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from altuna.data.readers import READERS, AudioReader, BadCellError, ImageReader, TextReader, VectorReader

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def png(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(cell, y=0.5, x=0.5, size=32):
    array = ImageReader(size).read(cell)
    assert array.shape == (3, size, size)
    assert array.dtype == np.uint8
    return tuple(array[:, int(y * size), int(x * size)].tolist())


def tone(hertz=440.0, rate=16_000, seconds=0.5, channels=1):
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return np.stack([wave] * channels, axis=1).astype(np.float32)


def sound(wave, rate, kind="WAV", subtype=None):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, subtype, format=kind)
    return buffer.getvalue()


def npy(*values, dtype=np.float64):
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype))
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV"])
def test_colours_survive_every_mode(mode):
    image = Image.new("RGB", (40, 40), RED).convert(mode)
    cell = png(image, "TIFF") if mode in ("CMYK", "YCbCr") else image if mode == "HSV" else png(image)
    assert np.allclose(pixel(cell), RED, atol=3)


def test_transparent_pixels_become_white():
    for mode, clear in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        assert pixel(png(Image.new(mode, (40, 40), clear))) == WHITE
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([*GREEN, *RED])
    assert pixel(png(palette)) == RED
    assert pixel(png(palette, transparency=1)) == WHITE
    assert pixel(png(palette, transparency=0)) == RED
    half = np.array(pixel(png(Image.new("RGBA", (40, 40), (255, 0, 0, 128)))))
    assert np.allclose(half, (255, 127, 127), atol=2)


@pytest.mark.parametrize("mode", ["1", "L", "I;16"])
def test_grey(mode):
    grey = Image.new("L", (40, 40), 128)
    if mode == "I;16":
        grey = Image.fromarray(np.full((40, 40), 128 * 257, np.uint16))
    elif mode == "1":
        grey = Image.fromarray(np.indices((40, 40)).sum(0) % 2 == 0).resize((320, 320))
    assert np.allclose(pixel(png(grey), size=10), 128, atol=8)


def test_exif_orientation():
    image = Image.new("RGB", (40, 40), WHITE)
    image.paste(RED, (0, 0, 40, 20))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    cell = png(image, exif=exif)
    assert pixel(cell, x=0.9) == RED
    assert pixel(cell, x=0.1) == WHITE


def test_centre_of_a_long_picture():
    image = Image.new("RGB", (120, 40), WHITE)
    image.paste(RED, (40, 0, 80, 40))
    assert pixel(png(image), x=0.1) == pixel(png(image), x=0.9) == RED


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_picture_formats(kind, tmp_path):
    data = png(Image.new("RGB", (50, 50), GREEN), kind)
    (tmp_path / "f").write_bytes(data)
    assert np.allclose(pixel(data), GREEN, atol=3)
    assert pixel(data) == pixel(str(tmp_path / "f"))


@pytest.mark.parametrize(
    ("sides", "size"), [([16], 32), ([33, 33, 500], 48), ([64], 64), ([200], 224), ([2000], 224)]
)
def test_picture_size_follows_the_data(sides, size):
    pictures = [png(Image.new("L", (side, 2 * side))) for side in sides]
    assert ImageReader.fit([b"broken", *pictures]).size == size
    assert ImageReader.fit(pictures, size=20).size == 20


def test_picture_arrays():
    assert pixel(np.full((9, 9, 3), RED, np.uint8)) == RED
    assert pixel(np.full((9, 9), 7, np.uint8)) == (7, 7, 7)
    with pytest.raises(BadCellError, match=r"must be uint8 .* got float64 \[9, 9, 3\]"):
        ImageReader(32).read(np.zeros((9, 9, 3)))


def test_a_picture_bomb(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for side in (12, 40):
        with pytest.raises(BadCellError, match="refused, too large"):
            ImageReader(32).read(png(Image.new("L", (side, side))))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16_000, 2), (44_100, 1), (48_000, 2)])
def test_a_tone_keeps_its_frequency(kind, rate, channels):
    wave = AudioReader(16_000, 0.5).read(sound(tone(1000, rate, 0.5, channels), rate, kind))
    assert wave.shape == (8000,)
    assert wave.dtype == np.int16
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(8000)))
    assert abs(spectrum.argmax() * 2 - 1000) <= 4
    assert np.isclose(np.abs(wave[1000:7000]).max() / 32768, 0.5, atol=0.05)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_sample_formats(subtype):
    wave = AudioReader(16_000, 0.5).read(sound(tone(), 16_000, "WAV", subtype))
    assert np.allclose(wave / 32768, tone()[:, 0], atol=0.01)


def test_short_sounds_are_padded_and_long_ones_cut():
    reader = AudioReader(8000, 1.0)
    short = reader.read(sound(tone(rate=8000, seconds=0.25), 8000))
    assert short[:2000].any()
    assert not short[2000:].any()
    assert len(reader.read(sound(tone(rate=8000, seconds=3), 8000))) == 8000


def test_channels_are_averaged():
    stereo = np.concatenate([tone(), 0 * tone()], axis=1)
    assert np.abs(AudioReader(16_000, 0.5).read(sound(stereo, 16_000))).max() == pytest.approx(8192, abs=50)


def test_sound_settings_follow_the_data():
    cells = [sound(tone(rate=44_100, seconds=s), 44_100) for s in (0.3, 0.3)]
    assert AudioReader.fit([b"broken", *cells]) == AudioReader(16_000, 0.3)
    assert AudioReader.fit([sound(tone(rate=8000, seconds=12), 8000)]) == AudioReader(8000, 10.0)
    assert AudioReader.fit(cells, rate=4000, seconds=2.0) == AudioReader(4000, 2.0)


def test_a_waveform_with_its_rate():
    reader = AudioReader(16_000, 0.5)
    assert np.array_equal(reader.read((tone(), 16_000)), reader.read(sound(tone(), 16_000, "WAV", "FLOAT")))


def test_a_streamed_wav_is_whole():
    data = bytearray(sound(tone(), 16_000))
    for place in (4, data.index(b"data") + 4):  # sizes unknown when the header was written
        data[place : place + 4] = b"\xff\xff\xff\xff"
    assert AudioReader(16_000, 0.5).read(bytes(data)).any()


def test_text_becomes_words_and_ngrams():
    reader = TextReader.fit(["the red cat", "the red hat", "a red bat"], min_count=2)
    assert {"<red>", "at>"} <= set(reader.vocabulary)
    assert "<cat>" not in reader.vocabulary  # stands in one text only
    numbers = reader.read("red")
    assert numbers.dtype == np.int32
    assert numbers.shape == reader.shape
    assert {reader.vocabulary[n - 2] for n in numbers if n > 1} >= {"<red>", "re", "ed>"}


def test_text_case_width_and_punctuation():
    reader = TextReader.fit(["Café!", "café !"])
    assert np.array_equal(reader.read("CAFÉ!"), reader.read("ｃａｆｅ\u0301!"))


def test_unknown_text_is_not_empty():
    reader = TextReader.fit(["aaa bbb", "aaa bbb"])
    assert reader.read("日本語").tolist() == [1] + [0] * (reader.length - 1)


def test_text_vocabulary_does_not_depend_on_order():
    texts = ["red cat", "blue cat", "blue dog", "red dog"]
    assert TextReader.fit(texts) == TextReader.fit(texts[::-1])


def test_text_is_cut_at_the_length():
    reader = TextReader.fit(["abc def"] * 2, length=3)
    assert (reader.read("abc def abc def") > 1).all()


def test_latin1_bytes_and_numbers_are_text():
    reader = TextReader.fit(["café 5"] * 2)
    assert np.array_equal(reader.read("café".encode("latin-1")), reader.read("café"))
    assert np.array_equal(reader.read("café".encode()), reader.read("café"))
    assert (reader.read(5) > 1).any()


def test_vectors(tmp_path):
    reader = VectorReader.fit([[1.0], [1, 2, 3], [4, 5, 6]])
    assert reader.size == 3  # the most frequent
    (tmp_path / "v.npy").write_bytes(npy(1, 2, 3))
    for cell in (str(tmp_path / "v.npy"), npy(1, 2, 3), npy([1], [2], [3], dtype=np.int8), (1, 2, 3)):
        vector = reader.read(cell)
        assert vector.dtype == np.float32
        assert vector.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("reader", "cell", "words"),
    [
        (ImageReader(32), b"hello", "not an image that Pillow can read"),
        (ImageReader(32), png(Image.effect_noise((64, 64), 9))[:900], "broken image: .*truncated"),
        (ImageReader(32), png(Image.effect_noise((64, 64), 9), "JPEG")[:500], "broken image: .*truncated"),
        (ImageReader(32), 5, "broken image"),
        (AudioReader(16_000, 1.0), b"hello", "not a sound that soundfile can read: [^<]*$"),
        (AudioReader(16_000, 1.0), sound(tone(), 16_000)[:4000], "truncated, 3956 of 16000 bytes"),
        (AudioReader(16_000, 1.0), sound(tone(), 16_000, "FLAC")[:1000], "broken sound"),
        (AudioReader(16_000, 1.0), sound(tone(), 16_000, "OGG")[:500], "not a sound|broken sound"),
        (AudioReader(16_000, 1.0), sound(tone()[:0], 16_000), "0 samples"),
        (AudioReader(16_000, 1.0), sound(tone() * np.nan, 16_000, "WAV", "FLOAT"), "NaN or infinite"),
        (AudioReader(16_000, 1.0), 5, "not a sound"),
        (TextReader(("a",), 8), "  \n", "empty text"),
        (TextReader(("a",), 8), [1], "not a text but list"),
        (VectorReader(3), npy(1, 2), "a vector of 2 numbers, the others have 3"),
        (VectorReader(3), npy(1, np.nan, np.nan), "2 NaN"),
        (VectorReader(3), [1, None, 2], "1 NaN numbers"),
        (VectorReader(3), npy(1, -np.inf, 2), "infinite"),
        (VectorReader(3), npy(1, 1e300, 2), "infinite"),
        (VectorReader(3), npy(1, 2, 3)[:140], "not a vector"),
        (VectorReader(3), b"hello", "not a .npy file"),
        (VectorReader(3), b"PK\x03\x04hello", "not a .npy file"),
        (VectorReader(3), npy({}, dtype=object), "allow_pickle=False"),
        (VectorReader(3), ["a", "b", "c"], "not a vector"),
    ],
)
def test_broken_cells(reader, cell, words):
    with pytest.raises(BadCellError, match=words):
        reader.read(cell)


@pytest.mark.parametrize("reader", [ImageReader(32), AudioReader(16_000, 1.0), VectorReader(3)])
def test_broken_files(reader, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    for name, content in (("empty", b""), ("pointer", pointer), ("text", b"some words")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for name, words in (
        ("empty", r"the file is empty \(0 bytes\)"),
        ("pointer", "git-lfs pointer.*git lfs pull"),
        ("text", "not a"),
        ("absent", "no such file"),
        (".", "is a folder, not a file"),
        ("x" * 300, "cannot be opened: File name too long"),
        ("a\0b", "null"),
        ("link", "cannot be opened|no such file"),
    ):
        with pytest.raises(BadCellError, match=words):
            reader.read(f"{tmp_path}/{name}")


@pytest.mark.parametrize("kind", READERS.values())
def test_settings_make_the_same_reader_even_from_nothing_readable(kind):
    reader = kind.fit([b""])
    assert kind(**reader.settings()) == reader
    assert all(side > 0 for side in reader.shape)
