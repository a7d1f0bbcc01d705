"""The scripts that ``altuna export`` writes beside its graphs: they predict, without this package."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Literal

from altuna.data.readers import Reader
from altuna.data.readers.text import NGRAMS

Format = Literal["onnx", "torch-export"]

# By format: the package that runs a graph, and how.
_ENGINES: dict[str, tuple[str, str]] = {
    "onnx": (
        "onnxruntime",
        """\
def run(file, **inputs):
    return loaded(file, onnxruntime.InferenceSession).run(None, inputs)
""",
    ),
    "torch-export": (
        "torch",
        """\
def run(file, **inputs):
    found = loaded(file, torch.export.load).module()(*map(torch.tensor, inputs.values()))
    return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]
""",
    ),
}
# By reader: what it imports, and how it makes a cell of what is given, as the reader of the training did.
_READ: dict[str, tuple[tuple[str, ...], str]] = {
    "image": (
        ("from PIL import Image, ImageOps",),
        """\
def image(path, size):  # the middle square of a picture, on white where it is transparent
    picture = Image.open(path)
    if picture.format in ("EPS", "WMF"):  # programs that other software would have to run
        raise ValueError(f"refused: {picture.format} is not a picture of pixels")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a pixel
        picture = Image.fromarray((np.asarray(picture) / 257).round().clip(0, 255).astype(np.uint8))
    picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))
""",
    ),
    "video": (
        (),
        """\
def video(path, frames, size):  # a .npy file: evenly spaced frames of a clip, uint8
    clip = np.load(path)
    if clip.dtype != np.uint8:
        raise ValueError(f"must be uint8, is {clip.dtype}")
    return clip.reshape(frames, size, size, 3)
""",
    ),
    "audio": (
        ("import re", "import soundfile"),
        """\
def audio(path, rate, seconds):  # mono, cut to its first seconds or padded with silence
    with open(path, "rb") as file, soundfile.SoundFile(file) as sound:
        wave, found = sound.read(int(np.ceil(seconds * rate)), "float32", always_2d=True), sound.samplerate
        sizes = re.search(r"(?:data|Data Size|SSND)\\s*: (\\d+) \\(should be (\\d+)\\)", sound.extra_info)
    if sizes and int(sizes[2]) < int(sizes[1]) < 2**31 - 2**16:  # a streamed one declares 2 GiB or more
        raise ValueError(f"broken sound: truncated, {sizes[2]} of {sizes[1]} bytes are there")
    if found != rate:
        raise ValueError(f"has {found} samples a second; resample it to {rate} first")
    if not len(wave):
        raise ValueError("no sound in it (0 samples)")
    with np.errstate(over="ignore", invalid="ignore"):  # refused is what becomes infinite
        wave = wave.mean(1)
    if not np.isfinite(wave).all():
        raise ValueError("has NaN or infinite samples")
    cell = np.zeros(max(1, round(rate * seconds)), np.int16)
    wave = np.rint(wave[: len(cell)].clip(-1, 1) * 32768).clip(max=32767)
    cell[: len(wave)] = wave
    return cell
""",
    ),
    "text": (
        ("import re", "import unicodedata"),
        f"""\
def text(value, vocabulary, length):  # numbers of its words and their character n-grams, 1 if none is known
    number = {{token: i for i, token in enumerate(vocabulary, 2)}}
    tokens = []
    for word in re.findall(r"\\w+|[^\\w\\s]", unicodedata.normalize("NFKC", value).lower()):
        w = f"<{{word}}>"
        tokens += [w, *(w[i : i + n] for n in {NGRAMS} if n < len(w) for i in range(len(w) - n + 1))]
    return np.array([number[token] for token in tokens if token in number][:length] or [1], np.int32)
""",
    ),
    "tokens": (
        ("from tokenizers import Tokenizer",),
        """\
def tokens(value, tokenizer, length):  # a tokenizer's numbers plus 1; 0 would be padding
    tokenizer = loaded(tokenizer, lambda path: Tokenizer.from_file(str(path)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    numbers = tokenizer.encode(value).ids
    if not numbers:
        raise ValueError("empty text")
    if len(numbers) > length:  # keep the last one if it marks the end
        numbers = [*numbers[: length - 1], numbers[-1] if tokenizer.post_processor else numbers[length - 1]]
    return np.array(numbers, np.int32) + 1
""",
    ),
    "vector": (
        (),
        """\
def vector(value, size):  # numbers, commas or blanks between; between two commas one may be missing
    parts = [part.strip() for part in value.split(",")] if "," in value else value.split()
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite
        numbers = np.array([part or "nan" for part in parts], np.float32)
    if len(parts) != size or np.isfinite(numbers).sum() != sum(map(bool, parts)):
        raise ValueError(f"give {size} finite number{'s, with commas or blanks between' * (size > 1)}")
    if not any(parts):
        raise ValueError("all its numbers are empty")
    return numbers
""",
    ),
}
_SHOWN = {
    "image": "picture.png",
    "video": "frames.npy",
    "audio": "sound.wav",
    "text": "some words",
    "tokens": "some words",
    "vector": "0.5,1,...",
}


def scripts(format: str, modalities: Sequence[tuple[str, Reader]]) -> dict[str, str]:
    """Return the scripts, by their file, for the modalities, names and readers, of an export.

    ``example.py`` runs the graphs; ``readers.py`` makes the cells that they take.
    """
    package, engine = _ENGINES[format]
    single = {name: "0.5" for name, reader in modalities if reader.name == "vector" and reader.shape == (1,)}
    given = " ".join(shlex.quote(f"{n}={single.get(n, _SHOWN[reader.name])}") for n, reader in modalities)
    # In a docstring, which a name can neither end nor break.
    usage = given.replace('"""', "'''").replace("\\", "/")
    kinds = [*dict.fromkeys(reader.name for _, reader in modalities)]
    standard = [*(f"import {name}" for name in ("json", "logging", "sys")), "from pathlib import Path"]
    others = ["import numpy as np"]
    for line in dict.fromkeys(line for kind in kinds for line in _READ[kind][0]):
        (standard if line.split()[1] in sys.stdlib_module_names else others).append(line)
    readers = _READERS.format(
        # Plain imports first, as sorters of imports have it.
        imports="\n\n".join(
            "\n".join(sorted(lines, key=lambda line: (line.startswith("from"), line)))
            for lines in (standard, others)
        ),
        readers="\n\n".join(_READ[kind][1] for kind in kinds),
        kinds=", ".join(f'"{kind}": {kind}' for kind in kinds),
    )
    return {
        "example.py": _EXAMPLE.format(usage=usage, package=package, engine=engine),
        "readers.py": readers,
    }


_EXAMPLE = '''\
"""Predict with the graphs of this folder, from any of the modalities:

    python example.py {usage}
"""

import numpy as np
import {package}
from readers import loaded, main


{engine}

def predict(cells, config):  # cells [1, ...] by name, of the modalities that are given, and export.json
    modalities = config["modalities"]
    inputs = {{"present": np.array([[m["name"] in cells for m in modalities]])}}
    for i, m in enumerate(modalities):
        inputs[f"features_{{i}}"] = np.zeros((1, m["features"]), np.float32)  # of what is absent: any numbers
        if m["name"] in cells:
            inputs[f"features_{{i}}"] = run(m["file"], cells=cells[m["name"]])[0]
    probabilities, weights, _ = run(config["fusion"]["file"], **inputs)
    answer = dict(zip(config["classes"], probabilities[0].tolist()))
    trust = {{m["name"]: w for m, w in zip(modalities, weights[0].tolist())}}
    return {{"probabilities": answer, "weights": trust}}


if __name__ == "__main__":
    main(predict, __doc__)
'''
_READERS = '''\
"""What the graphs take, made of files, texts and numbers as in the training."""

{imports}


def loaded(name, load):
    """Return what is made of a file beside this one; a ValueError says in a line what is wrong with it."""
    path = Path(__file__).parent / name
    if not path.is_file():
        raise ValueError(f"{{name}}: no such file in {{path.parent}}")
    try:
        return load(path)
    except Exception as error:
        raise ValueError(f"{{name}}: cannot be loaded, is it whole? ({{in_a_line(error)}})") from None


def in_a_line(error):
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(said.split()) or type(error).__name__


{readers}

READERS = {{{kinds}}}


def read(given, modalities):
    """Return cells [1, ...] by name of what is given by name; a ValueError says in a line what is wrong."""
    settings = {{m["name"]: dict(m["reader"]) for m in modalities}}
    if not given:
        raise ValueError(f"give one or more of {{', '.join(settings)}}, as in NAME=VALUE")
    cells = {{}}
    for name, value in given.items():
        if name not in settings or not isinstance(value, str) or not value.strip():
            raise ValueError(f"{{name}}={{value}}: write NAME=VALUE, NAME one of {{', '.join(settings)}}")
        try:
            cells[name] = READERS[settings[name].pop("name")](value, **settings[name])[None]
        except Exception as error:  # a file may be broken in many ways
            raise ValueError(f"{{name}}={{value}}: {{in_a_line(error)}}") from None
    return cells


def described(path):
    config = json.loads(path.read_text(encoding="utf-8"))
    if not {{"modalities", "classes", "fusion"}} <= {{*config}}:
        raise ValueError("it describes no export")
    return config


def named(arguments, names):
    """Return what NAME=VALUE arguments give by name."""
    given = {{}}
    for argument in arguments:
        # A name may have a "=" too.
        known = [name for name in names if argument.startswith(name + "=")]
        name = max(known, key=len, default=argument.partition("=")[0])
        if name in given:
            raise ValueError(f"{{argument}}: {{name}} is given twice")
        given[name] = argument[len(name) + 1 :]
    return given


def main(predict, usage):
    """Print what is predicted of the command line's arguments; a mistake is a line and exit code 2."""
    if {{"-h", "--help"}} & {{*sys.argv[1:]}}:
        print(usage.strip())
        return
    logging.disable()  # PyTorch logs a traceback of a file that it cannot load
    try:
        config = loaded("export.json", described)
        given = named(sys.argv[1:], [m["name"] for m in config["modalities"]])
        print(json.dumps(predict(read(given, config["modalities"]), config), indent=1))
    except Exception as mistake:  # those of engines have kinds of their own
        print(f"example.py: {{in_a_line(mistake)}}", file=sys.stderr)
        sys.exit(2)
'''
