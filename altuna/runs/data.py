"""Open data for a run: with its modalities, in the columns that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.samples import Samples, class_numbers, prepare_stores, samples_at
from altuna.data.store.arrays import Store
from altuna.data.table.manifest import SPLITS, Manifest, check_numbers, modality_of, read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.options import nearest
from altuna.recipes.built_in import find_manifest
from altuna.reporting import SILENT, Reporter
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
) -> Manifest:
    """Read a manifest with those of a model's modalities that it has.

    ``modalities``, ``columns``, ``ignore`` and ``lenient`` are as in ``read_manifest``.

    Raises:
        UserError: It cannot be read, or has none of the modalities.

    Example:
        >>> from altuna.runs.directory import read_model_file
        >>> description = Description.from_file(read_model_file(Path("runs/first")))
        >>> manifest = open_manifest(description, find_manifest("emoji"))
        >>> [*manifest.modalities]
        ['image', 'text']
    """
    known, trained = {}, description.columns
    text = [c for n, r in description.readers.items() if r.type != "vector" for c in trained.get(n, (n,))]
    manifest = read_manifest(
        path,
        modalities,
        columns=columns,
        ignore=ignore,
        text=text,
        allow_shared_groups=True,
        lenient=lenient,
    )
    for name, reader in description.readers.items():
        found = manifest.modalities.get(name)
        own = trained.get(name) or (found.columns if found else (name,))
        if set(own) <= set(manifest.table.column_names):
            check_numbers(manifest.path, manifest.table, own)
            known[name] = modality_of(manifest.table, reader.type, own)
    if not known:
        needed = [f"{n} ({', '.join(trained.get(n, (n,)))})" for n in description.readers]
        there = ", ".join(manifest.table.column_names)
        raise UserError(
            f"{path}: has none of the model's modalities, with their columns: "
            f"{clipped(', '.join(needed))}; it has the columns {clipped(there)}"
        )
    return replace(manifest, modalities=known)


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
    reason = f"label {label!r} is unknown to this run" if label else "empty"
    raise UserError(f"{manifest.where(row, 'label')}: {reason}")
