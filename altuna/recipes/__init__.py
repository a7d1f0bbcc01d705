"""Data by name: what is built in, and what ``altuna prepare`` makes of a public release."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from altuna.errors import UserError
from altuna.files import atomic_folder
from altuna.options import nearest
from altuna.reporting import SILENT, Reporter

if TYPE_CHECKING:  # the command line shows the names without what it takes to read data
    from altuna.recipes.release import Recipe, Report

# Part of where built-in data lie: raise it when a recipe makes something else of the same files.
VERSION = 1
NAMES = ("emoji", "htad", "av-digits", "av-digits-hard")
RELEASES = ("cremad", "kinetics-sounds", "food101", "mvsa", "iemocap", "av-digits", "av-digits-hard")


def prepare(
    name: str,
    root: Path | None,
    out: Path,
    *,
    splits: Path | None = None,
    seed: int = 0,
    download: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Report:
    """Write the manifest of a public release; see ``altuna.recipes.release.prepare``.

    Args:
        name: One of ``RELEASES``.
        root: Folder of the release; av-digits can do without, given ``download``.
        out: The manifest, ``.csv`` or ``.parquet``.
        splits: Folder of the authors' lists.
        seed: Of the splits; of av-digits, which image goes with which recording.
        download: Fetch what the root lacks, for av-digits.
        overwrite: Replace a manifest that is there.
        reporter: Reports the checking of the cells.

    Raises:
        UserError: No such release, or something about it or the options is wrong.
    """
    from altuna.recipes import release

    if name not in RELEASES:
        raise UserError(f"{name}: no recipe of that name{nearest(name, RELEASES)}")
    if name.startswith("av-digits"):
        return _prepare_digits(name, root, out, splits, seed, download, overwrite)
    if download:
        raise UserError(
            f"{name}: --download is for av-digits; the others' terms want you to fetch them yourself"
        )
    if root is None:
        raise UserError(f"{name}: --root is missing, the folder of the release")
    recipe: Recipe = import_module(f"altuna.recipes.{name.replace('-', '_')}").RECIPE
    return release.prepare(
        recipe, root, out, splits=splits, seed=seed, overwrite=overwrite, reporter=reporter
    )


def _prepare_digits(
    name: str, root: Path | None, out: Path, splits: Path | None, seed: int, download: bool, overwrite: bool
) -> Report:
    from altuna.recipes import av_digits, release

    if splits:
        raise UserError(f"{name}: there are no published lists; it is split by speaker")
    if out.suffix != ".csv":
        raise UserError(f"{out}: the manifest of {name} must be .csv")
    release.check_out(out, overwrite)
    av_digits.prepare(out, root, hard=name.endswith("hard"), download=download, seed=seed)
    with out.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    counts = Counter((row["label"], row["split"]) for row in rows)
    leakage = release.shared("speaker", ((row["group"], row["split"]) for row in rows))
    return release.Report(name, out, counts, (), None, leakage)


def find_manifest(data: str, root: Path | None = None, *, download: bool = False) -> Path:
    """Return the manifest of built-in data, made on first use, or the path or ``hf:`` name given.

    Args:
        data: ``emoji``, ``htad``, ``av-digits``, ``av-digits-hard``, a manifest's path, the folder of a
            data set saved to disk, or ``hf:NAME[:CONFIG]``.
        root: Folder of the raw files, for ``av-digits``.
        download: Fetch the raw files if there is no root.

    Raises:
        UserError: No such data.
    """
    from altuna.data.table import hf
    from altuna.files import cache_folder

    if data == "emoji":
        return Path(__file__).parent.parent / "data" / "emoji.parquet"
    made = cache_folder() / f"data-{VERSION}"
    if data == "htad":
        from altuna.recipes import htad

        return _once(made / data, htad.prepare)
    if data in ("av-digits", "av-digits-hard"):
        from altuna.recipes import av_digits

        raw = made / "av-digits-raw"
        if root is None and (download or raw.exists()):
            root = raw
        key = hashlib.sha256(str(root and root.absolute()).encode()).hexdigest()[:12]
        prepare = partial(av_digits.prepare, root=root, hard=data.endswith("hard"), download=download)
        return _once(made / f"{data}-{key}", prepare)
    path = Path(data)
    if not path.exists() and not path.suffix and not data.startswith(hf.PREFIX):
        raise UserError(f"{data}: no such file, and no data of that name{nearest(data, NAMES)}")
    return path


def _once(folder: Path, prepare: Callable[[Path], object]) -> Path:
    """Return the manifest in ``folder``, which ``prepare`` fills if it is not there yet."""
    if not folder.exists():
        with atomic_folder(folder) as unfinished:
            prepare(unfinished)
    return folder / "manifest.csv"
