"""Decode sound with soundfile, or with PyAV from containers; resample it with soxr."""

from __future__ import annotations

import io
import operator
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from altuna.data.readers.base import (
    BadCellError,
    Reader,
    check_file,
    check_positive,
    sample,
    silent,
    split_fragment,
)
from altuna.data.readers.containers import opened, track
from altuna.data.readers.limits import within_limits

_MAX_OGG_PAGE = 65_307  # bytes
_CHECKED = 0.05  # seconds that ``look`` decodes
MAX_CHANNELS = 8  # of an array
FULL_SCALE = 2.0 ** np.array([15, 31])  # of samples that are whole numbers
LOUD = 256  # floats from here on are whole numbers, not full-scale floats that are too loud
MUCH = 0.5  # of the samples clipped


@dataclass(frozen=True)
class AudioReader(Reader):
    """Decode to int16 mono [rate * seconds]: the first ``seconds`` of a recording, padded with silence.

    A cell is any sound that soundfile reads, or a container with a sound track (MP4, AVI, FLV ...), or a pair
    of samples and their rate; ``call.wav#t=START,END`` is a range in seconds. Floats beyond 1 are scaled.

    Example:
        >>> AudioReader(rate=4, seconds=1.0).read((np.array([0.5, -0.5]), 4)).tolist()
        [16384, -16384, 0, 0]
    """

    rate: int
    seconds: float

    name = "audio"
    type = "audio"
    dtype = np.int16
    decodes_files = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (max(1, round(self.rate * self.seconds)),)

    @classmethod
    def fit(cls, cells: Sequence[Any], *, rate: int | None = None, seconds: float | None = None) -> Self:
        """Choose the median rate (at most 16 kHz) and the 95th percentile of the lengths (at most 10 s)."""
        check_positive(rate=rate, seconds=seconds)
        known = [*filter(None, within_limits(_rate_and_seconds, sample(cells)))]
        rate = rate or (min(16_000, int(np.median([rate for rate, _ in known]))) if known else 16_000)
        longest = float(np.quantile([length for _, length in known], 0.95)) if known else 1.0
        return cls(rate, seconds or round(min(10.0, max(0.1, longest)), 2))

    @classmethod
    def look(cls, cell: Any, note: Callable[[str], None] = silent) -> None:
        cut: list[str] = []
        mono, _ = _load(cell, _CHECKED, cut.append)
        if cut or not len(mono):
            raise BadCellError(cut[0] if cut else "no sound in it (0 samples)")

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        mono, rate = _load(cell, self.seconds, note)
        if not len(mono):
            raise BadCellError("no sound in it (0 samples)")
        if not np.isfinite(mono).all():
            raise BadCellError("has NaN or infinite samples")
        if rate != self.rate:
            mono = soxr.resample(np.clip(mono, -1e6, 1e6), rate, self.rate)  # or its sums could overflow
        mono = np.clip(mono[: self.shape[0]], -1, 1) * 32768
        wave = np.minimum(np.rint(mono), 32767).astype(np.int16)
        if (clipped := float(np.mean(np.abs(mono) >= 32767))) > MUCH:
            note(f"{clipped:.0%} of its samples are clipped")
        elif int(wave.max()) - int(wave.min()) <= 2:  # noise of the last bit
            note("is silent" if abs(int(wave[0])) <= 2 else "is constant")
        return np.pad(wave, (0, self.shape[0] - len(wave)))


def _rate_and_seconds(cell: Any) -> tuple[int, float] | None:
    """Return the rate and the length, at most 10 s, of a sound; None if it cannot be read."""
    with suppress(Exception):
        mono, rate = _load(cell, 10.0, silent)
        return rate, len(mono) / rate
    return None


def _load(cell: Any, seconds: float, note: Callable[[str], None]) -> tuple[NDArray[np.float32], int]:
    """Return at most ``seconds`` of a cell as mono [n], and the sampling rate."""
    if isinstance(cell, tuple):
        return _given(cell, seconds, note)
    start, end = 0.0, None
    if isinstance(cell, str | Path):
        path, start, end, _ = split_fragment(cell)
        cell = check_file(path)
    elif not isinstance(cell, bytes):
        raise BadCellError(f"not a sound but {type(cell).__name__}")
    if end is not None:
        seconds = min(seconds, end - start)
    head = _part(cell, 0, 4)
    if head == b"OggS" and not _has_last_page(cell):
        note("cut short: its last page is missing")
    # MP3 is decoded by FFmpeg: libmpg123, which soundfile uses, prints on broken files, and reads on.
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:] >= b"\xe0"):
        return _track(cell, start, seconds, note)
    try:
        if isinstance(cell, bytes):
            with soundfile.SoundFile(_Bytes(cell)) as file:
                return _read(file, start, seconds, note)
        # By file number, as libsndfile would trust the ending of a name.
        with cell.open("rb", buffering=0) as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
            return _read(file, start, seconds, note)
    except (soundfile.SoundFileError, RuntimeError) as error:
        # A file that soundfile does not know may be a container.
        reason = str(getattr(error, "error_string", error))
        if not any(word in reason for word in ("Format not recognised", "unimplemented", "unknown")):
            raise BadCellError(f"broken sound: {reason}") from None
    return _track(cell, start, seconds, note)


class _Bytes(io.BytesIO):
    """Ignore seeks to before the start, as libsndfile does on broken files: cffi would print the error."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


def _given(
    cell: tuple[Any, ...], seconds: float, note: Callable[[str], None]
) -> tuple[NDArray[np.float32], int]:
    """Return a pair of samples, [n], [n, channels] or [channels, n], and their rate as mono."""
    try:
        samples, rate = cell
        wave, rate = np.asarray(samples), operator.index(rate)
    except (TypeError, ValueError) as error:
        raise BadCellError(f"not a pair of samples and their rate: {error}") from None
    got = f"{wave.dtype} {list(wave.shape)} at a rate of {rate}"
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "if" or rate <= 0:
        raise BadCellError(f"samples must be numbers [n] or [n, channels], got {got}")
    if not wave.size:
        return np.empty(0, np.float32), rate
    if wave.ndim == 2:
        if min(wave.shape) > MAX_CHANNELS:
            raise BadCellError(f"samples must have at most {MAX_CHANNELS} channels, got {got}")
        wave = wave.T if wave.shape[0] < wave.shape[1] else wave  # the longer axis is time
    part = _fitted(wave, note)[: int(np.ceil(seconds * rate))]
    return _mono(part.reshape(len(part), -1)), rate


def _fitted(wave: NDArray[Any], note: Callable[[str], None]) -> NDArray[Any]:
    """Return samples from -1 to 1: whole numbers by their full scale, floats beyond 1 by their peak."""
    scale = _scale(wave, note)
    return wave if scale == 1 else wave / np.float32(scale)


def _scale(wave: NDArray[Any], note: Callable[[str], None]) -> float:
    if wave.dtype.kind == "i" and wave.dtype.itemsize <= 2:
        return -float(np.iinfo(wave.dtype).min)
    with np.errstate(invalid="ignore"):
        peak = float(np.abs(wave.astype(np.float64)).max())  # of int64, the smallest has no absolute value
    if not np.isfinite(peak) or (wave.dtype.kind == "f" and peak <= 1):
        return 1.0  # ``read`` refuses the former
    if wave.dtype.kind == "f" and peak < LOUD:
        note(f"samples up to {peak:.3g}, beyond 1: scaled to 1")
        return peak
    if peak > FULL_SCALE[-1]:
        raise BadCellError(
            f"samples must be of at most 32 bits, or floats from -1 to 1, got up to {peak:.4g}"
        )
    scale = float(FULL_SCALE[np.searchsorted(FULL_SCALE, peak)])
    if wave.dtype != np.int32 or scale != FULL_SCALE[-1]:
        note(f"{wave.dtype} samples up to {peak:.0f}: read as whole numbers of {1 + np.log2(scale):.0f} bits")
    return scale


def _mono(wave: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of the channels [n, channels]."""
    with np.errstate(over="ignore", invalid="ignore"):  # ``read`` rejects infinite samples
        mono: NDArray[np.float32] = wave.mean(axis=1).astype(np.float32)
        return mono


def _part(cell: Path | bytes, start: int, size: int) -> bytes:
    """Return ``size`` bytes from ``start``, which is relative to the end if negative."""
    if isinstance(cell, bytes):
        return cell[start:][:size]
    with cell.open("rb") as file:
        file.seek(max(0, start + (cell.stat().st_size if start < 0 else 0)))
        return file.read(size)


def _has_last_page(ogg: Path | bytes) -> bool:
    """Return whether an Ogg stream ends with a whole page that is marked as the last one."""
    tail = _part(ogg, -_MAX_OGG_PAGE, _MAX_OGG_PAGE)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    return len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _read(
    file: soundfile.SoundFile, start: float, seconds: float, note: Callable[[str], None]
) -> tuple[NDArray[np.float32], int]:
    rate = file.samplerate
    if start:
        _check_start(start, file.frames / rate)
        file.seek(int(start * rate))
    wave = file.read(int(np.ceil(seconds * rate)), "float32", always_2d=True)
    # libsndfile reads truncated files without an error; a streamed WAV states a size of 2 GiB or more.
    found = re.search(r"(?:data|Data Size|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info)
    if found and int(found[2]) < int(found[1]) < 2**31 - 2**16:
        raise BadCellError(f"broken sound: truncated, {found[2]} of {found[1]} bytes are there")
    if file.subtype in ("FLOAT", "DOUBLE") and wave.size:  # decoders of others overshoot a little
        wave = _fitted(wave, note)
    return _mono(wave), int(rate)


def _track(
    cell: Path | bytes, start: float, seconds: float, note: Callable[[str], None]
) -> tuple[NDArray[np.float32], int]:
    """Return at most ``seconds`` of the sound track of a container as mono [n], and the sampling rate."""
    import av  # takes 0.1 s

    with opened(cell, "sound") as container:
        stream = track(container, "audio")
        rate = stream.rate
        if not rate:
            raise BadCellError("broken sound: its track has no sampling rate")
        unit, zero = float(stream.time_base), stream.start_time or 0
        length = stream.duration * unit if stream.duration else None
        if start:
            if length is not None:
                _check_start(start, length)
            container.seek(zero + int(start / unit), stream=stream)
        planar = av.AudioResampler("fltp", rate=rate)
        parts: list[NDArray[np.float32]] = []
        have, need = 0, int(np.ceil(seconds * rate))
        for frame in container.decode(stream):
            begin = 0.0 if frame.pts is None else (frame.pts - zero) * unit
            for same in planar.resample(frame):
                part = _mono(same.to_ndarray().T)
                early = round((start - begin) * rate) if start and not parts else 0
                if early < len(part):
                    parts.append(part[max(0, early) :])
                    have += len(parts[-1])
            if have >= need:
                break
        if not parts and start:
            _check_start(start, 0.0)
        # Some containers state only the length of the whole clip.
        whole = length or (container.duration or 0) * 1e-6
        wanted = min(need, round((whole - start) * rate))
        if have < 0.9 * wanted:
            note(f"cut short: {have / rate:.2f} of {wanted / rate:.2f} seconds are there")
    mono = np.concatenate(parts)[:need] if parts else np.empty(0, np.float32)
    return mono, rate


def _check_start(start: float, length: float) -> None:
    if start >= length:
        raise BadCellError(f"the range starts at {start:g} s, after the end at {length:g} s")
