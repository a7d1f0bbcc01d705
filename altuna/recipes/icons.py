"""Icons: pictures, names and tags of the Material Design Icons (npm package ``@mdi/svg``, Pictogrammers).

The package is under Apache 2.0. Each icon is drawn in grey at 48 x 48 pixels; its class is its first tag.
Variants (``account``, ``account-plus``, ``account-outline``) look alike and share words. Therefore icons with
the same base icon, or the same first word in their names, are one family, and no family is in two splits.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from altuna.errors import UserError
from altuna.recipes.release import Problems

ARCHIVE = "the archive that 'npm pack @mdi/svg' writes, or its content"
SPLITS = {"train": 0.45, "val": 0.15, "test": 0.40}  # a comparison of methods needs many test rows
MIN_ICONS, MIN_FAMILIES = 40, 10  # of a class
SIZE = 48
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "split", "label", "group")]
    # A column of lists of texts is never a modality unless it is asked for; the tags include the label.
    + [("image", pa.binary()), ("name", pa.string()), ("tags", pa.list_(pa.string()))]
)


class Icon(BaseModel):
    """An entry of the package's ``meta.json``."""

    name: str
    baseIconId: str  # noqa: N815  the key of the file
    aliases: list[str]
    tags: list[str]
    deprecated: bool = False

    @property
    def word(self) -> str:
        """Return the first word of its name."""
        return self.name.split("-")[0]

    @property
    def text(self) -> str:
        """Return its name and aliases, in words."""
        return "; ".join(name.replace("-", " ") for name in (self.name, *self.aliases))


def build(root: Path, problems: Problems, seed: int = 0) -> pa.Table:
    """Build the table of icons.

    Args:
        root: The archive that ``npm pack @mdi/svg`` writes, or a folder with its content.
        problems: Gets the icons that are left out, each with the reason.
        seed: Random seed of the splits; see ``deal``.

    Returns:
        A table with the columns of ``SCHEMA``: ``image`` is a PNG, ``name`` has the name and the aliases,
        ``tags`` all tags.

    Raises:
        UserError: The root is something else, or the extra ``icons`` is not installed.
    """
    drawn = [*_draw(*_read(root), problems)]
    kept = [*_of_large_classes(drawn, problems)]
    tags = [icon.tags[0] for icon, _, _ in kept]
    if len({*tags}) < 2:
        raise UserError(f"{root}: fewer than two classes have {MIN_ICONS} icons of {MIN_FAMILIES} families")
    splits = deal(tags, [family for _, family, _ in kept], seed)
    rows = [
        (icon.name, split, icon.tags[0], family, picture, icon.text, icon.tags)
        for (icon, family, picture), split in zip(kept, splits, strict=True)
    ]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def find_families(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Return the family of each icon: those that share a base or a first word, directly or through others.

    Args:
        keys: Per icon its base and the first word of its name.

    Returns:
        Per icon the first of all words of its family, in alphabetical order.

    Example:
        >>> find_families([("1", "home"), ("1", "house"), ("2", "house"), ("3", "owl")])
        ['home', 'home', 'home', 'owl']
    """
    parent: dict[str, str] = {}

    def find(word: str) -> str:
        while parent.setdefault(word, word) != word:
            word = parent[word]
        return word

    word_of: dict[str, str] = {}
    for base, word in keys:
        low, high = sorted((find(word), find(word_of.setdefault(base, word))))
        parent[high] = low
    return [find(word) for _, word in keys]


def deal(labels: Sequence[str], families: Sequence[str], seed: int) -> list[str]:
    """Return the split of each icon: whole families, in the proportions ``SPLITS`` of every class.

    Large families go first, each to the split that lacks the most of its classes, so that the small ones even
    out the rest. (``carve``, which takes families in random order, leaves classes without val here.)

    Example:
        >>> deal(["bird"] * 20, [*"aaaaaaaaabbbccdefghi"], seed=0).count("train")
        9
    """
    label, family = (np.unique(values, return_inverse=True)[1] for values in (labels, families))
    sizes = np.zeros((family.max() + 1, label.max() + 1))  # [families, classes]
    np.add.at(sizes, (family, label), 1)
    lack = np.outer([*SPLITS.values()], sizes.sum(axis=0))  # [splits, classes]
    order = np.random.default_rng(seed).permutation(len(sizes))
    split = np.empty(len(sizes), dtype=np.int64)
    for number in order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]:
        split[number] = (lack @ sizes[number]).argmax()
        lack[split[number]] -= sizes[number]
    return [[*SPLITS][number] for number in split[family]]


def _draw(
    icons: Sequence[Icon], drawings: Mapping[str, str], problems: Problems
) -> Iterator[tuple[Icon, str, bytes]]:
    """Yield the icons that can be used, with family and picture; report the others."""
    draw = _renderer()
    seen = set()
    families = find_families([(icon.baseIconId, icon.word) for icon in icons])
    for icon, family in zip(icons, families, strict=True):
        if not icon.tags:
            problems.left_out(icon.name, "has no tag")
        elif icon.deprecated:
            problems.left_out(icon.name, "is marked as deprecated (mostly logos of brands)")
        elif icon.name not in drawings:
            problems.left_out(icon.name, "has no drawing")
        else:
            try:
                picture = draw(drawings[icon.name])
            except ValueError as error:
                problems.left_out(icon.name, f"cannot be drawn: {error}")
                continue
            if picture in seen:
                problems.left_out(icon.name, "has the same picture as another icon")
                continue
            seen.add(picture)
            yield icon, family, picture


def _of_large_classes(
    drawn: Sequence[tuple[Icon, str, bytes]], problems: Problems
) -> Iterator[tuple[Icon, str, bytes]]:
    """Yield the icons whose class has ``MIN_ICONS`` and ``MIN_FAMILIES``; report the others."""
    sizes = Counter(icon.tags[0] for icon, _, _ in drawn)
    families = Counter(tag for tag, _ in {(icon.tags[0], family) for icon, family, _ in drawn})
    for icon, family, picture in drawn:
        tag = icon.tags[0]
        if sizes[tag] >= MIN_ICONS and families[tag] >= MIN_FAMILIES:
            yield icon, family, picture
        else:
            few = f"its class has fewer than {MIN_ICONS} icons or {MIN_FAMILIES} families"
            problems.left_out(icon.name, few)


def _read(root: Path) -> tuple[list[Icon], dict[str, str]]:
    """Return the icons, and their drawings (SVG) by name."""
    files = _files(root)
    if "meta.json" not in files:
        raise UserError(f"{root}: lacks meta.json: must be {ARCHIVE}")
    try:
        icons = TypeAdapter(list[Icon]).validate_json(files.pop("meta.json"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{root}, meta.json{where and f', {where}'}: {first['msg']}") from None
    names = Counter(icon.name for icon in icons)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise UserError(f"{root}, meta.json: {repeated[0]!r} occurs twice")
    return icons, {Path(name).stem: content.decode(errors="replace") for name, content in files.items()}


def _files(root: Path) -> dict[str, bytes]:
    """Return ``meta.json`` and the ``svg/*.svg`` of the package, by their paths in it."""
    wanted = re.compile(r"(?:package/)?(meta\.json|svg/[^/]+\.svg)")
    if root.is_dir():
        paths = [*root.rglob("meta.json"), *root.rglob("*.svg")]
        found = {path.relative_to(root).as_posix(): path for path in paths}
        return {hit[1]: path.read_bytes() for name, path in found.items() if (hit := wanted.fullmatch(name))}
    files = {}
    try:
        with tarfile.open(root) as archive:
            for member in archive:
                if (hit := wanted.fullmatch(member.name)) and (content := archive.extractfile(member)):
                    files[hit[1]] = content.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{root}: cannot be read: {error}: must be {ARCHIVE}") from None
    return files


def _renderer() -> Callable[[str], bytes]:
    """Return a function that draws an SVG in black on white and returns it as a grey PNG."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise UserError("icons need the extra 'icons': pip install 'altuna[icons]'") from error

    def draw(svg: str) -> bytes:
        png = svg_to_bytes(svg, background="white", width=SIZE, height=SIZE, skip_system_fonts=True)
        out = io.BytesIO()
        Image.open(io.BytesIO(bytes(png))).convert("L").save(out, "PNG")
        return out.getvalue()

    return draw
