"""Build the built-in ``emoji`` data: pictures, names and categories of about 1,760 emoji.

    python tools/build_emoji.py

Fetches two pinned npm packages with ``npm pack`` (node is needed here only, never by users):
``emoji-datasource-google`` (Noto pictures, categories) and ``emojibase-data`` (CLDR names).

The pictures are composited on white, since their modes are RGBA, LA and P, and keep their 64 x 64
pixels. Lossless in full colour they take 4.3 MB, and 3 MB are allowed; lossy WebP smears flat art
(34 dB at 2.6 MB). So each picture gets a palette of its own 192 colours and is stored as lossless
WebP: 2.6 MB, 54 dB. The table is the same on every run with the same packages and Pillow.
"""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PICTURES = "emoji-datasource-google@16.0.0"
NAMES = "emojibase-data@16.0.3"
OUT = Path(__file__).parents[1] / "altuna" / "data" / "emoji.parquet"
SPLITS = {"train": 0.60, "val": 0.15, "test": 0.25}
COUNTRY_FLAGS = 120
COLOURS = 192
MAX_BYTES = 3_000_000
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "split", "label", "group")]
    + [("image", pa.binary()), ("text", pa.string())]
)

_PERSON = re.compile(r"\b(?:woman and man|(?:wo)?m[ae]n|people|(?:fe)?male)\b")
_IRREGULAR = {
    "boy": "child",
    "girl": "child",
    "older person": "old",
    "merman": "merperson",
    "mermaid": "merperson",
    "prince": "person with crown",
    "princess": "person with crown",
    "Mrs. Claus": "Santa Claus",
    "Mx Claus": "Santa Claus",
}


def base_name(name: str) -> str:
    """Return the name that all variants of one emoji share.

    Variants differ in gender, hair, the members of a family or couple, the way a person faces, or
    the time on a clock face. "man singer" becomes "singer", "woman: red hair" becomes "person".
    """
    if re.fullmatch(r"\w+(?: o\Wclock|-thirty)", name):
        return "clock face"
    if name.startswith("keycap:"):
        return name
    name = name.split(":")[0].removesuffix(" facing right")
    name = _PERSON.sub("person", _IRREGULAR.get(name, name))
    return re.sub(r"\bperson\b ?", "", name).strip() or "person"


def encode(picture: bytes) -> bytes:
    """Return a picture on white, in its own ``COLOURS`` colours, as lossless WebP."""
    rgba = Image.open(io.BytesIO(picture)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    # Dither is noise to a codec and to a classifier.
    small = flat.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.convert("RGB").save(out, "WEBP", lossless=True, quality=100, method=6)
    return out.getvalue()


def merge(*keys: Sequence[str | bytes]) -> list[int]:
    """Return for each row the first row that it shares a key with, directly or through others."""
    parent = list(range(len(keys[0])))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for column in keys:
        first: dict[str | bytes, int] = {}
        for row, key in enumerate(column):
            a, b = sorted((find(row), find(first.setdefault(key, row))))
            parent[b] = a
    return [find(row) for row in range(len(parent))]


def assign_splits(labels: Sequence[str], groups: Sequence[str], seed: int) -> list[str]:
    """Deal whole groups to the splits, in the proportions ``SPLITS`` of every class.

    Large groups go first, each to the split that lacks the most rows of the class, so that single
    emoji even out the rest. A group of two classes counts for the class of its first row.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = list(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))

    sizes = Counter(labels)
    lacks = {label: {s: share * n for s, share in SPLITS.items()} for label, n in sizes.items()}
    splits = [""] * len(labels)
    for group in order:
        lack = lacks[labels[members[group][0]]]
        split = max(lack, key=lack.__getitem__)
        for row in members[group]:
            splits[row] = split
            lacks[labels[row]][split] -= 1
    return splits


def build(
    emoji: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    pictures: Mapping[str, bytes],
    seed: int = 0,
) -> tuple[pa.Table, int]:
    """Build the table.

    Args:
        emoji: Entries of emoji-datasource's ``emoji.json``, which nests skin tones inside them.
        names: CLDR name by code points, without the variation selector FE0F.
        pictures: Picture bytes by file name.
        seed: Chooses the country flags that stay, and the split.

    Returns:
        The table and the number of emoji skipped for want of a picture or a name.
    """
    listed = sorted(emoji, key=lambda e: int(e["sort_order"]))
    listed = [e for e in listed if e["category"] != "Component"]
    usable = [e for e in listed if e["image"] in pictures and plain(e["unified"]) in names]
    flags = [e["unified"] for e in usable if e["subcategory"] == "country-flag"]
    kept = set(random.Random(seed).sample(flags, min(COUNTRY_FLAGS, len(flags))))
    rows = [e for e in usable if e["subcategory"] != "country-flag" or e["unified"] in kept]

    texts = [names[plain(e["unified"])].removeprefix("flag:").strip() for e in rows]
    images = [encode(pictures[e["image"]]) for e in rows]
    # Equal pictures have equal encodings.
    bases = [base_name(text) for text in texts]
    groups = [bases[first] for first in merge(bases, images)]
    labels = [str(e["category"]) for e in rows]
    columns = [
        [str(e["unified"]) for e in rows],
        assign_splits(labels, groups, seed),
        labels,
        groups,
        images,
        texts,
    ]
    return pa.table(columns, schema=SCHEMA), len(listed) - len(usable)


def plain(code_points: str) -> str:
    """Drop the variation selector, which the two packages use differently."""
    return "-".join(c for c in code_points.split("-") if c != "FE0F")


def fetch(package: str, wanted: str, folder: Path) -> dict[str, bytes]:
    """Download an npm package into ``folder``; return its files whose path matches ``wanted``."""
    done = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True
    )
    files: dict[str, bytes] = {}
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content and re.fullmatch(wanted, member.name):
                files[member.name] = content.read()
    return files


def main() -> None:
    """Build the file, and print what is in it."""
    with tempfile.TemporaryDirectory() as tmp:
        source = fetch(PICTURES, r"package/(emoji\.json|img/google/64/.*\.png)", Path(tmp))
        cldr = fetch(NAMES, r"package/en/data\.json", Path(tmp))
    emoji = json.loads(source.pop("package/emoji.json"))
    names = {plain(e["hexcode"]): e["label"] for e in json.loads(cldr["package/en/data.json"])}
    pictures = {Path(path).name: content for path, content in source.items()}

    table, skipped = build(emoji, names, pictures)
    # Pictures do not compress twice, and min/max of a picture means nothing.
    text = [name for name in SCHEMA.names if name != "image"]
    pq.write_table(table, OUT, compression="zstd", use_dictionary=text, write_statistics=text)

    counts = Counter(zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True))
    for label in sorted(set(table["label"].to_pylist())):
        print(f"{label:20}" + "".join(f"{s:>8} {counts[label, s]:4}" for s in SPLITS))
    groups = len(set(table["group"].to_pylist()))
    size = OUT.stat().st_size
    print(f"{len(table)} emoji in {groups} groups, {skipped} skipped, {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"{OUT.name} is over {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
