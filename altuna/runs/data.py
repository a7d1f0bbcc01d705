"""Open data for a run: with its modalities, in the columns that it was trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.numbers import NumberFormat
from altuna.data.samples import Samples, class_numbers, prepare_stores, samples_at
from altuna.data.store.arrays import Store
from altuna.data.table.column_types import check_cells
from altuna.data.table.manifest import SPLITS, Manifest, modality_of, read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.options import nearest, shown
from altuna.recipes.built_in import find_manifest
from altuna.reporting import SILENT, Reporter
from altuna.runs.columns import lacked, matched, number_columns
from altuna.runs.description import Description
from altuna.text import clipped


class Opened(NamedTuple):
    """A split of a manifest: its samples, its rows (also those of which nothing can be read), its cells."""

    manifest: Manifest
    samples: Samples
    rows: NDArray[np.int64]
    stores: Mapping[str, Store]


def open_manifest(
    description: Description,
    path: str | Path,
    modalities: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    ignore: Sequence[str] = (),
    lenient: bool = True,
    table: pa.Table | None = None,
) -> Manifest:
    """Read a manifest with those of a model's modalities that it has.

    A column that differs in blanks or case alone from one of training is taken for it. If a modality of
    several columns lacks some of them, they are empty. ``notes`` has a line about either, about an absent
    modality, and about rows that have none. The arguments after ``path`` are as in ``read_manifest``.

    Raises:
        UserError: It cannot be read, or has none of the modalities.

    Example:
        >>> from altuna.runs.directory import read_model_file
        >>> description = Description.from_file(read_model_file(Path("runs/first")))
        >>> manifest = open_manifest(description, find_manifest("emoji"))
        >>> [*manifest.modalities], manifest.notes
        (['image', 'text'], ())
    """
    trained = {name: description.columns.get(name) or (name,) for name in description.readers}
    text = [c for n, reader in description.readers.items() for c in reader.text_columns(trained[n])]
    formats = {
        column: description.formats.get(column, NumberFormat())
        for column in number_columns(description.readers, trained)
    }
    read = partial(
        read_manifest,
        path,
        modalities,
        columns=columns,
        ignore=ignore,
        allow_shared_groups=True,
        lenient=lenient,
        table=table,
    )
    manifest = read(text=text, formats=formats)
    names = _names(trained, manifest)
    if any(names.get(column, column) != column for column in (*text, *formats)):
        manifest = read(
            text=[*text, *(names.get(column, column) for column in text)],
            formats={names.get(column, column): format for column, format in formats.items()},
        )
    manifest, notes = _with_names(manifest, names)
    taken = {*(c for some in trained.values() for c in some), *manifest.columns.values()}
    known = {}
    for name, reader in description.readers.items():
        found = manifest.modalities.get(name)
        own = description.columns.get(name) or (found.columns if found else (name,))
        manifest, note = _completed(manifest, name, own, taken)
        notes += note
        if {*own} <= {*manifest.table.column_names}:
            if len(own) > 1 and not reader.kinds(own):  # a tabular reader takes others as missing
                check_cells(manifest.path, manifest.table, own, reader.type)
            known[name] = modality_of(manifest.table, reader.type, own, reader.kinds(own))
    if not known:
        needed = [f"{n} ({', '.join(own)})" for n, own in trained.items()]
        there = ", ".join(manifest.table.column_names)
        raise UserError(
            f"{path}: has none of the model's modalities, with their columns: "
            f"{clipped(', '.join(needed))}; it has the columns {clipped(there)}"
        )
    manifest = replace(manifest, modalities=known)
    return replace(manifest, notes=(*(manifest.notes if lenient else ()), *notes, *_emptiness(manifest)))


def _names(trained: Mapping[str, Sequence[str]], manifest: Manifest) -> dict[str, str]:
    """Return the name that a manifest has for each column of training that it has."""
    roles = {*manifest.columns.values()}
    wanted = [*dict.fromkeys(column for some in trained.values() for column in some)]
    return matched(wanted, [c for c in manifest.table.column_names if c in wanted or c not in roles])


def _with_names(manifest: Manifest, names: Mapping[str, str]) -> tuple[Manifest, list[str]]:
    """Return a manifest whose columns have the names that they had in training, and notes."""
    of_own = {there: name for name, there in names.items()}
    called = [of_own.get(name, name) for name in manifest.table.column_names]
    notes = [
        f"{manifest.path}: the column {there!r} is read as {name!r}"
        for name, there in names.items()
        if there != name
    ]
    return replace(manifest, table=manifest.table.rename_columns(called)), notes


def _completed(
    manifest: Manifest, name: str, own: Sequence[str], taken: Collection[str]
) -> tuple[Manifest, list[str]]:
    """Return a manifest with empty columns for those that a modality lacks, if it has others, and notes.

    ``taken`` are columns that none of them can have been renamed to.
    """
    table, path = manifest.table, manifest.path
    lacking = [column for column in own if column not in table.column_names]
    if not lacking:
        return manifest, []
    missing = lacked(lacking, [c for c in table.column_names if c not in taken])
    if len(lacking) == len(own):
        return manifest, [f"{path}: {name!r} is absent in all rows: no {missing}"]
    for column in lacking:
        table = table.append_column(column, pa.nulls(len(table)))
    return replace(manifest, table=table), [f"{path}: {name!r} lacks {missing}: imputed"]


def _emptiness(manifest: Manifest) -> Iterator[str]:
    """Yield notes on modalities without any cell, and on rows without any."""
    filled = {name: manifest.filled(name) for name in manifest.modalities}
    for name, some in filled.items():
        if not some.any():
            where = lacked(manifest.modalities[name].columns, ())
            yield f"{manifest.path}: {name!r} is absent in all rows: nothing in {where}"
    if empty := int((~np.any([*filled.values()], axis=0)).sum()):
        yield f"{manifest.path}: rows without any of the model's modalities: {empty:,} of {len(manifest):,}"


def open_split(
    description: Description,
    config: Mapping[str, Any],
    data: str | None = None,
    split: str = "test",
    root: Path | None = None,
    store: Path | None = None,
    reporter: Reporter = SILENT,
) -> Opened:
    """Open a split of a manifest for a run; the run knows the labels of all its rows.

    Args:
        description: The run's model.
        config: The run's options, ``config.yaml``.
        data: Other data than the run's: a name or a manifest. A manifest without splits is taken whole.
        split: ``train``, ``val`` or ``test``.
        root: Raw files of av-digits, if they are not where the run found them.
        store: Folder for decoded data.
        reporter: Reports the reading of cells.

    Raises:
        UserError: Unknown or empty split, or labels that the run does not know.

    Example:
        >>> from altuna.runs.directory import read_config, read_model_file
        >>> run = Path("runs/first")
        >>> opened = open_split(Description.from_file(read_model_file(run)), read_config(run), split="val")
        >>> len(opened.samples.dataset) == len(opened.rows)  # nothing of it is unreadable
        True
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}{nearest(split, SPLITS)}")
    root = root or (Path(config["root"]) if config.get("root") else None)
    own = data is None
    path = find_manifest(data or config["data"], root)
    modalities = config["modalities"] if own else None
    ignore = config.get("ignore") or () if own else ()
    manifest = open_manifest(
        description, path, modalities, config.get("columns"), ignore=ignore, lenient=not own
    )
    if "label" not in manifest.columns:  # for which a run has no option
        name = (config.get("columns") or {}).get("label", "label")
        raise UserError(f"{manifest.path}: no column {name!r}, which has the labels in the data of this run")
    if own:
        rows = split_rows(manifest, config["seed"])[split]
    elif manifest.splits.null_count < len(manifest):
        rows = np.flatnonzero(pc.equal(manifest.splits, split))
    else:
        rows = np.arange(len(manifest))
    if not len(rows):
        raise UserError(f"{path}: no row is in split {split!r}")
    labels = class_numbers(manifest.labels, description.classes)
    _check_known(manifest, rows[labels[rows] < 0])
    readers = {name: description.readers[name] for name in manifest.modalities}
    stores = prepare_stores(manifest, readers, store or cache_folder() / "store", reporter)
    return Opened(manifest, samples_at(rows, stores, labels), rows, stores)


def _check_known(manifest: Manifest, unknown: NDArray[np.int64]) -> None:
    """Raise UserError for the first of the rows whose labels the run does not know."""
    if not len(unknown):
        return
    row = int(unknown[0])
    label = manifest.labels[row].as_py()
    reason = f"label {shown(label)} is unknown to this run" if label else "empty"
    raise UserError(f"{manifest.where(row, 'label')}: {reason}")
