"""AV-Digits pairs, splits, degrades and downloads as documented."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
import struct
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import altuna
from altuna.errors import UserError
from altuna.recipes import av_digits
from altuna.recipes.av_digits import IMAGES, LABELS, degrade, prepare
from altuna.recipes.prepare import prepare as prepare_by_name
from altuna.training import fit as fitting

RELEASE = Path(__file__).parents[3] / "shared" / "data" / "av-digits"
SPLITS = {
    "train": {"george", "jackson", "yweweler"},
    "val": {"lucas"},
    "test": {"nicolas", "theo"},
}
TAKES = 3
Rows = list[dict[str, str]]


def write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


def raw_tree(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes a small release; returns its images (blobs: a few components hold most variance)."""
    rng = np.random.default_rng(0)
    (root / "recordings").mkdir(parents=True)
    for digit in range(10):
        for speaker in set().union(*SPLITS.values()):
            for take in range(TAKES):
                path = root / "recordings" / f"{digit}_{speaker}_{take}.wav"
                soundfile.write(path, rng.uniform(-0.5, 0.5, 80), 8000, subtype="PCM_16")
    labels = rng.permutation(np.repeat(np.arange(10), 25)).astype(np.uint8)
    patterns = rng.normal(0, 1, (12, 28 * 28)) * np.linspace(60, 5, 12)[:, None]
    values = 110 + rng.normal(0, 0.5, (len(labels), 12)) @ patterns + rng.normal(0, 4, (250, 784))
    images = values.clip(0, 255).astype(np.uint8).reshape(-1, 28, 28)
    write_idx(root / IMAGES, images)
    write_idx(root / LABELS, labels)
    return images, labels


def read(manifest: Path) -> tuple[Rows, np.ndarray]:
    rows = list(csv.DictReader(manifest.open()))
    return rows, np.array([Image.open(manifest.parent / row["image"]) for row in rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    raw_tree(tmp_path / "raw")
    return tmp_path / "raw"


def test_manifest(root: Path, tmp_path: Path) -> None:
    manifest = prepare(tmp_path / "out", root)
    assert manifest == tmp_path / "out" / "manifest.csv"
    rows, pictures = read(manifest)
    assert list(rows[0]) == ["id", "split", "label", "group", "audio", "image"]
    assert {row["id"] for row in rows} == {path.stem for path in root.glob("recordings/*.wav")}
    assert len(rows) == 10 * 6 * TAKES
    for row in rows:
        assert row["id"].split("_")[:2] == [row["label"], row["group"]]
        assert row["group"] in SPLITS[row["split"]]
        assert Path(row["audio"]) == root / "recordings" / f"{row['id']}.wav"
        assert not Path(row["image"]).is_absolute()
    assert {row["split"]: None for row in rows}.keys() == SPLITS.keys()
    assert pictures.shape == (len(rows), 28, 28)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.csv", "images"}


def test_every_image_is_of_the_digit_and_used_once(tmp_path: Path) -> None:
    images, labels = raw_tree(tmp_path / "raw")
    index = {image.tobytes(): number for number, image in enumerate(images)}
    rows, pictures = read(prepare(tmp_path / "out", tmp_path / "raw"))
    used = [index[picture.tobytes()] for picture in pictures]
    assert len(set(used)) == len(used)
    assert [str(labels[number]) for number in used] == [row["label"] for row in rows]


def test_the_seed_decides_the_pairs_only(root: Path, tmp_path: Path) -> None:
    results = [read(prepare(tmp_path / name, root, seed=s)) for name, s in (("a", 5), ("b", 5), ("c", 6))]
    (rows, one), (_, same), (other_rows, other) = results
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert rows == other_rows


def test_audio_inside_out_is_relative(tmp_path: Path) -> None:
    raw_tree(tmp_path / "out" / "raw")
    rows, _ = read(prepare(tmp_path / "out", tmp_path / "out" / "raw"))
    assert {row["audio"] for row in rows} == {f"raw/recordings/{row['id']}.wav" for row in rows}


def test_the_command_writes_a_manifest_of_any_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    out = tmp_path / "some" / "digits.csv"
    report = prepare_by_name("av-digits", root, out)
    rows, pictures = read(out)
    assert {path.name for path in out.parent.iterdir()} == {"digits.csv", "digits-images"}
    assert len(rows) == len(pictures) == sum(report.counts.values()) == 10 * 6 * TAKES
    assert report.counts["3", "test"] == 2 * TAKES
    assert report.leakage == "0 of 6 speakers shared between splits"
    with pytest.raises(UserError, match=r"must be \.csv"):
        prepare_by_name("av-digits", root, tmp_path / "m.parquet")
    with pytest.raises(UserError, match="--overwrite"):
        prepare_by_name("av-digits-hard", root, out)
    prepare_by_name("av-digits-hard", root, out, overwrite=True)
    assert (read(out)[1] != pictures).any()


def test_hard_removes_the_leading_components(root: Path, tmp_path: Path) -> None:
    rows, easy = read(prepare(tmp_path / "easy", root))
    hard_rows, hard = read(prepare(tmp_path / "hard", root, hard=True))
    assert rows == hard_rows
    train = np.array([row["split"] == "train" for row in rows])
    mean = easy[train].reshape(-1, 784).mean(axis=0)
    _, singular, components = np.linalg.svd(easy[train].reshape(-1, 784) - mean)
    shares = np.cumsum(singular**2) / (singular**2).sum()
    count = 1 + int((shares < 0.75).sum())
    assert 1 < count < 12

    was = (easy.reshape(-1, 784) - mean) @ components.T
    now = hard.reshape(-1, 784).astype(float) @ components.T
    assert now[train][:, :count].std(axis=0).max() < 0.02 * now[train][:, count].std()
    # The next component is whole: one affine map for all images and pixels.
    assert np.corrcoef(was[train][:, count], now[train][:, count])[0, 1] > 0.999
    scale = now[train].std(axis=0)[count] / was[train].std(axis=0)[count]
    left = hard[train].astype(float).var(axis=0).sum() / scale**2
    assert left / easy[train].astype(float).var(axis=0).sum() == pytest.approx(
        1 - shares[count - 1], abs=0.01
    )
    assert (hard[train].min(), hard[train].max()) == (0, 255)


def test_hard_is_fitted_on_train_and_clips_the_rest() -> None:
    rng = np.random.default_rng(0)
    # Dim train images, a bright test image: wrapped around instead of clipped it would be dark.
    images = rng.integers(0, 60, (40, 6, 6)).astype(np.uint8)
    train = np.arange(40) < 30
    before = degrade(images, train)
    images[39] = np.where(np.arange(36).reshape(6, 6) % 2, 255, 0)
    after = degrade(images, train)
    assert np.array_equal(after[:39], before[:39])
    assert (after[39] == 255).sum() > 12
    assert 0 in after[39]


def test_without_raw_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs its raw files: give --root DIR or --download"):
        prepare(tmp_path / "out")


@pytest.mark.parametrize("name", ["recordings", IMAGES, LABELS, "recordings/7_theo_2.wav"])
def test_an_absent_file_is_named(root: Path, tmp_path: Path, name: str) -> None:
    path = root / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=f"lacks {name}$"):
        prepare(tmp_path / "out", root)
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_damaged_images_are_named(root: Path, tmp_path: Path) -> None:
    (root / IMAGES).write_bytes((root / IMAGES).read_bytes()[:-500])
    with pytest.raises(UserError, match=f"{IMAGES} is damaged"):
        prepare(tmp_path / "out", root)


def test_too_few_images(root: Path, tmp_path: Path) -> None:
    write_idx(root / LABELS, np.full(250, 3, dtype=np.uint8))
    with pytest.raises(UserError, match=r"0 images of 0 for 18 recordings"):
        prepare(tmp_path / "out", root)


def test_a_run_cut_short_leaves_no_manifest(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = prepare(tmp_path / "out", root)
    save = Image.Image.save

    def full_disk(self: Image.Image, path: Path) -> None:
        if "theo_2" in path.name:
            raise OSError("no space left")
        save(self, path)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        prepare(tmp_path / "out", root, seed=1)
    assert not manifest.exists()


@pytest.fixture
def homes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the small release at file:// addresses, in place of the public ones."""
    with tarfile.open(tmp_path / "fsdd.tar.gz", "w:gz") as archive:
        archive.add(root / "recordings", arcname="fsdd-1.0/recordings")
        archive.add(root / LABELS, arcname="fsdd-1.0/other.wav")
    paths = sorted((root / "recordings").iterdir())
    joined = b"".join(path.name.encode() + path.read_bytes() for path in paths)
    sums = {name: hashlib.sha256((root / name).read_bytes()) for name in (IMAGES, LABELS)}
    sums["recordings"] = hashlib.sha256(joined)
    monkeypatch.setattr(av_digits, "SHA256", {name: s.hexdigest() for name, s in sums.items()})
    monkeypatch.setattr(av_digits, "MNIST", root.as_uri() + "/")
    monkeypatch.setattr(av_digits, "FSDD", (tmp_path / "fsdd.tar.gz").as_uri())
    return root


@pytest.mark.parametrize("option", [{"root": "."}, {"download": True}])
@pytest.mark.parametrize("call", [altuna.fit, fitting.cache])
def test_raw_files_of_other_data_are_refused(option: dict[str, Any], call: Callable[..., object]) -> None:
    (name,) = option
    with pytest.raises(UserError, match=f"^{name}: is for av-digits only, not for emoji$"):
        call("emoji", **option)


def test_download(homes: Path, tmp_path: Path) -> None:
    rows, pictures = read(prepare(tmp_path / "out", download=True))
    _, expected = read(prepare(tmp_path / "same", homes))
    assert np.array_equal(pictures, expected)
    assert len(rows) == 10 * 6 * TAKES
    raw = tmp_path / "out" / "raw"
    assert {path.name for path in raw.iterdir()} == {"recordings", IMAGES, LABELS}
    for row in rows:
        local = tmp_path / "out" / row["audio"]
        assert local.read_bytes() == (homes / "recordings" / local.name).read_bytes()
    # What is there is not fetched again.
    shutil.rmtree(homes)
    prepare(tmp_path / "out", download=True)


def test_download_into_root(homes: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "out", tmp_path / "mine", download=True)
    assert (tmp_path / "mine" / IMAGES).read_bytes() == (homes / IMAGES).read_bytes()


@pytest.mark.parametrize("name", [IMAGES, LABELS, "recordings"])
def test_a_wrong_checksum_is_not_kept(homes: Path, tmp_path: Path, name: str) -> None:
    av_digits.SHA256[name] = "0" * 64
    with pytest.raises(UserError, match="checksum"):
        prepare(tmp_path / "out", download=True)
    assert not (tmp_path / "out" / "raw" / name).exists()


def test_a_failed_download_names_the_address(homes: Path, tmp_path: Path) -> None:
    (homes / IMAGES).unlink()
    with pytest.raises(UserError, match=f"cannot download file:.*{IMAGES}"):
        prepare(tmp_path / "out", download=True)


@pytest.mark.slow
@pytest.mark.skipif(not RELEASE.exists(), reason="needs the raw release beside the repository")
def test_the_release(tmp_path: Path) -> None:
    for name in (IMAGES, LABELS):
        found = hashlib.sha256((RELEASE / name).read_bytes()).hexdigest()
        assert found == av_digits.SHA256[name]
    paths = sorted((RELEASE / "recordings").iterdir())
    joined = b"".join(path.name.encode() + path.read_bytes() for path in paths)
    assert hashlib.sha256(joined).hexdigest() == av_digits.SHA256["recordings"]

    rows, pictures = read(prepare(tmp_path, RELEASE))
    assert Counter(row["split"] for row in rows) == {"train": 1500, "val": 500, "test": 1000}
    assert len({picture.tobytes() for picture in pictures}) == 3000
    assert Counter(row["label"] for row in rows) == {str(digit): 300 for digit in range(10)}
    _, hard = read(prepare(tmp_path / "hard", RELEASE, hard=True))
    assert not np.array_equal(pictures, hard)


@pytest.mark.slow
def test_a_comparison_gives_the_raw_files_to_those_data_that_have_some(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("label,a\n" + "".join(f"{'xy'[i % 2]},{i % 2 + i / 100}\n" for i in range(60)))
    common: dict[str, Any] = {"methods": "late_fusion", "seeds": 1, "root": root, "quiet": True}
    common |= {"epochs": 1, "budget": "epochs", "store": tmp_path / "store"}
    out = altuna.compare([str(other), "av-digits"], out=tmp_path / "both", **common)
    assert {run["status"] for run in json.loads((out / "compare.json").read_text())["runs"]} == {"finished"}
    with pytest.raises(UserError, match=f"^root: is for av-digits only, not for {other}$"):
        altuna.compare([str(other)], out=tmp_path / "one", **common)
