"""Find the manifest of built-in data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from altuna.data.table import hf
from altuna.errors import UserError
from altuna.files import atomic_folder, cache_folder
from altuna.options import nearest
from altuna.recipes import NAMES, av_digits, digits_views, htad, watch

# What packages from PyPI carry: written by a function of the folder.
PACKAGED: dict[str, Callable[[Path], Path]] = {
    "htad": htad.prepare,
    "htad-sessions": htad.prepare_sessions,
    "watch": watch.prepare,
    "watch-series": watch.prepare_series,
    "digits-views": digits_views.prepare,
}

# Part of the folder of built-in data: raise it when a recipe writes something else for the same files.
VERSION = 1


def find_manifest(data: str, root: Path | None = None, *, download: bool = False) -> Path:
    """Return the manifest of built-in data, written on first use, or else ``data`` itself as a path.

    Args:
        data: One of ``NAMES``, the path of a manifest, the folder of a data set saved to disk, or
            ``hf:NAME[:CONFIG]``.
        root: Folder of the raw files of ``av-digits``.
        download: Download the raw files if there is no root.

    Raises:
        UserError: There is no such file, and no built-in data of that name.

    Example:
        >>> find_manifest("emoji").name
        'emoji.parquet'
    """
    if data == "emoji":
        return Path(__file__).parent.parent / "data" / "emoji.parquet"
    made = cache_folder() / f"data-{VERSION}"
    if data in PACKAGED:
        return _once(made / data, PACKAGED[data])
    if data in ("av-digits", "av-digits-hard"):
        raw = made / "av-digits-raw"
        if root is None and (download or raw.exists()):
            root = raw
        key = hashlib.sha256(str(root and root.absolute()).encode()).hexdigest()[:12]
        prepare = partial(av_digits.prepare, root=root, hard=data.endswith("hard"), download=download)
        return _once(made / f"{data}-{key}", prepare)
    path = Path(data)
    if not path.exists() and not path.suffix and not data.startswith(hf.PREFIX):
        raise UserError(f"{data}: no such file, and no built-in data of that name{nearest(data, NAMES)}")
    return path


def _once(folder: Path, prepare: Callable[[Path], object]) -> Path:
    """Return the manifest in ``folder``, which ``prepare`` fills if it does not exist yet."""
    if not folder.exists():
        with atomic_folder(folder) as unfinished:
            prepare(unfinished)
    return next(folder.glob("manifest.*"))
