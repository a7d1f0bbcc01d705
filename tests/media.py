"""Media made for tests, with what is in them known."""

import io
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from altuna.data.readers import READERS

RATE = 16000
# container -> codecs of picture and sound
CONTAINERS = {
    "mp4": ("mpeg4", "aac"),
    "avi": ("mpeg4", "mp3"),
    "flv": ("flv1", "mp3"),
    "mkv": ("mpeg4", "aac"),
}

# The others read columns of a table, or several pictures by the reader of one.
OF_FILES = [name for name in READERS if name not in ("tabular", "image_list")]


def grey(number, frames):
    """The brightness of a frame: it says which one it is."""
    return 30 + round(200 * number / max(1, frames - 1))


def picture(image, kind="PNG", **options):
    """The bytes of a Pillow image in a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def npy(*values, dtype=np.float64):
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype))
    return buffer.getvalue()


def tone(seconds, rate=RATE, hertz=440.0):
    """A sine of half the full scale [n]."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def tones(seconds, rate, hertz):
    """Sines one after the other, each for an equal part of the seconds [n]."""
    return np.concatenate([tone(seconds / len(hertz), rate, one) for one in hertz])


def recording(wave, rate, kind="WAV", subtype=None):
    """The bytes of a waveform [n] or [n, channels] in a format and its subtype."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, subtype, format=kind)
    return buffer.getvalue()


def write_clip(path, frames=20, fps=10, width=96, height=64, sound=True, keys=8, hertz=(440.0,)):
    """Write a clip of grey frames, each brighter than the one before; its sound is ``tones``."""
    picture, voice = CONTAINERS.get(path.suffix[1:], CONTAINERS["mp4"])
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate, video.gop_size = 4_000_000, keys
        video.options = {"sc_threshold": "1000000000"}  # no key frames but those asked for
        if sound:
            audio = container.add_stream(voice, rate=RATE if voice != "mp3" else 44100, layout="mono")
        for i in range(frames):
            image = np.full((height, width, 3), grey(i, frames), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound:
            rate = audio.rate
            wave = tones(frames / fps, rate, hertz).astype(np.float32)
            resampler = av.AudioResampler(audio.format.name, "mono", rate)
            size = audio.codec_context.frame_size or 1024
            for start in range(0, len(wave), size):
                part = av.AudioFrame.from_ndarray(
                    wave[None, start : start + size], format="flt", layout="mono"
                )
                part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
                for frame in resampler.resample(part):
                    container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def loudest(wave, rate):
    """The frequency that is loudest in a waveform, in hertz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(spectrum) * rate / len(wave)


def tokenizer():
    """The JSON of a tokenizer that knows a few words."""
    words = {word: i for i, word in enumerate(("[UNK]", "a", "few", "words"))}
    small = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    small.pre_tokenizer = pre_tokenizers.Whitespace()
    return small.to_str()


def readers():
    """One small reader of each kind, by name."""
    settings = {
        "image": (32,),
        "video": (2, 16),
        "audio": (8000, 0.5),
        "text": (("<a>",), 8),
        "tokens": (tokenizer(), 8),
        "series": (4, 2),
        "vector": (3,),
    }
    return {name: reader(*settings[name]) for name, reader in READERS.items() if name in settings}


def arrays_of(steps):
    """An .npz and a Parquet file of steps [T, C], by format."""
    npz, table = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, steps=np.array(steps))
    columns = {f"c{i}": column for i, column in enumerate(np.array(steps).T)}
    pyarrow.parquet.write_table(pa.table(columns), table)
    return {"npz": npz.getvalue(), "parquet": table.getvalue()}


def files(folder):
    """Good files of many formats: {type of a column: {format: content}}; ``folder`` is for scratch."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
    wave = np.stack([tone(0.5, 8000)] * 2, axis=1)
    sounds = {"wav": None, "flac": None, "ogg": "VORBIS", "mp3": None, "aiff": None, "w64": None, "caf": None}
    return {
        "image": {
            **{kind: picture(noise, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")},
            "palette": picture(noise.convert("P"), "PNG", transparency=3),
            "LZW": picture(noise, "TIFF", compression="tiff_lzw"),
            "animated": picture(noise, "GIF", save_all=True, append_images=[noise.rotate(90)]),
            "progressive": picture(
                noise, "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
            ),
            **{kind: picture(noise, kind) for kind in ("PPM", "ICO", "TGA", "JPEG2000", "AVIF")},
        },
        "video": {
            kind: write_clip(folder / f"clip.{kind}", frames=8, width=64, height=48, keys=4).read_bytes()
            for kind in CONTAINERS
        },
        "audio": {
            **{kind: recording(wave, 8000, kind.upper(), subtype) for kind, subtype in sounds.items()},
            "opus": recording(wave, 8000, "OGG", "OPUS"),
            "float": recording(wave, 8000, "WAV", "FLOAT"),
            "adpcm": recording(wave, 8000, "WAV", "IMA_ADPCM"),
        },
        "text": {
            "ascii": b"a few words",
            "utf8": "a few w\u00f6rds \U0001f600".encode(),
            "latin1": b"w\xf6rds",
        },
        "vector": {
            **{dtype: npy(1, 2, 3, dtype=dtype) for dtype in ("<f8", ">f4", "<i2", "?")},
            "matrix": npy([1], [2], [3]),
        },
        "series": {
            "npy": npy([1, 2], [3, 4], [5, 6]),
            "long": npy(*[[i, 1] for i in range(9)], dtype=np.float32),
            **arrays_of([[1.0, 2.0], [3.0, 4.0]]),
        },
    }


def read_with_notes(cell, seconds=0.5, rate=RATE):
    """Read a sound; return its samples from -1 to 1, and the notes on it."""
    notes = []
    return READERS["audio"](rate, seconds).read(cell, notes.append) / 32768, notes
