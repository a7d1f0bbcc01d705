"""Read files, texts and numbers into the inputs of the graphs, as in training; driven by ``export.json``.

Besides NumPy, only what the modalities of the export need is imported: pillow (images), soundfile (audio) and
tokenizers (tokens).
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from columns import number, series, tabular
from numpy.typing import NDArray

Array = NDArray[Any]
T = TypeVar("T")

BITS = (8, 10, 12, 14, 16, 24, 32)  # of cameras and scanners
NGRAMS = (2, 3, 4, 5)  # letters of the pieces that words are cut into
EXPORT = "export.json"
MAX_BYTES = 64 << 20  # of export.json
MAX_SIZE = 1 << 24  # of a feature or an input
# What export.json must have, by key: a text, a size, or a list of at least one such.
CONTENT = {
    "format": str,
    "classes": [str],
    "fusion": {"file": str},
    "modalities": [{"name": str, "file": str, "features": int, "reader": {"name": str}}],
}
EXAMPLES = {
    "image": "picture.png",
    "image_list": "front.png;back.png",
    "video": "frames.npy",
    "audio": "sound.wav",
    "text": "some words",
    "tokens": "some words",
    "series": "steps.csv",
    "vector": "0.5,1,...",
    "tabular": '{"column": "value"}',
}


def loaded(name: str, load: Callable[[Path], T]) -> T:
    """Load a file beside this one.

    Raises:
        ValueError: It is missing or damaged; the message is one line.
    """
    path = Path(__file__).parent / name
    if not path.is_file():
        raise ValueError(f"{name}: no such file in {path.parent}")
    try:
        return load(path)
    except Exception as error:
        raise ValueError(f"{name}: cannot be loaded, is it complete? ({one_line(error)})") from None


def one_line(error: Exception) -> str:
    """Return an error's message on one line."""
    message = getattr(error, "strerror", None) or str(error)
    return " ".join(message.split()) or type(error).__name__


def image(path: str, size: int, levels: Sequence[float] = ()) -> Array:
    """Return the central square of an image [size, size, 3], on white where it is transparent.

    ``levels`` are the values that become 0 and 255 in pictures of more than 8 bits, signed or float.
    """
    from PIL import Image, ImageOps

    picture: Image.Image = Image.open(path)
    if picture.format in ("EPS", "WMF"):  # programs that other software would have to run
        raise ValueError(f"refused: {picture.format} is not a picture of pixels")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):  # more than 8 bits
        picture = Image.fromarray(grey(np.asarray(picture), levels))
    picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))


def image_list(value: str, pictures: int, size: int, levels: Sequence[float] = ()) -> Array:
    """Return pictures [pictures, size, size, 3] of paths with semicolons between: evenly spaced ones."""
    paths = [path.strip() for path in value.split(";") if path.strip()]
    chosen = [int((i + 0.5) * len(paths) / pictures) for i in range(pictures)]
    read = {i: image(paths[i], size, levels) for i in {*chosen}}
    return np.stack([read[i] for i in chosen])


def grey(pixels: Array, levels: Sequence[float] = ()) -> Array:
    """Return pixels as uint8: ``levels`` become 0 and 255, those of the picture itself if there are none."""
    known = pixels[np.isfinite(pixels)]
    if not len(known):
        raise ValueError("has no pixel with a finite value")
    if not levels:
        low, high = float(known.min()), float(known.max())
        tops = [2.0**bits - 1 for bits in BITS] if pixels.dtype.kind in "iu" else [1.0, 255.0]
        within = low >= 0 and high <= tops[-1]
        levels = (0.0, min(t for t in tops if high <= t)) if within else (low, max(high, low + (low == high)))
    low, high = levels
    with np.errstate(invalid="ignore", over="ignore"):
        unit = (pixels.astype(np.float64) - low) / (high - low)
        return np.nan_to_num(np.rint(255 * np.clip(unit, 0, 1)), nan=0).astype(np.uint8)


def video(path: str, frames: int, size: int) -> Array:
    """Return the frames [frames, size, size, 3], uint8, of a .npy file: evenly spaced ones of a clip."""
    clip: Array = np.load(path)
    if clip.dtype != np.uint8:
        raise ValueError(f"must be uint8, is {clip.dtype}")
    return clip.reshape(frames, size, size, 3)


def audio(path: str, rate: int, seconds: float) -> Array:
    """Return mono samples [rate * seconds], int16: the first seconds, padded with silence."""
    import soundfile

    with open(path, "rb") as file, soundfile.SoundFile(file) as sound:
        wave, found = sound.read(int(np.ceil(seconds * rate)), "float32", always_2d=True), sound.samplerate
        sizes = re.search(r"(?:data|Data Size|SSND)\s*: (\d+) \(should be (\d+)\)", sound.extra_info)
        floats = sound.subtype in ("FLOAT", "DOUBLE")
    if sizes and int(sizes[2]) < int(sizes[1]) < 2**31 - 2**16:  # a streamed file declares 2 GiB or more
        raise ValueError(f"broken sound: truncated, {sizes[2]} of {sizes[1]} bytes are there")
    if found != rate:
        raise ValueError(f"has {found} samples a second; resample it to {rate} first")
    if not len(wave):
        raise ValueError("no sound in it (0 samples)")
    peak = float(np.abs(wave).max())
    if floats and 2**31 < peak < np.inf:
        raise ValueError(f"samples must be of at most 32 bits, or floats from -1 to 1, got up to {peak:.4g}")
    if floats and 1 < peak < np.inf:  # too loud, or whole numbers of 16 or 32 bits
        wave = wave / np.float32(peak if peak < 256 else 2**15 if peak <= 2**15 else 2**31)
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused below
        wave = wave.mean(1)
    if not np.isfinite(wave).all():
        raise ValueError("has NaN or infinite samples")
    cell = np.zeros(max(1, round(rate * seconds)), np.int16)
    wave = np.rint(wave[: len(cell)].clip(-1, 1) * 32768).clip(max=32767)
    cell[: len(wave)] = wave
    return cell


def text(value: str, vocabulary: Iterable[str], length: int) -> Array:
    """Return numbers [L], L <= length, of the known words and n-grams of a text; [1] if none is known."""
    number = {token: i for i, token in enumerate(vocabulary, 2)}
    tokens: list[str] = []
    marks = "".join(chr(i) for i in range(0x300, 0x1F000) if unicodedata.category(chr(i)) in ("Mn", "Mc"))
    marks += "\u200c\u200d"  # joiners within words
    for word in re.findall(rf"[\w{marks}]+|[^\w\s{marks}]", unicodedata.normalize("NFKC", value).lower()):
        w = f"<{word}>"
        tokens += [w, *(w[i : i + n] for n in NGRAMS if n < len(w) for i in range(len(w) - n + 1))]
    return np.array([number[token] for token in tokens if token in number][:length] or [1], np.int32)


def tokens(value: str, tokenizer: str, length: int) -> Array:
    """Return a tokenizer's numbers [L], L <= length, plus 1: 0 would be padding."""
    from tokenizers import Tokenizer

    made = loaded(tokenizer, lambda path: Tokenizer.from_file(str(path)))
    made.no_padding()
    made.no_truncation()
    numbers = made.encode(value).ids
    if not numbers:
        raise ValueError("empty text")
    if len(numbers) > length:  # keep the last one if it marks the end
        numbers = [*numbers[: length - 1], numbers[-1] if made.post_processor else numbers[length - 1]]
    return np.array(numbers, np.int32) + 1


def vector(
    value: str, size: int, origin: Sequence[float] = (), formats: Sequence[dict[str, Any]] = ()
) -> Array:
    """Return numbers [size], separated by commas or blanks; between two commas one may be missing (NaN).

    Semicolons may separate them, too, as numbers may be written with commas (``formats``, see ``number``).
    """
    mark = ";" if formats and ";" in value else "," if "," in value else None
    parts = [value] if formats and size == 1 else [part.strip() for part in value.split(mark)]
    if formats and len(parts) == size:
        exact = np.array([number(part, **form) for part, form in zip(parts, formats, strict=True)])
        parts = ["" if np.isnan(one) else part for one, part in zip(exact, parts, strict=True)]
    else:
        exact = np.array([part or "nan" for part in parts], np.float64)
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite
        numbers = (exact - origin if len(origin) == len(exact) else exact).astype(np.float32)
    if len(parts) != size or np.isfinite(numbers).sum() != sum(map(bool, parts)):
        marks = "semicolons" if formats else "commas or blanks"
        raise ValueError(f"give {size} finite number{f's, with {marks} between' * (size > 1)}")
    if not any(parts):
        raise ValueError("all its numbers are empty")
    return numbers


READERS: dict[str, Callable[..., Array]] = {
    "image": image,
    "image_list": image_list,
    "video": video,
    "audio": audio,
    "text": text,
    "tokens": tokens,
    "series": series,
    "vector": vector,
    "tabular": tabular,
}


def read(given: dict[str, str], modalities: list[dict[str, Any]]) -> dict[str, Array]:
    """Return the inputs [1, ...] of the modalities that are given, by name.

    Raises:
        ValueError: Something cannot be read; the message is one line.
    """
    settings = {m["name"]: dict(m["reader"]) for m in modalities}
    if not given:
        raise ValueError(f"give one or more of {', '.join(settings)}, as in NAME=VALUE")
    cells = {}
    for name, value in given.items():
        if name not in settings or not value.strip():
            raise ValueError(f"{name}={value}: write NAME=VALUE, NAME one of {', '.join(settings)}")
        try:
            cells[name] = READERS[settings[name].pop("name")](value, **settings[name])[None]
        except Exception as error:  # a file may be broken in many ways
            raise ValueError(f"{name}={value}: {one_line(error)}") from None
    return cells


def description(path: Path) -> dict[str, Any]:
    """Return the content of ``export.json``.

    Raises:
        ValueError: It is not that of an export; the message names the key.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    check(config, CONTENT)
    for i, modality in enumerate(config["modalities"]):
        reader = modality["reader"]
        if reader["name"] not in READERS:
            raise ValueError(f"modalities.{i}.reader.name: must be one of {', '.join(READERS)}")
        for key, value in reader.items():
            if isinstance(value, int | float) and not 0 < value <= MAX_SIZE:
                raise ValueError(f"modalities.{i}.reader.{key}: must be more than 0, at most {MAX_SIZE}")
    return config


def check(value: object, wanted: object, key: str = "") -> None:
    """Raise ValueError with the first key of a value that is not as in a pattern such as ``CONTENT``."""
    start = f"{key}: " if key else ""
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{start}must be a mapping")
        for name, inner in wanted.items():
            inner_key = f"{key}.{name}" if key else name
            if name not in value:
                raise ValueError(f"{inner_key}: is missing")
            check(value[name], inner, inner_key)
    elif isinstance(wanted, list):
        if not isinstance(value, list) or not value:
            raise ValueError(f"{start}must be a list, not empty")
        for i, one in enumerate(value):
            check(one, wanted[0], f"{key}.{i}")
    elif wanted is str and (not isinstance(value, str) or not value):
        raise ValueError(f"{start}must be a text, not empty")
    elif wanted is int and (type(value) is not int or not 0 < value <= MAX_SIZE):
        raise ValueError(f"{start}must be a whole number from 1 to {MAX_SIZE}")


def named(arguments: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return the values of NAME=VALUE arguments by name."""
    given: dict[str, str] = {}
    names = [*names]
    for argument in arguments:
        # A name may contain "=" too.
        known = [name for name in names if argument.startswith(name + "=")]
        name = max(known, key=len, default=argument.partition("=")[0])
        if name in given:
            raise ValueError(f"{argument}: {name} is given twice")
        given[name] = argument[len(name) + 1 :]
    return given


def usage() -> str:
    """Return how to call the example, with the modalities of the export if it can be read."""
    try:
        modalities = loaded(EXPORT, description)["modalities"]
        given = [shlex.quote(f"{m['name']}={_example(m['reader'])}") for m in modalities]
    except Exception:
        given = ["NAME=VALUE", "..."]
    return f"    python example.py {' '.join(given)}"


def _example(reader: dict[str, Any]) -> str:
    return "0.5" if reader["name"] == "vector" and reader.get("size") == 1 else EXAMPLES[reader["name"]]


def main(predict: Callable[[dict[str, Array], dict[str, Any]], object], purpose: str) -> None:
    """Print the prediction for the arguments NAME=VALUE; a mistake is one line and exit code 2."""
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(f"{purpose}\n\n{usage()}")
        return
    logging.disable()  # PyTorch logs a traceback of a file that it cannot load
    try:
        config = loaded(EXPORT, description)
        given = named(sys.argv[1:], [m["name"] for m in config["modalities"]])
        print(json.dumps(predict(read(given, config["modalities"]), config), indent=1))
    except Exception as mistake:  # each engine has errors of its own
        print(f"example.py: {one_line(mistake)}", file=sys.stderr)
        sys.exit(2)
