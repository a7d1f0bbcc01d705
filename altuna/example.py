"""The script that ``altuna export`` writes beside its graphs: it predicts, without this package."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from altuna.data.readers import Reader
from altuna.data.readers.text import NGRAMS

Format = Literal["onnx", "torch-export"]

_ENGINES: dict[str, tuple[str, str]] = {
    "onnx": (
        "onnxruntime",
        """\
def run(file, **inputs):
    return onnxruntime.InferenceSession(str(HERE / file)).run(None, inputs)
""",
    ),
    "torch-export": (
        "torch",
        """\
def run(file, **inputs):
    found = torch.export.load(HERE / file).module()(*map(torch.from_numpy, inputs.values()))
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
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))
""",
    ),
    "video": (
        (),
        """\
def video(path, frames, size):  # a .npy file: evenly spaced frames of a clip, uint8 [frames, size, size, 3]
    return np.load(path)
""",
    ),
    "audio": (
        ("import soundfile",),
        """\
def audio(path, rate, seconds):  # mono, cut to its first seconds or padded with silence
    wave, found = soundfile.read(path, dtype="float32", always_2d=True)
    if found != rate:
        sys.exit(f"{path}: has {found} samples a second; resample it to {rate} first")
    cell, wave = np.zeros(max(1, round(rate * seconds)), np.int16), wave.mean(1)
    wave = np.rint(wave[: len(cell)] * 32768).clip(-32768, 32767)
    cell[: len(wave)] = wave
    return cell
""",
    ),
    "text": (
        ("import re", "import unicodedata"),
        f"""\
def text(value, vocabulary, length):  # numbers of its words and their character n-grams, 1 if none is known
    number = {{token: i + 2 for i, token in enumerate(vocabulary)}}
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
    tokenizer = Tokenizer.from_file(str(HERE / tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    numbers = tokenizer.encode(value).ids
    if len(numbers) > length:  # keep the last one if it marks the end
        numbers = [*numbers[: length - 1], numbers[-1] if tokenizer.post_processor else numbers[length - 1]]
    return np.array(numbers, np.int32) + 1
""",
    ),
    "vector": (
        (),
        """\
def vector(value, size):  # numbers with commas between; an empty one is missing
    return np.array([float(number.strip() or "nan") for number in value.split(",")], np.float32)
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


def script(format: str, modalities: Sequence[tuple[str, Reader]]) -> str:
    """Return the source of the script for the modalities, names and readers, of an export."""
    package, engine = _ENGINES[format]
    kinds = [*dict.fromkeys(reader.name for _, reader in modalities)]
    imports = ["import json", "import sys", "from pathlib import Path"]
    own = [line for kind in kinds for line in _READ[kind][0]]
    standard = sorted({*imports, *(line for line in own if line.split()[1] in ("re", "unicodedata"))})
    others = sorted(
        {"import numpy as np", f"import {package}", *(line for line in own if line not in standard)}
    )
    # Plain imports first, as sorters of imports have it.
    ordered = [
        sorted(lines, key=lambda line: (line.startswith("from"), line)) for lines in (standard, others)
    ]
    given = " ".join(shlex.quote(f"{name}={_SHOWN[reader.name]}") for name, reader in modalities)
    readers = "\n\n".join(_READ[kind][1] for kind in kinds)
    return _SCRIPT.format(
        # In a docstring, which a name can neither end nor break.
        usage=given.replace('"""', "'''").replace("\\", "/"),
        standard="\n".join(ordered[0]),
        others="\n".join(ordered[1]),
        engine=engine,
        readers=readers,
        read=", ".join(f'"{kind}": {kind}' for kind in kinds),
    )


_SCRIPT = '''\
"""Predict with the graphs of this folder, from any of the modalities:

    python example.py {usage}
"""

{standard}

{others}

HERE = Path(__file__).parent


{engine}

{readers}

READ = {{{read}}}
config = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
given = {{name: value for name, _, value in (argument.partition("=") for argument in sys.argv[1:])}}
names = [m["name"] for m in config["modalities"]]
if not given or set(given) - set(names) or "" in given.values():
    sys.exit(f"give one or more of {{', '.join(names)}}, as in NAME=VALUE")
inputs = {{"present": np.array([[name in given for name in names]])}}
for i, m in enumerate(config["modalities"]):
    features = np.zeros((1, m["features"]), np.float32)  # of what is absent: any numbers
    if m["name"] in given:
        settings = dict(m["reader"])
        cell = READ[settings.pop("name")](given[m["name"]], **settings)
        features = run(m["file"], cells=cell[None])[0]
    inputs[f"features_{{i}}"] = features
probabilities, weights, _ = run(config["fusion"]["file"], **inputs)
answer = dict(zip(config["classes"], probabilities[0].tolist()))
print(json.dumps({{"probabilities": answer, "weights": dict(zip(names, weights[0].tolist()))}}, indent=1))
'''
