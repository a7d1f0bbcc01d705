"""Decode some frames of a video clip with PyAV."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from altuna.data.readers.base import (
    WHOLE,
    BadCellError,
    Reader,
    check_positive,
    evenly,
    sample,
    silent,
    split_fragment,
)
from altuna.data.readers.containers import flv_is_whole, opened, track
from altuna.data.readers.image import check_size, note_blank, square, usual_size
from altuna.data.readers.limits import within_limits


@dataclass(frozen=True)
class VideoReader(Reader):
    """Decode to uint8 RGB [frames, size, size, 3]: evenly spaced frames, resized and cropped as images.

    The frames are the middles of equal parts of the clip, or of its range of seconds in
    ``clip.avi#t=START,END``; ``#xywh=percent:X,Y,WIDTH,HEIGHT``, or ``&xywh=`` after a range, crops the
    picture. Frames of a clip that has too few are repeated.

    Example:
        >>> clip = np.zeros((10, 6, 8, 3), np.uint8)
        >>> clip[7] = 255
        >>> VideoReader(frames=2, size=4).read(clip)[:, 0, 0, 0].tolist()
        [0, 255]
    """

    frames: int
    size: int

    name = "video"
    type = "video"
    dtype = np.uint8
    decodes_files = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.size, self.size, 3)

    @classmethod
    def fit(cls, cells: Sequence[Any], *, frames: int = 3, size: int | None = None) -> Self:
        """Choose the smallest usual size from the median shorter side on, at most 224 pixels."""
        check_positive(frames=frames, size=size)
        return cls(frames, size or usual_size(within_limits(_side, sample(cells, 16))))

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        source, start, end, _ = _source(cell)
        if start or end is not None:  # a part of a long recording, which may have many
            with opened(source) as container:
                _track(container)
                if container.duration and start >= container.duration * 1e-6:
                    raise BadCellError(f"has no frame from {start:g} s on in its range")
            return
        cut: list[str] = []
        _index(source, start, end, cut.append)
        if cut:
            raise BadCellError(cut[0])

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        if isinstance(cell, np.ndarray):
            if cell.dtype != np.uint8 or cell.ndim != 4 or cell.shape[3] != 3 or not cell.size:
                raise BadCellError(f"a clip must be uint8 [T, H, W, 3], got {cell.dtype} {list(cell.shape)}")
            picked = evenly(self.frames, len(cell))
            clip = np.stack([square(Image.fromarray(cell[i]), self.size) for i in picked])
            note_blank(clip, note)
            return clip
        source, start, end, crop = _source(cell)
        index = _index(source, start, end, note)
        wanted = [index.stamps[i] for i in evenly(self.frames, len(index.stamps))]
        found = _frames(source, wanted, index, crop, self.size)
        if not found:  # a seek went wrong, or a frame is broken: decode from the start
            found = _frames(source, wanted, replace(index, keys=[]), crop, self.size)
        if not found:
            raise BadCellError("none of its frames can be decoded")
        if len(found) < len(set(wanted)):
            lost = len(set(wanted)) - len(found)
            note(f"{lost} of its frames cannot be decoded and are replaced by other frames")
        stamps = sorted(found)
        clip = np.stack([found[stamps[max(0, bisect_right(stamps, stamp) - 1)]] for stamp in wanted])
        note_blank(clip, note)
        return clip


def _source(cell: Any) -> tuple[Path | bytes, float, float | None, tuple[float, ...]]:
    if isinstance(cell, bytes):
        return cell, 0.0, None, WHOLE
    if not isinstance(cell, str | Path):
        raise BadCellError(f"not a clip but {type(cell).__name__}")
    return split_fragment(cell)


def _side(cell: Any) -> int | None:
    if isinstance(cell, np.ndarray):
        return min(cell.shape[1:3]) if cell.ndim == 4 else None
    with suppress(Exception):
        source, _, _, crop = _source(cell)
        with opened(source) as container:
            stream = _track(container)
            return int(min(stream.width * crop[2], stream.height * crop[3]))
    return None


def _track(container: Any) -> Any:
    stream = track(container, "video")
    check_size(stream.width, stream.height)
    return stream


@dataclass(frozen=True)
class _Index:
    """The time stamps of the frames in a range, ascending, and of the key frames to seek to.

    ``counted`` is True if the stamps are frame numbers, because those of the container are absent or wrong.
    """

    stamps: list[int]
    keys: list[int]
    counted: bool


def _index(source: Path | bytes, start: float, end: float | None, note: Callable[[str], None]) -> _Index:
    """Find the frames of a range by the packets, without decoding.

    The length that a container states may be absent or wrong.
    """
    with opened(source) as container:
        stream = _track(container)
        unit, zero = float(stream.time_base), stream.start_time or 0
        declared, rate = stream.frames, float(stream.average_rate or stream.guessed_rate or 25)
        flv = container.format.name == "flv"
        # AVI has no display times: FFmpeg makes them up, wrongly if frames are stored in another order.
        counted = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
    last = None if end is None else zero + end / unit
    packets = _packets(source, zero + int(start / unit) if start else None, None if counted else last)
    if start and (not packets or packets[0].pts is None or packets[0].pts > zero + start / unit):
        packets = _packets(source, None, None if counted else last)  # the seek went too far
    counted = counted or any(packet.pts is None for packet in packets)
    if counted:
        unit, zero = 1 / rate, 0
        stamps = [*range(len(_packets(source, None, None)))]
    else:
        stamps = sorted(packet.pts for packet in packets)
    some = [
        s for s in stamps if (s - zero) * unit >= start - 1e-6 and (end is None or (s - zero) * unit < end)
    ]
    whole = end is None and not start
    # Some programs state a frame or two too many.
    if whole and 0.9 * declared > len(some) > 0:
        note(f"cut short: {len(some)} of {declared} frames are there")
    if whole and flv and not flv_is_whole(source):  # an FLV does not state the number of its frames
        note("cut short: its end is missing")
    if not some:
        raise BadCellError("has no frame" if whole else f"has no frame from {start:g} s on in its range")
    keys = [] if counted else sorted(packet.pts for packet in packets if packet.is_key)
    return _Index(some, keys, counted)


class _Packet(NamedTuple):
    pts: Any
    is_key: bool


def _packets(source: Path | bytes, seek: int | None, last: float | None) -> list[_Packet]:
    """Return the packets from the key frame before ``seek`` to the last that may be shown; all if None."""
    import av  # takes 0.1 s

    with opened(source) as container:
        stream = _track(container)
        if seek is not None:
            with suppress(av.error.FFmpegError):  # not all containers can; all packets follow then
                container.seek(seek, stream=stream)
        packets = []
        for packet in container.demux(stream):
            if not packet.size:
                continue
            # Packets are in decoding order: a later one may be shown earlier.
            if last is not None and packet.dts is not None and packet.dts > last:
                break
            packets.append(_Packet(packet.pts, packet.is_keyframe))
    return packets


def _frames(
    source: Path | bytes, wanted: list[int], index: _Index, crop: tuple[float, ...], size: int
) -> dict[int, NDArray[Any]]:
    """Decode the frames at (or next after) the wanted stamps; return none if a seek went wrong.

    Without key frames, the clip is decoded from the start, and broken frames are skipped.
    """
    found: dict[int, NDArray[Any]] = {}
    keys = index.keys
    with opened(source) as container:
        stream = _track(container)
        frames, shown = _decoded(container, stream, index), -(2**62)
        for stamp in sorted(set(wanted)):
            before = bisect_right(keys, stamp) - 1
            landed = True
            if before >= 0 and keys[before] > shown:
                container.seek(keys[before], stream=stream)
                frames, landed = _decoded(container, stream, index), False
            for at, frame in frames:
                if not landed and at > stamp:
                    return {}
                landed, shown = True, at
                if at >= stamp:
                    found[stamp] = _picture(frame, crop, size)
                    break
            else:
                return {} if keys else found
    return found


def _decoded(container: Any, stream: Any, index: _Index) -> Iterator[tuple[int, Any]]:
    """Yield the frames with their stamps; a frame without one gets the stamp after that of the last frame."""
    import av  # takes 0.1 s

    at = -1
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            if index.keys:
                return  # decoding from the start finds the frame
            continue
        for frame in frames:
            at = at + 1 if index.counted or frame.pts is None else frame.pts
            yield at, frame


def _picture(frame: Any, crop: tuple[float, ...], size: int) -> NDArray[Any]:
    check_size(frame.width, frame.height)
    turns = round(getattr(frame, "rotation", 0) / 90)  # phones store a rotation, and do not turn the pixels
    image = frame.to_image().rotate(90 * turns, expand=True)
    x, y, width, height = np.multiply(crop, (*image.size, *image.size)).round().astype(int).tolist()
    return square(image.crop((x, y, x + max(1, width), y + max(1, height))), size)
