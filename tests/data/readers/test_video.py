"""Video: which frames are chosen, from every container and range, and what a broken clip says."""

import os
from contextlib import suppress
from dataclasses import replace

import av
import numpy as np
import pytest
from media import CONTAINERS, grey, write_clip

from altuna.data.readers import READERS, BadCellError
from altuna.data.readers import containers as containers_module
from altuna.data.readers.containers import has_sound
from altuna.errors import UserError

VideoReader = READERS["video"]


def levels(clip):
    """The brightness of each frame."""
    return clip.reshape(len(clip), -1).mean(axis=1)


@pytest.fixture(scope="module", params=CONTAINERS)
def clip(request, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / f"clip.{request.param}")


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 20])
def test_evenly_spaced_frames(clip, frames):
    notes = []
    read = VideoReader(frames=frames, size=32).read(clip, notes.append)
    assert read.shape == (frames, 32, 32, 3)
    assert read.dtype == np.uint8
    expected = [grey(int((i + 0.5) * 20 / frames), 20) for i in range(frames)]
    np.testing.assert_allclose(levels(read), expected, atol=4)
    assert [note.partition(":")[0] for note in notes] == ["is all of one colour"] * (frames == 1)


@pytest.mark.parametrize(
    ("fragment", "frames"),
    [("#t=0.5,1", [6, 8]), ("#t=1", [12, 17]), ("#t=,0.4", [1, 3]), ("#t=1.55,1.65", [16, 16])],
)
def test_a_range_of_seconds(clip, fragment, frames):
    read = VideoReader(frames=2, size=16).read(f"{clip}{fragment}")
    # PyAV's AVI files have a gap of one frame after the first.
    atol = 15 if clip.suffix == ".avi" else 4
    np.testing.assert_allclose(levels(read), [grey(i, 20) for i in frames], atol=atol)


@pytest.mark.parametrize("fragment", ["#t=5,6", "#t=5"])
def test_a_range_after_the_end(clip, fragment):
    with pytest.raises(BadCellError, match="has no frame from 5 s on"):
        VideoReader(2, 16).read(f"{clip}{fragment}")


def test_an_empty_range_and_a_name_with_a_hash(tmp_path):
    with pytest.raises(BadCellError, match="the range #t=2,1 is empty"):
        VideoReader(2, 16).read("x.mp4#t=2,1")
    clip = write_clip(tmp_path / "a#t=b.mp4")
    assert VideoReader(2, 16).read(clip).shape == (2, 16, 16, 3)


def test_bytes_and_arrays(clip):
    reader = VideoReader(frames=3, size=16)
    assert np.array_equal(reader.read(clip.read_bytes()), reader.read(clip))
    frames = np.stack([np.full((20, 30, 3), i, np.uint8) for i in range(9)])
    assert levels(reader.read(frames)).tolist() == [1, 4, 7]
    for wrong in (frames[0], frames.astype(np.float32), frames[:0]):
        with pytest.raises(BadCellError, match="must be uint8"):
            reader.read(wrong)


def test_fewer_frames_than_asked_for(tmp_path):
    clip = write_clip(tmp_path / "c.mp4", frames=1, sound=False)
    read = VideoReader(frames=4, size=16).read(clip)
    assert np.ptp(levels(read)) == 0
    np.testing.assert_allclose(levels(read)[0], grey(0, 1), atol=4)


def test_frames_are_cropped_like_images(tmp_path):
    """A wide frame with dark sides: the centre is what is kept."""
    path = tmp_path / "c.mp4"
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 32:64] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 32, "yuv420p", 4_000_000
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert VideoReader(1, 32).read(path)[0, :, 3:-3].min() > 180


def test_a_container_without_length_or_count(tmp_path):
    """FLV written to a pipe knows neither; its frames are found all the same."""
    path = write_clip(tmp_path / "c.flv", sound=False)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    read = VideoReader(frames=4, size=16).read(path)
    np.testing.assert_allclose(levels(read), [grey(i, 20) for i in (2, 7, 12, 17)], atol=4)


def test_long_clips_are_decoded_only_where_needed(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "c.mp4", frames=400, sound=False, keys=10)
    decoded = []
    from altuna.data.readers import video

    original = video._decoded

    def counted(*arguments):
        for stamp, frame in original(*arguments):
            decoded.append(stamp)
            yield stamp, frame

    monkeypatch.setattr(video, "_decoded", counted)
    read = VideoReader(frames=3, size=16).read(clip)
    np.testing.assert_allclose(levels(read), [grey(i, 400) for i in (66, 200, 333)], atol=4)
    assert len(decoded) < 60


def test_a_seek_that_lands_wrong_is_made_up_for(clip, monkeypatch):
    from altuna.data.readers import video

    expected = VideoReader(frames=3, size=16).read(clip)
    index = video._index

    def lying(*arguments):
        true = index(*arguments)
        return replace(true, keys=[s + 1 for s in true.stamps])  # every frame, and a little late

    monkeypatch.setattr(video, "_index", lying)
    assert np.array_equal(VideoReader(frames=3, size=16).read(clip), expected)


def test_a_clip_cut_short(clip, tmp_path):
    """What is there is read, with a note where the container says that there was more, or refused."""
    content = clip.read_bytes()
    cut = tmp_path / f"cut{clip.suffix}"
    cut.write_bytes(content[: len(content) * 2 // 3])
    if clip.suffix == ".mp4":  # its index is at the end
        with pytest.raises(BadCellError, match="broken"):
            VideoReader(frames=2, size=16).read(cut)
        return
    notes = []
    read = VideoReader(frames=2, size=16).read(cut, notes.append)
    assert levels(read)[1] > levels(read)[0]
    assert clip.suffix != ".avi" or "cut short" in notes[0]


def test_no_picture_track(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(1000), 8000)
    with pytest.raises(BadCellError, match="has no picture track"):
        VideoReader(2, 16).read(tmp_path / "s.wav")


def test_a_bomb_is_refused_with_its_size(tmp_path, monkeypatch):
    from PIL import Image

    clip = write_clip(tmp_path / "c.mp4", sound=False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64 - 1)
    with pytest.raises(BadCellError, match="refused, too large: 96 x 64 pixels"):
        VideoReader(2, 16).read(clip)


def test_a_playlist_does_not_open_other_files(tmp_path):
    write_clip(tmp_path / "c.mp4", sound=False)
    for name, text in {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nc.mp4\n#EXT-X-ENDLIST\n",
        "list.mp4": "ffconcat version 1.0\nfile c.mp4\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(BadCellError, match="not a clip that FFmpeg can read"):
            VideoReader(2, 16).read(tmp_path / name)
    assert "hls" not in containers_module.FORMATS


def test_fit_looks_at_the_clips(tmp_path):
    clips = [write_clip(tmp_path / f"{i}.mp4", frames=2, sound=False) for i in range(2)]
    assert VideoReader.fit(clips) == VideoReader(frames=3, size=64)
    assert VideoReader.fit([*clips, tmp_path / "none.mp4"], frames=5, size=10) == VideoReader(5, 10)
    assert VideoReader.fit([]) == VideoReader(3, 224)
    with pytest.raises(UserError, match="frames must be more than 0, got 0"):
        VideoReader.fit(clips, frames=0)


def test_has_sound(tmp_path):
    assert has_sound(write_clip(tmp_path / "a.mp4"))
    assert not has_sound(write_clip(tmp_path / "b.mp4", sound=False))


def test_nothing_is_printed(tmp_path, capfd):
    clip = write_clip(tmp_path / "c.avi")
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = os.urandom(3000)
    clip.write_bytes(content)
    for name in ("video", "audio"):
        reader = VideoReader(3, 16) if name == "video" else READERS["audio"](8000, 1.0)
        with suppress(BadCellError):
            reader.read(clip)
    assert capfd.readouterr() == ("", "")
