"""Write the manifest of a public release, with a report of missing and corrupt files."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from altuna.data.readers import READERS, BadCellError
from altuna.data.table.splits import TEST_SHARE, VAL_SHARE, carve
from altuna.errors import UserError
from altuna.files import atomic_write, write_csv
from altuna.options import nearest
from altuna.recipes import RELEASES, av_digits, icons
from altuna.recipes.lists import apply_lists, read_lists
from altuna.recipes.release import Problem, Problems, Recipe, Sample
from altuna.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Report:
    """What was prepared.

    ``counts`` has the number of samples by (label, split); ``leakage`` is a sentence on how many groups have
    samples in more than one split.
    """

    title: str
    out: Path
    counts: Mapping[tuple[str, str], int]
    problems: Sequence[Problem]
    problems_file: Path | None
    leakage: str


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
    """Write the manifest of a public release by its name; see ``prepare_release``.

    Args:
        name: One of ``RELEASES``.
        root: Folder of the release; not needed for av-digits with ``download``.
        out: The manifest, ``.csv`` or ``.parquet``.
        splits: Folder of the authors' lists.
        seed: Random seed of the splits; for av-digits, of the pairs of image and recording.
        download: Download what the root lacks (av-digits only).
        overwrite: Replace an existing manifest.
        reporter: Reports progress.

    Raises:
        UserError: Unknown release, or a wrong option, or a mistake in the release; see ``prepare_release``.
    """
    if name not in RELEASES:
        raise UserError(f"{name}: there is no recipe with this name{nearest(name, RELEASES)}")
    if name.startswith("av-digits"):
        return _prepare_digits(name, root, out, splits, seed, download, overwrite)
    if name == "icons" and splits:
        raise UserError(f"{name}: has no published lists; it is split by groups of similar icons")
    if download:
        raise UserError(
            f"{name}: --download works for av-digits only; download this release yourself, under its terms"
        )
    if root is None:
        raise UserError(f"{name}: --root, the folder of the release, is missing")
    if name == "icons":
        return _prepare_icons(root, out, seed, overwrite)
    recipe: Recipe = import_module(f"altuna.recipes.{name.replace('-', '_')}").RECIPE
    return prepare_release(
        recipe, root, out, splits=splits, seed=seed, overwrite=overwrite, reporter=reporter
    )


def prepare_release(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    splits: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Report:
    """Write the manifest of a release, and its problems to ``<name>.problems.csv`` in the same folder.

    Media files are checked by their headers, without decoding them. A cell that cannot be read is left empty;
    a sample with no cell left, or without a label, is left out. Paths below the manifest's folder are written
    relative to it, others as absolute paths.

    Args:
        recipe: Knows how the release lies on disk.
        root: Folder of the release.
        out: The manifest, ``.csv`` or ``.parquet``.
        splits: Folder of the authors' lists: their splits are used, and only samples in a list are kept.
        seed: Random seed of the splits that the release and the lists leave open: 60/15/25, or 15 % of train
            as val, stratified by label, without dividing a group.
        overwrite: Replace an existing manifest.
        reporter: Reports progress.

    Raises:
        UserError: The manifest exists already or cannot be written, the folder is not such a release, there
            are no lists for it, or no sample is left.
    """
    root, out = Path(os.path.abspath(root)), Path(os.path.abspath(out))
    check_out(out, overwrite)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    problems = Problems(root)
    listed = read_lists(recipe, splits, problems) if splits else {}
    samples = [*_usable(recipe.read(root, problems), problems)]
    if splits:
        samples = [*apply_lists(samples, listed, recipe, problems)]
    samples = _without_bad_cells(samples, recipe, problems, reporter)
    if not splits:
        samples = _split(samples, recipe, problems, seed)
    if not samples:
        reasons = Counter(problem.reason for problem in problems.found if problem.kind != "note")
        why = "".join(f"; most often: {reason}" for reason, _ in reasons.most_common(1))
        raise UserError(f"{root}: contains no sample of {recipe.title}{why}")
    for split in {"train", "test"} - {sample.split for sample in samples}:
        problems.note(f"no sample is in {split}")
    leakage = leakage_of(recipe, ((s.id, s.split) for s in samples))
    in_lists = leakage_of(recipe, ((id, split) for id, (split, _) in listed.items()))
    if splits and in_lists != leakage:
        leakage = f"{in_lists} in the lists; in this manifest {leakage}"
    _write(out, samples, recipe)
    counts = Counter((sample.label, sample.split) for sample in samples)
    return _report(recipe.title, out, counts, problems, leakage)


def _report(
    title: str, out: Path, counts: Mapping[tuple[str, str], int], problems: Problems, leakage: str
) -> Report:
    """Write the problems to ``<name>.problems.csv`` in the folder of the manifest; return the report."""
    found, problems_file = sorted({*problems.found}), out.with_suffix(".problems.csv")
    write_csv(problems_file, [Problem._fields, *found])
    return Report(title, out, counts, found, problems_file, leakage)


def _prepare_icons(root: Path, out: Path, seed: int, overwrite: bool) -> Report:
    if out.suffix != ".parquet":
        raise UserError(f"{out}: the manifest of icons must be .parquet, which holds the pictures too")
    out = Path(os.path.abspath(out))
    check_out(out, overwrite)
    problems = Problems(root)
    table = icons.build(root, problems, seed)
    with atomic_write(out) as unfinished:
        pyarrow.parquet.write_table(table, unfinished)
    labels, splits, groups = (table[name].to_pylist() for name in ("label", "split", "group"))
    counts = Counter(zip(labels, splits, strict=True))
    return _report("icons", out, counts, problems, shared_groups("group", zip(groups, splits, strict=True)))


def _prepare_digits(
    name: str, root: Path | None, out: Path, splits: Path | None, seed: int, download: bool, overwrite: bool
) -> Report:
    if splits:
        raise UserError(f"{name}: has no published lists; it is split by speaker")
    if out.suffix != ".csv":
        raise UserError(f"{out}: the manifest of {name} must be .csv")
    check_out(out, overwrite)
    av_digits.prepare(out, root, hard=name.endswith("hard"), download=download, seed=seed)
    with out.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    counts = Counter((row["label"], row["split"]) for row in rows)
    leakage = shared_groups("speaker", ((row["group"], row["split"]) for row in rows))
    return Report(name, out, counts, (), None, leakage)


def check_out(out: Path, overwrite: bool) -> None:
    """Raise UserError unless a manifest can be written there."""
    if out.suffix not in (".csv", ".parquet"):
        raise UserError(f"{out}: the manifest must be .csv or .parquet")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    if out.is_dir():
        raise UserError(f"{out}: is a folder")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: already exists; use --overwrite to replace it")


def leakage_of(recipe: Recipe, splits: Iterable[tuple[str, str]]) -> str:
    """Return a sentence on how many of a recipe's groups are in more than one split, given (id, split)."""
    if not recipe.group:
        return "none known: no sample belongs to a group"
    return shared_groups(recipe.group, ((recipe.group_of(id), split) for id, split in splits))


def shared_groups(group: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a sentence on how many groups are in more than one split, given (group, split).

    Example:
        >>> shared_groups("actor", [("1001", "train"), ("1001", "test"), ("1002", "test")])
        '1 of 2 actors shared between splits'
    """
    counts = Counter(name for name, _ in {*pairs})
    return f"{sum(n > 1 for n in counts.values())} of {len(counts)} {group}s shared between splits"


def _usable(samples: Iterable[Sample], problems: Problems) -> Iterator[Sample]:
    """Yield the samples that have a unique id and a cell."""
    seen = set()
    for sample in samples:
        if sample.id in seen:
            problems.left_out(sample.id, f"its id occurs twice; this one is labelled {sample.label}")
        elif not any(sample.cells.values()):
            problems.left_out(sample.id, "has no file")
        else:
            seen.add(sample.id)
            yield sample


def _without_bad_cells(
    samples: Sequence[Sample], recipe: Recipe, problems: Problems, reporter: Reporter
) -> list[Sample]:
    """Empty the cells that cannot be read; return the samples that have a cell left."""
    kept = []
    with ThreadPoolExecutor() as pool, reporter.cells(f"checking {recipe.title}", len(samples)) as advance:
        for sample, faults in zip(samples, pool.map(lambda s: _faults(s, recipe), samples), strict=True):
            cells = dict(sample.cells)
            for column, (kind, reason) in faults.items():
                cell = sample.cells.get(column)
                file = cell if isinstance(cell, Path) else None
                if kind == "note":
                    problems.note(reason, file, id=sample.id)
                else:
                    problems.missing(sample.id, column, reason, file)
                    cells[column] = None
            if any(cells.values()):
                kept.append(replace(sample, cells=cells))
            else:
                problems.left_out(sample.id, "none of its cells can be read")
            advance(1, len(faults))
    return kept


def _faults(sample: Sample, recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Return what is wrong with a sample's cells: column to (kind of problem, reason)."""
    faults = {}
    for column, kind in recipe.types.items():
        notes: list[str] = []
        try:
            if (cell := sample.cells.get(column)) is None:
                raise BadCellError(f"has no {column}")
            str(cell).encode()
            READERS[kind].look(cell, notes.append)
        except BadCellError as error:
            faults[column] = "missing", " ".join(str(error).split())
        except UnicodeEncodeError:
            faults[column] = "missing", "the name of the file is not UTF-8"
        except Exception as error:  # an unexpected error of a library about one file must not stop the others
            faults[column] = "missing", " ".join(f"{type(error).__name__}: {error}".split())
        else:
            if notes:
                faults[column] = "note", "; ".join(notes)
    return faults


def _split(samples: Sequence[Sample], recipe: Recipe, problems: Problems, seed: int) -> list[Sample]:
    """Return the samples with splits: those of the release, or else carved out at random."""
    group = [recipe.group_of(sample.id) for sample in samples]
    tested = {g for g, sample in zip(group, samples, strict=True) if sample.split == "test"}
    kept = []
    for g, sample in zip(group, samples, strict=True):
        if recipe.group and g in tested and sample.split != "test":
            problems.left_out(sample.id, f"its {recipe.group} is also in test")
        else:
            kept.append(sample)
    split = np.array([sample.split or "train" for sample in kept], dtype=object)
    labels = np.unique([sample.label for sample in kept], return_inverse=True)[1]
    groups = np.unique([recipe.group_of(sample.id) for sample in kept], return_inverse=True)[1]
    val_share = VAL_SHARE
    if kept and not any(sample.split for sample in kept):
        split[carve(np.arange(len(kept)), labels, groups, TEST_SHARE, seed)[1]] = "test"
        val_share /= 1 - TEST_SHARE
    if "train" in split and "val" not in split:
        split[carve(np.flatnonzero(split == "train"), labels, groups, val_share, seed)[1]] = "val"
    return [replace(sample, split=str(s)) for sample, s in zip(kept, split, strict=True)]


def _write(out: Path, samples: Sequence[Sample], recipe: Recipe) -> None:
    header = ["id", "split", "label", *(["group"] if recipe.group else []), *recipe.types]
    table: list[list[str | None]] = []
    for sample in samples:
        group = [recipe.group_of(sample.id)] if recipe.group else []
        cells = [_cell(sample.cells.get(column), out.parent) for column in recipe.types]
        table.append([sample.id, sample.split, sample.label, *group, *cells])
    if out.suffix == ".csv":
        write_csv(out, [header, *table])
        return
    columns = dict(zip(header, (pa.array(c, pa.string()) for c in zip(*table, strict=True)), strict=True))
    with atomic_write(out) as unfinished:
        pyarrow.parquet.write_table(pa.table(columns), unfinished)


def _cell(cell: Path | str | None, folder: Path) -> str | None:
    if isinstance(cell, Path) and cell.is_relative_to(folder):
        relative = cell.relative_to(folder).as_posix()
        return f"./{relative}" if relative[0].isspace() else relative  # spaces around a cell are ignored
    return None if cell is None else str(cell)
