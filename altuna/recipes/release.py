"""What all recipes share: from the samples that one finds in a release to a manifest and a report."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from altuna.data.readers import READERS, BadCellError
from altuna.data.table.manifest import SPLITS
from altuna.data.table.splits import TEST_SHARE, VAL_SHARE, carve
from altuna.errors import UserError
from altuna.files import atomic_write, write_csv
from altuna.reporting import SILENT, Reporter

# What marks the authors' lists of one release among those of several, in one folder.
LIST_TAGS = ("cre", "food", "iemo", "mvsa", "kine")


@dataclass(frozen=True)
class Sample:
    """A sample as it lies in a release: a cell is a path, a text, or None where there is none."""

    id: str
    label: str
    cells: Mapping[str, Path | str | None]
    split: str = ""  # where the release itself says it


class Problem(NamedTuple):
    """A line of the problems file; ``kind`` is ``left out`` (a sample), ``missing`` (a cell) or ``note``."""

    id: str
    column: str
    file: str
    kind: str
    reason: str


class Problems:
    """Collects what is wrong in a release; files are named from its ``root`` on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[Problem] = []

    def left_out(self, id: str, reason: str, file: Path | None = None, row: int = 0) -> None:
        """A sample that is not in the manifest."""
        self._add("left out", reason, id, "", file, row)

    def missing(self, id: str, column: str, reason: str, file: Path | None = None) -> None:
        """A cell that is empty in the manifest."""
        self._add("missing", reason, id, column, file, 0)

    def note(self, reason: str, file: Path | None = None, row: int = 0, id: str = "") -> None:
        """What is worth knowing and changes nothing."""
        self._add("note", reason, id, "", file, row)

    def _add(self, kind: str, reason: str, id: str, column: str, file: Path | None, row: int) -> None:
        if file and file.is_relative_to(self.root):
            file = file.relative_to(self.root)
        place = f"{file or ''}" + (f", row {row}" if row else "")
        texts = (id, column, place, kind, reason)
        self.found.append(Problem(*(t.encode(errors="backslashreplace").decode() for t in texts)))


@dataclass(frozen=True)
class Recipe:
    """How to make a manifest of a release.

    ``read`` gives the samples below a root and tells the problems that it meets. ``types`` are the columns
    and what they hold. ``group`` names, in the singular, what must not stand in two splits (an actor, a
    video), and ``group_of`` finds it in an id. Authors' lists have ``tag`` in their names, one of
    ``LIST_TAGS``; ``list_labels`` translates their labels, ``list_id`` makes an id of a line's fields.
    """

    title: str
    read: Callable[[Path, Problems], Iterable[Sample]]
    types: Mapping[str, str]
    group: str = ""
    group_of: Callable[[str], str] = str
    tag: str = ""
    list_labels: Mapping[str, str] = field(default_factory=dict)
    list_id: Callable[[Sequence[str]], str] = lambda fields: re.sub(r"\.\w{3,4}$", "", fields[0])


@dataclass(frozen=True)
class Report:
    """What was prepared: ``counts`` are samples by (label, split), ``leakage`` says what splits share."""

    title: str
    out: Path
    counts: Mapping[tuple[str, str], int]
    problems: Sequence[Problem]
    problems_file: Path | None
    leakage: str


def prepare(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    splits: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Report:
    """Write the manifest of a release, and beside it ``<name>.problems.csv``.

    Media are looked at by their headers, not decoded. A cell that cannot be read is left empty; a sample with
    none left, or without a label, is left out. Paths are relative to the manifest if they lie below its
    folder, absolute otherwise.

    Args:
        recipe: Says how the release lies on disk.
        root: Folder of the release.
        out: The manifest, ``.csv`` or ``.parquet``.
        splits: Folder of the authors' lists, whose splits are taken then: only samples in a list stay.
        seed: Decides the splits that the release and the lists leave open: 60/15/25, or a val of 15 % of
            train, stratified by label, with whole groups.
        overwrite: Replace a manifest that is there.
        reporter: Reports the checking of the cells.

    Raises:
        UserError: The manifest is there already or cannot be written, the folder is no such release, there
            are no lists for it, or no sample is left.
    """
    root, out = Path(os.path.abspath(root)), Path(os.path.abspath(out))
    check_out(out, overwrite)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    problems = Problems(root)
    listed = _read_lists(recipe, splits, problems) if splits else {}
    samples = [*_usable(recipe.read(root, problems), problems)]
    if splits:
        samples = [*_listed(samples, listed, recipe, problems)]
    samples = _checked(samples, recipe, problems, reporter)
    if not splits:
        samples = _split(samples, recipe, problems, seed)
    if not samples:
        reasons = Counter(problem.reason for problem in problems.found if problem.kind != "note")
        why = "".join(f"; most often: {reason}" for reason, _ in reasons.most_common(1))
        raise UserError(f"{root}: no sample of {recipe.title} in it{why}")
    for split in {"train", "test"} - {sample.split for sample in samples}:
        problems.note(f"no sample is in {split}")
    leakage = _leakage(recipe, ((s.id, s.split) for s in samples))
    if splits and (whole := _leakage(recipe, ((id, split) for id, (split, _) in listed.items()))) != leakage:
        leakage = f"{whole} in the lists; in this manifest {leakage}"
    told, problems_file = sorted({*problems.found}), out.with_suffix(".problems.csv")
    write_csv(problems_file, [Problem._fields, *told])
    _write(out, samples, recipe)
    counts = Counter((sample.label, sample.split) for sample in samples)
    return Report(recipe.title, out, counts, told, problems_file, leakage)


def check_out(out: Path, overwrite: bool) -> None:
    """Raise UserError unless a manifest can be written there."""
    if out.suffix not in (".csv", ".parquet"):
        raise UserError(f"{out}: the manifest must be .csv or .parquet")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    if out.is_dir():
        raise UserError(f"{out}: is a folder")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; --overwrite replaces it")


def files(
    folder: Path, suffixes: Sequence[str], problems: Problems, beside: Sequence[str] = ()
) -> dict[str, Path]:
    """Return a folder's files by stem, in order; hidden ones and others are noted, but for ``beside``.

    Of two with one stem the first suffix counts.
    """
    found: dict[str, Path] = {}
    entries = folder.iterdir() if folder.is_dir() else ()
    for path in sorted(entries, key=lambda path: (path.suffix != suffixes[0], path)):
        if path.name.startswith("."):
            problems.note("hidden, as macOS leaves them beside others: passed over", path)
        elif path.suffix.lower() in suffixes:
            if found.setdefault(path.stem, path) != path:
                problems.note(f"{found[path.stem].name} is there too: passed over", path)
        elif path.is_file() and path.suffix.lower() not in beside:
            problems.note(f"not {' or '.join(suffixes)}: passed over", path)
    return found


def lines(path: Path, problems: Problems) -> list[str]:
    """Return the lines of a text, with their ends; one that is not UTF-8 is read as latin-1, and noted."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    texts = []
    for row, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            problems.note("not UTF-8, read as latin-1", path, row)
            texts.append(line.decode("latin-1"))
    return texts


def rows(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Give the rows of a CSV that are not blank, with their numbers from 1 on.

    A row is a line: a quotation mark that is never closed must not take the lines after it.
    """
    for number, line in enumerate(lines(path, problems), 1):
        try:
            row = next(csv.reader([line]), [])
        except csv.Error as error:
            problems.note(f"no CSV: {error}: passed over", path, number)
        else:
            if row:
                yield number, row


def _usable(samples: Iterable[Sample], problems: Problems) -> Iterator[Sample]:
    """Give the samples that have an id of their own and a cell."""
    seen = set()
    for sample in samples:
        if sample.id in seen:
            problems.left_out(sample.id, f"the id stands twice; this one is {sample.label}")
        elif not any(sample.cells.values()):
            problems.left_out(sample.id, "there is no file of it")
        else:
            seen.add(sample.id)
            yield sample


def _checked(
    samples: Sequence[Sample], recipe: Recipe, problems: Problems, reporter: Reporter
) -> list[Sample]:
    """Return the samples without the cells that cannot be read, and only those that have one left."""
    kept = []
    with ThreadPoolExecutor() as pool, reporter.cells(f"looking at {recipe.title}", len(samples)) as advance:
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
                problems.left_out(sample.id, "nothing of it can be read")
            advance(1, len(faults))
    return kept


def _faults(sample: Sample, recipe: Recipe) -> dict[str, tuple[str, str]]:
    faults = {}
    for column, kind in recipe.types.items():
        notes: list[str] = []
        try:
            if (cell := sample.cells.get(column)) is None:
                raise BadCellError(f"there is no {column} of it")
            str(cell).encode()
            READERS[kind].look(cell, notes.append)
        except BadCellError as error:
            faults[column] = "missing", " ".join(str(error).split())
        except UnicodeEncodeError:
            faults[column] = "missing", "the name of the file is not UTF-8"
        except Exception as error:  # a library's surprise about one file must not lose the others
            faults[column] = "missing", " ".join(f"{type(error).__name__}: {error}".split())
        else:
            if notes:
                faults[column] = "note", "; ".join(notes)
    return faults


def _split(samples: Sequence[Sample], recipe: Recipe, problems: Problems, seed: int) -> list[Sample]:
    """Return the samples with splits: the release's, or else carved."""
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


def _read_lists(recipe: Recipe, folder: Path, problems: Problems) -> dict[str, tuple[str, str]]:
    """Return id to (split, label) of the authors' lists: ``<name> <label>`` or comma-separated lines."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {
        path: split
        for path in sorted(folder.iterdir())
        for split in SPLITS
        if split in path.stem.lower() and path.suffix.lower() in (".txt", ".csv") and path.name[0] != "."
    }
    mine = [path for path in found if recipe.tag and recipe.tag in path.stem.lower()]
    mine = mine or [path for path in found if not any(tag in path.stem.lower() for tag in LIST_TAGS)]
    if not {found[path] for path in mine} >= {"train", "test"}:
        raise UserError(
            f"{folder}: no lists of {recipe.title} in it, such as my_train_{recipe.tag}.txt and test"
        )
    listed: dict[str, tuple[str, str]] = {}
    for path in sorted(
        mine, key=lambda path: SPLITS.index(found[path]), reverse=True
    ):  # what test has, stays
        for row, line in enumerate(lines(path, problems), 1):
            fields = re.split(r"[,\s]+", line.strip())
            if not fields[0]:
                continue
            id, label = recipe.list_id(fields), fields[1] if len(fields) == 2 else ""
            if id in listed:
                problems.note(f"stands in the lists already, as {listed[id][0]}", path, row, id)
            listed.setdefault(id, (found[path], recipe.list_labels.get(label, label)))
    return listed


def _listed(
    samples: Sequence[Sample], listed: Mapping[str, tuple[str, str]], recipe: Recipe, problems: Problems
) -> Iterator[Sample]:
    """Give the samples that stand in a list, with its split; the label stays the release's."""
    for sample in samples:
        split, label = listed.get(sample.id, ("", ""))
        if not split:
            problems.left_out(sample.id, "in none of the lists")
            continue
        if label and label != sample.label:
            problems.note(f"{sample.label} in the release, {label} in the {split} list", id=sample.id)
        yield replace(sample, split=split)
    told = {sample.id for sample in samples} | {problem.id for problem in problems.found}
    for id, (split, _) in listed.items():
        if id not in told:
            problems.left_out(id, f"in the {split} list, not in the release")


def _leakage(recipe: Recipe, splits: Iterable[tuple[str, str]]) -> str:
    if not recipe.group:
        return "none known: no sample belongs to a group"
    return shared(recipe.group, ((recipe.group_of(id), split) for id, split in splits))


def shared(group: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Say how many of the groups, in pairs of one and its split, stand in more than one split."""
    counts = Counter(name for name, _ in {*pairs})
    return f"{sum(n > 1 for n in counts.values())} of {len(counts)} {group}s shared between splits"


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
        return f"./{relative}" if relative[0].isspace() else relative  # space around a cell does not count
    return None if cell is None else str(cell)
