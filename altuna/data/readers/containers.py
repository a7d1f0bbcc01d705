"""Open containers of clips and sound (MP4, AVI, FLV, Matroska ...) with PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from altuna.data.readers.base import TOO_MUCH, BadCellError, check_file, split_fragment

# Only self-contained formats: a playlist could make FFmpeg open other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,flv,live_flv,matroska,webm,mpeg,mpegts,mpegvideo,asf,asf_o,ogg,wav,w64,mp3,aac,"
    "flac,aiff,au,caf,gif,m4v,h264,hevc,ivf,nut,swf,rm,dv,mxf,amr,ac3,opus"
)


@contextmanager
def opened(cell: str | Path | bytes, kind: str = "clip") -> Iterator[Any]:
    """Open a path or bytes as a PyAV container.

    Raises:
        BadCellError: It cannot be opened, or its content makes the caller's code fail.

    Example:
        >>> import numpy as np, soundfile
        >>> recording = io.BytesIO()
        >>> soundfile.write(recording, np.zeros(8000), 8000, format="WAV")
        >>> with opened(recording.getvalue(), "recording") as container:
        ...     container.format.name
        'wav'
    """
    import av  # takes 0.1 s

    source = io.BytesIO(cell) if isinstance(cell, bytes) else str(check_file(cell))
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        with av.open(source, options=options) as container:
            yield container
    # IndexError: of PyAV, for a stream that is not in the header.
    except (av.error.FFmpegError, ValueError, OverflowError, IndexError, MemoryError) as error:
        if isinstance(error, MemoryError):
            raise BadCellError(TOO_MUCH) from None
        reason = getattr(error, "strerror", None) or error
        raise BadCellError(f"broken, or not a {kind} that FFmpeg can read: {reason}") from None


def track(container: Any, kind: str) -> Any:
    """Return the first track of a container: ``video`` or ``audio``.

    Raises:
        BadCellError: There is none, or FFmpeg does not know its codec.

    Example:
        >>> import numpy as np, soundfile
        >>> recording = io.BytesIO()
        >>> soundfile.write(recording, np.zeros(8000), 8000, format="WAV")
        >>> with opened(recording.getvalue(), "recording") as container:
        ...     track(container, "audio").rate
        8000
    """
    streams = getattr(container.streams, kind)
    name = {"video": "picture", "audio": "sound"}[kind]
    if not streams:
        raise BadCellError(f"has no {name} track")
    if streams[0].codec_context is None:
        raise BadCellError(f"its {name} track is of a codec that FFmpeg does not know")
    streams[0].codec_context.thread_count = 1  # the store decodes one clip per core
    return streams[0]


def flv_is_whole(source: str | Path | bytes) -> bool:
    r"""Return whether an FLV ends after one of its tags (a frame or some sound), not within it.

    Example:
        >>> header = b"FLV\x01\x05\0\0\0\x09" + bytes(4)
        >>> tag = b"\x09\0\0\x05" + bytes(7)  # of a frame of five bytes
        >>> flv_is_whole(header + tag + bytes(5) + bytes(4)), flv_is_whole(header + tag)
        (True, False)
    """
    if not isinstance(source, bytes):
        with open(source, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _ends_after_a_tag(content)
    return _ends_after_a_tag(source)


def _ends_after_a_tag(content: Any) -> bool:
    at = int.from_bytes(content[5:9]) + 4
    while at + 11 <= len(content) and content[at] in (8, 9, 18):  # sound, picture, data
        at += 11 + int.from_bytes(content[at + 1 : at + 4]) + 4
    return at - 4 <= len(content)


def has_sound(cell: str | Path | bytes) -> bool:
    """Return whether a clip has a sound track.

    Example:
        >>> import numpy as np, soundfile
        >>> recording = io.BytesIO()
        >>> soundfile.write(recording, np.zeros(8000), 8000, format="WAV")
        >>> has_sound(recording.getvalue())
        True
    """
    if not isinstance(cell, bytes):
        cell = split_fragment(cell).path
    with opened(cell) as container:
        return bool(container.streams.audio)
