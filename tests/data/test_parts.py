"""Parts of files: W3C media fragments, and what is seen of a cell without decoding it."""

import av
import numpy as np
import pytest
from media import picture, recording, tone, write_clip
from PIL import Image

from altuna.data.readers import READERS, BadCellError
from altuna.data.readers.base import WHOLE, Part, split_fragment
from altuna.data.readers.video import _picture
from altuna.data.table.manifest import read_manifest

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("fragment", "part"),
    [
        ("", (0, None, WHOLE)),
        ("#t=1.5,3", (1.5, 3, WHOLE)),
        ("#t=,3", (0, 3, WHOLE)),
        ("#xywh=percent:0,0,50,100", (0, None, LEFT)),
        ("#t=6.2901,8.2357&xywh=percent:50,0,50,100", (6.2901, 8.2357, RIGHT)),
    ],
)
def test_a_fragment_is_split_off(fragment, part):
    path = "a folder/--x#y.avi"
    found = split_fragment(path + fragment)
    assert (str(found.path), *found[1:]) == (path, *part)


@pytest.mark.parametrize("name", ["a#t=b.mp4", "a#", "a#xywh=1,2,3,4", "a#t=1xywh=percent:0,0,1,1"])
def test_other_names_with_a_hash_are_names(name):
    assert split_fragment(name) == Part(split_fragment(name).path)
    assert str(split_fragment(name).path) == name


@pytest.mark.parametrize("box", ["1,2", "1,2,3,4,5", "60,0,50,100", "0,0,0,100", "0,0,50,.", "0,1,50,100"])
def test_a_box_that_is_none(box):
    with pytest.raises(BadCellError, match=r"the box #xywh=percent.*is (not valid|empty)"):
        split_fragment(f"a.avi#xywh=percent:{box}")


@pytest.fixture(scope="module", params=["mp4", "avi", "flv"])
def halves(request, tmp_path_factory):
    """A clip of 2 s, dark on the left and bright on the right, that grows a little brighter."""
    path = tmp_path_factory.mktemp("halves") / f"a.{request.param}"
    codec = "flv1" if request.param == "flv" else "mpeg4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        for i in range(20):
            image = np.full((64, 96, 3), 20 + i, np.uint8)
            image[:, 48:] += 180
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("x", "level"), [(0, 20), (50, 200)])
def test_half_of_the_picture(halves, x, level):
    reader = READERS["video"](frames=2, size=32)
    clip = reader.read(f"{halves}#xywh=percent:{x},0,50,100").astype(float)
    np.testing.assert_allclose(clip[:, :, 3:-3], level + 10, atol=12)
    part = reader.read(f"{halves}#t=1,2&xywh=percent:{x},0,50,100").astype(float)
    assert part.mean() > clip.mean() + 2
    assert abs(clip.mean() - reader.read(halves).mean()) > 50


def test_the_size_is_chosen_for_the_part(halves):
    assert READERS["video"].fit([str(halves)]).size == 64
    assert READERS["video"].fit([f"{halves}#xywh=percent:0,0,50,50"]).size == 32


def test_a_turned_clip_is_cropped_as_it_is_shown():
    """The picture is turned by a quarter, so its upper part is the right half of the pixels."""

    class Frame:
        width, height = 96, 64

        def __init__(self, rotation):
            self.rotation = rotation

        def to_image(self):
            image = np.zeros((64, 96, 3), np.uint8)
            image[:, 48:] = 200
            return Image.fromarray(image)

    assert _picture(Frame(90), (0.0, 0.0, 1.0, 0.5), 16).mean() == 200
    assert _picture(Frame(90), (0.0, 0.5, 1.0, 0.5), 16).mean() == 0
    assert np.array_equal(_picture(Frame(90), WHOLE, 16), np.rot90(_picture(Frame(0), WHOLE, 16)))


def test_columns_of_parts_are_video_and_a_column_called_audio_is_the_sound(tmp_path):
    (tmp_path / "m.csv").write_text(
        "id,label,clip,audio\n"
        'a,x,"c.avi#t=1,2&xywh=percent:0,0,50,100",c.mp4\n'
        'b,y,"c.avi#xywh=percent:0,0,50,100",c.mp4\n'
    )
    types = {name: m.type for name, m in read_manifest(tmp_path / "m.csv").modalities.items()}
    assert types == {"clip": "video", "audio": "audio"}


def look(kind, cell):
    notes = []
    READERS[kind].look(cell, notes.append)
    return notes


@pytest.mark.parametrize("kind", ["mp4", "avi", "flv"])
def test_a_clip_cut_short_is_seen_without_decoding(kind, tmp_path):
    clip = write_clip(tmp_path / f"a.{kind}", frames=30)
    assert look("video", clip) == []
    assert look("audio", clip) == []
    content = clip.read_bytes()
    for share in (0.3, 0.6, *([0.99] if kind == "flv" else [])):
        clip.write_bytes(content[: int(share * len(content))])
        with pytest.raises(BadCellError):
            look("video", clip)


def test_what_is_seen_of_a_range(tmp_path):
    clip = write_clip(tmp_path / "a.avi", frames=20, fps=10)
    assert look("video", f"{clip}#t=0.5,1&xywh=percent:0,0,50,100") == []
    with pytest.raises(BadCellError, match="has no frame from 5 s on"):
        look("video", f"{clip}#t=5,6")
    with pytest.raises(BadCellError, match="no such file"):
        look("video", f"{tmp_path}/b.avi#t=0,1")


def test_pictures(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    for mode in ("RGB", "L", "CMYK"):
        (tmp_path / "a.jpg").write_bytes(picture(noise.convert(mode), "JPEG"))
        assert look("image", tmp_path / "a.jpg") == []
    whole = picture(noise, "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole + b"\0" * 5000)  # more after its end: decoded to be sure
    assert look("image", tmp_path / "a.jpg") == []
    for cut in (whole[: len(whole) // 2], whole[:-2000], b"<html>not found</html>", b""):
        (tmp_path / "a.jpg").write_bytes(cut)
        with pytest.raises(BadCellError):
            look("image", tmp_path / "a.jpg")


def test_sounds(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(recording(tone(1.0), 16000))
    assert look("audio", path) == []
    for broken in (
        path.read_bytes()[:9000],
        b"",
        recording(np.zeros(0), 16000),
        b"version https://git-lfs.g",
    ):
        path.write_bytes(broken)
        with pytest.raises(BadCellError):
            look("audio", path)
    with pytest.raises(BadCellError, match="has no sound track"):
        look("audio", write_clip(tmp_path / "a.mp4", sound=False))
