"""The right frames from containers whose time stamps are reordered, made up, late or absent."""

from fractions import Fraction

import av
import numpy as np
import pytest
from media import grey

from altuna.data.readers import READERS

FRAMES = 30


@pytest.fixture(
    scope="module",
    params=[("avi", "mpeg4"), *((c, "libx264") for c in ("avi", "mp4", "mpegts", "h264"))],
    ids=" ".join,
)
def clip(request, tmp_path_factory):
    """30 frames in 3 s, two of three shown before those that they are decoded after."""
    container, codec = request.param
    path = tmp_path_factory.mktemp("clips") / f"clip.{container}"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = 2, 12
        stream.options = {"bf": "2", "g": "12", "sc_threshold": "0" if codec == "libx264" else "1000000000"}
        for i in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(
                np.full((64, 96, 3), grey(i, FRAMES), np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = i, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def chosen(path, frames=3):
    read = READERS["video"](frames=frames, size=32).read(path)
    levels = read.reshape(len(read), -1).mean(axis=1)
    return [min(range(FRAMES), key=lambda i: abs(grey(i, FRAMES) - level)) for level in levels]


def test_whole(clip):
    assert chosen(clip) == [5, 15, 25]
    assert chosen(clip, FRAMES) == [*range(FRAMES)]


def test_range(clip):
    found = chosen(f"{clip}#t=1,2")
    # Raw H.264 has no times at all, and says 25 frames a second or so: its range is by that.
    assert clip.suffix == ".h264" or found == [11, 15, 18]
