"""AV-Digits: recordings of spoken digits (FSDD) paired with images of handwritten ones (MNIST).

3,000 recordings of 6 speakers, 8 kHz mono, 50 per digit and speaker; each is paired with a different image
of the 10,000 in the MNIST test set, 28 x 28 grey. Split by speaker. ``hard`` removes from the images the
principal components that carry 75 % of their variance, as AV-MNIST does (Vielzeuf et al.,
arXiv:1808.07275), so that neither modality is sufficient by itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from PIL import Image

from altuna.errors import UserError
from altuna.files import atomic_folder, atomic_write, write_csv

SPEAKERS = {
    "george": "train",
    "jackson": "train",
    "yweweler": "train",
    "lucas": "val",
    "nicolas": "test",
    "theo": "test",
}
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
SHA256 = {
    IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    # An archive may be packed again at any time, so this is the hash of the recordings: names and bytes.
    "recordings": "45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e",
}
REMOVED_VARIANCE = 0.75

Array = np.ndarray[Any, Any]


def prepare(
    out: Path,
    root: Path | None = None,
    *,
    hard: bool = False,
    download: bool = False,
    seed: int = 0,
) -> Path:
    """Write the images and the manifest of AV-Digits.

    Args:
        out: Folder of ``manifest.csv`` and ``images/``, created if it does not exist; or the manifest itself,
            ``NAME.csv``, with ``NAME-images/`` and ``NAME-raw/`` in the same folder.
        root: Folder of the raw files: ``recordings/*.wav`` and the two MNIST ``t10k`` files.
        hard: Remove the components that carry 75 % of the variance of the train images; see ``degrade``.
        download: Download the raw files that ``root`` (``raw/`` in ``out`` by default) lacks.
        seed: Random seed of the pairs of image and recording.

    Returns:
        The path of the manifest: id, split, label, group (the speaker), audio, image.

    Raises:
        UserError: A raw file is missing, damaged or cannot be downloaded, or there are too few images.
    """
    out = out.resolve()
    manifest, folder, raw = out / "manifest.csv", "images", "raw"
    if out.suffix == ".csv":
        manifest, folder, raw, out = out, f"{out.stem}-images", f"{out.stem}-raw", out.parent
    if root is None and not download:
        raise UserError("AV-Digits needs its raw files: give --root DIR or --download")
    root = (root or out / raw).resolve()
    if download:
        _download(root)

    recordings = _recordings(root)
    digits = np.array([int(path.name[0]) for path in recordings])
    splits = np.array([SPEAKERS[_speaker(path)] for path in recordings])
    images, labels = _read_idx(root / IMAGES), _read_idx(root / LABELS)
    pictures = images[_pair(digits, labels, np.random.default_rng(seed))]
    if hard:
        pictures = degrade(pictures, splits == "train")

    # If this is interrupted, an older manifest must not point to the new images.
    manifest.unlink(missing_ok=True)
    (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for path, split, picture in zip(recordings, splits, pictures, strict=True):
        image = f"{folder}/{path.stem}.png"
        Image.fromarray(picture).save(out / image)
        audio = path.relative_to(out) if path.is_relative_to(out) else path
        rows.append([path.stem, split, path.name[0], _speaker(path), audio.as_posix(), image])
    write_csv(manifest, [["id", "split", "label", "group", "audio", "image"], *rows])
    return manifest


def degrade(images: Array, train: Array) -> Array:
    """Remove the leading principal components of the train images from all images.

    Args:
        images: [N, H, W] uint8.
        train: [N] bool, the images to which the components and the scale are fitted.

    Returns:
        [N, H, W] uint8: ``x - mean`` without these components, mapped affinely so that the least and the
        greatest value in train become 0 and 255; values outside, in val and test, are clipped.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (6, 4, 4)).astype(np.uint8)
        >>> degraded = degrade(images, np.array([True] * 4 + [False] * 2))
        >>> degraded.shape, int(degraded[:4].min()), int(degraded[:4].max())
        ((6, 4, 4), 0, 255)
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat[train].mean(axis=0)
    variances, vectors = np.linalg.eigh(flat[train].T @ flat[train])
    shares = np.cumsum(variances[::-1]) / variances.sum()
    count = int(np.searchsorted(shares, REMOVED_VARIANCE)) + 1
    leading = vectors[:, ::-1][:, :count]
    rest = flat - flat @ leading @ leading.T
    low, high = rest[train].min(), rest[train].max()
    scaled: Array = (rest - low) * (255 / (high - low))
    return scaled.round().clip(0, 255).astype(np.uint8).reshape(images.shape)


def _pair(digits: Array, labels: Array, rng: np.random.Generator) -> Array:
    """Return the row of an image of its digit for each recording, none of them twice."""
    chosen = np.empty(len(digits), dtype=np.int64)
    for digit in np.unique(digits):
        rows, pool = np.flatnonzero(digits == digit), np.flatnonzero(labels == digit)
        if len(pool) < len(rows):
            raise UserError(f"{LABELS}: {len(pool)} images of {digit} for {len(rows)} recordings")
        chosen[rows] = rng.permutation(pool)[: len(rows)]
    return chosen


def _recordings(root: Path) -> list[Path]:
    """Return the recordings; each speaker has all digits equally often, so missing files are noticed."""
    for name in ("recordings", IMAGES, LABELS):
        if not (root / name).exists():
            raise UserError(f"{root} lacks {name}")
    found = {path.name for path in (root / "recordings").glob("*.wav")}
    pattern = re.compile(rf"\d_(?:{'|'.join(SPEAKERS)})_(\d+)\.wav")
    takes = [int(hit[1]) for name in found if (hit := pattern.fullmatch(name))]
    names = [
        f"{digit}_{speaker}_{take}.wav"
        for digit in range(10)
        for speaker in SPEAKERS
        for take in range(max(takes, default=0) + 1)
    ]
    absent = [name for name in names if name not in found]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UserError(f"{root} lacks recordings/{absent[0]}{more}")
    return [root / "recordings" / name for name in names]


def _speaker(path: Path) -> str:
    return path.stem.split("_")[1]


def _read_idx(path: Path) -> Array:
    """Read a gzipped IDX file of unsigned bytes: magic number, big-endian sizes, values."""
    try:
        raw = gzip.decompress(path.read_bytes())
        sizes = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + sizes.nbytes).reshape(sizes)
    except (OSError, EOFError, IndexError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _download(root: Path) -> None:
    """Download what ``root`` lacks; a file with a wrong checksum is not written."""
    root.mkdir(parents=True, exist_ok=True)
    for name in (IMAGES, LABELS):
        if not (root / name).exists():
            content = _get(MNIST + name)
            _check(MNIST + name, content, SHA256[name])
            with atomic_write(root / name) as unfinished:
                unfinished.write_bytes(content)
    if not (root / "recordings").exists():
        files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(_get(FSDD))) as archive:
            for member in archive:
                content_of = archive.extractfile(member)
                if content_of and re.fullmatch(r"[^/]+/recordings/[^/]+\.wav", member.name):
                    files[Path(member.name).name] = content_of.read()
        joined = b"".join(name.encode() + files[name] for name in sorted(files))
        _check(FSDD, joined, SHA256["recordings"])
        with atomic_folder(root / "recordings") as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)


def _get(url: str) -> bytes:
    try:
        with urlopen(url, timeout=60) as reply:
            return bytes(reply.read())
    except OSError as error:
        raise UserError(f"cannot download {url}: {error}") from error


def _check(url: str, content: bytes, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{url}: the checksum differs from the published file's")
