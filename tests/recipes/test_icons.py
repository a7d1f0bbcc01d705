"""Icons: families in one split, unusable icons reported, tags no modality."""

import io
import json
import sys
import tarfile
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from altuna.cli.main import main
from altuna.data.readers import READERS
from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.recipes.icons import SPLITS, deal
from altuna.recipes.prepare import prepare

pytest.importorskip("resvg_py", reason="icons need the extra 'icons'")
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'


def icon(name, base, tags, **more):
    return {"name": name, "baseIconId": base, "aliases": [], "tags": tags, "author": "x", **more}


def entries():
    """Return 12 families of 1 to 7 icons in each of two classes, and icons that cannot be used."""
    found = []
    for tag in ("Animal", "Tool"):
        for family in range(12):
            word = f"{tag.lower()}{family}"
            names = [word, *(f"{word}-{part}" for part in range(1 + family % 7))]
            found += [icon(name, f"{tag}-{family}", [tag, "Other"]) for name in names]
    found[0]["aliases"] = ["beast-of-prey"]
    found[-1]["name"] = "odd"  # another first word, but the same base
    return [
        *found,
        icon("plain", "p", []),
        icon("old", "o", ["Tool"], deprecated=True),
        icon("twin", "t", ["Tool"]),
        icon("lost", "l", ["Tool"]),
        icon("broken", "b", ["Tool"]),
        icon("rare", "r", ["Rare"]),
    ]


def write(root, entries):
    """Write the package: each drawing is another bar, but twin's is that of the first icon."""
    (root / "svg").mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps(entries))
    for number, entry in enumerate(entries):
        bar = 0 if entry["name"] == "twin" else number
        path = f'<path d="M{bar % 12},{bar // 12} h4 v9 h-4 Z" /></svg>'
        if entry["name"] != "lost":
            content = "<svg" if entry["name"] == "broken" else HEAD + path
            (root / "svg" / f"{entry['name']}.svg").write_text(content)
    return root


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "package", entries())


@pytest.fixture
def archive(root, tmp_path):
    with tarfile.open(tmp_path / "icons.tgz", "w:gz") as file:
        file.add(root, arcname="package")
    return tmp_path / "icons.tgz"


def test_manifest(root, tmp_path):
    report = prepare("icons", root, tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert {name: modality.type for name, modality in manifest.modalities.items()} == {
        "image": "image",
        "name": "text",
    }
    rows = pq.read_table(tmp_path / "m.parquet").to_pylist()
    good = [entry for entry in entries() if len(entry["tags"]) == 2]
    assert [row["id"] for row in rows] == [entry["name"] for entry in good]
    assert sum(report.counts.values()) == len(rows)
    assert rows[0]["name"] == "animal0; beast of prey"
    assert rows[0]["tags"] == ["Animal", "Other"]
    assert rows[0]["label"] == "Animal"
    assert [row["group"] for row in rows if row["id"] == "odd"] == ["odd"]
    picture = Image.open(io.BytesIO(rows[0]["image"]))
    assert (picture.size, picture.mode) == ((48, 48), "L")
    pixels = np.asarray(picture)
    assert (pixels[:18, :8] == 0).all()  # "M0,0 h4 v9" at twice the size: black on white
    assert (pixels[18:] == 255).all()
    assert READERS["image"](size=16).read(rows[0]["image"]).shape == (16, 16, 3)


def test_no_family_is_in_two_splits(root, tmp_path):
    report = prepare("icons", root, tmp_path / "m.parquet")
    rows = pq.read_table(tmp_path / "m.parquet").to_pylist()
    splits, groups = defaultdict(set), defaultdict(set)
    base = {entry["name"]: entry["baseIconId"] for entry in entries()}
    for row in rows:
        for key in (base[row["id"]], row["id"].split("-")[0]):
            splits[key].add(row["split"])
            groups[key].add(row["group"])
    assert all(len(found) == 1 for found in [*splits.values(), *groups.values()])
    assert report.leakage == "0 of 24 groups shared between splits"
    assert all(len(part) for part in split_rows(read_manifest(tmp_path / "m.parquet")).values())


def test_what_is_left_out_has_a_reason(root, tmp_path):
    report = prepare("icons", root, tmp_path / "m.parquet")
    reasons = {problem.id: problem.reason for problem in report.problems}
    assert {*reasons} == {"plain", "old", "twin", "lost", "broken", "rare"}
    assert reasons["plain"] == "has no tag"
    assert "deprecated" in reasons["old"]
    assert "same picture" in reasons["twin"]
    assert reasons["lost"] == "has no drawing"
    assert reasons["broken"].startswith("cannot be drawn: ")
    assert reasons["rare"] == "its class has fewer than 40 icons or 10 families"


def test_archive_and_folder_are_the_same(root, archive, tmp_path):
    for source, out in ((root, "a"), (root.parent, "b"), (archive, "c")):
        prepare("icons", source, tmp_path / f"{out}.parquet")
    a, b, c = (pq.read_table(tmp_path / f"{out}.parquet") for out in "abc")
    assert a.equals(b)
    assert a.equals(c)


def test_the_seed_decides_the_splits_only(root, tmp_path):
    for seed in (0, 1):
        prepare("icons", root, tmp_path / f"{seed}.parquet", seed=seed)
    one, two = (pq.read_table(tmp_path / f"{seed}.parquet") for seed in (0, 1))
    assert one.drop(["split"]).equals(two.drop(["split"]))
    assert not one["split"].equals(two["split"])


def test_deal_keeps_the_proportions_of_every_class():
    rng = np.random.default_rng(0)
    sizes = rng.geometric(0.2, 300).clip(max=30)
    families = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    labels = [str(int(family) % 4) for family in families]
    splits = deal(labels, families, 0)
    counts, totals = Counter(zip(labels, splits, strict=True)), Counter(labels)
    for label, total in totals.items():
        for split, share in SPLITS.items():
            assert abs(counts[label, split] - share * total) <= 5
    assert len({*zip(families, splits, strict=True)}) == len({*families})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "meta.json").unlink(), r"lacks meta\.json: must be the archive that 'npm pack"),
        (lambda root: (root / "meta.json").write_text('[{"name": "a"}]'), r"meta\.json, 0\.baseIconId: "),
        (lambda root: (root / "meta.json").write_text("["), r"meta\.json: Invalid JSON"),
        (
            lambda root: (root / "meta.json").write_text(json.dumps([icon("a", "b", ["c"])] * 2)),
            r"meta\.json: 'a' occurs twice",
        ),
        (
            lambda root: (root / "meta.json").write_text(json.dumps([icon("rare", "b", ["c"])])),
            "fewer than two classes have 40 icons of 10 families",
        ),
    ],
)
def test_another_folder_is_one_line(root, tmp_path, change, message):
    change(root)
    with pytest.raises(UserError, match=message):
        prepare("icons", root, tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("m.csv", ["--root", "package"], "the manifest of icons must be .parquet"),
        ("m.parquet", [], "--root, the folder of the release, is missing"),
        ("m.parquet", ["--root", "no.tgz"], "no.tgz: cannot be read: "),
        ("m.parquet", ["--root", "package", "--splits", "package"], "no published lists"),
    ],
)
def test_wrong_options(root, tmp_path, monkeypatch, capsys, out, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["altuna", "prepare", "icons", "--out", out, *options])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_the_extra(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"extra 'icons': pip install 'altuna\[icons\]'"):
        prepare("icons", root, tmp_path / "m.parquet")
