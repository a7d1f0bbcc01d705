"""``altuna evaluate`` and ``altuna predict``: a run, met with data again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.missing.masks import Missing, check_mask, staying
from altuna.data.samples import Samples, class_numbers, prepare_stores, samples_at
from altuna.data.store.arrays import Store
from altuna.data.table.manifest import SPLITS, Manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.evaluation.metrics import Evaluation
from altuna.files import cache_folder
from altuna.options import nearest
from altuna.recipes import find_manifest
from altuna.reporting import SILENT
from altuna.runs.directory import read_config
from altuna.runs.predictor import Predictor
from altuna.terminal import console


def evaluate_run(
    run: Path,
    data: str | None = None,
    *,
    split: str = "test",
    without: Sequence[str] = (),
    missing_rate: float | None = None,
    missing_pattern: str = "random",
    missing_mask: Path | None = None,
    seed: int = 0,
    fusion: str | None = None,
    one_rule: bool = False,
    root: Path | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Return the figures of ``metrics.json`` for any split, data and presence of modalities.

    Args:
        run: The run directory.
        data: Other data than the run's: a name or a manifest. A manifest without splits is tested whole.
        split: ``train``, ``val`` or ``test``; None in what is returned if all rows were tested.
        without: Modalities to leave out.
        missing_rate: Share of the (sample, modality) cells to take away.
        missing_pattern: Which ones, see ``pattern_mask``.
        missing_mask: File of the cells that stay, instead: ``present.parquet`` of a run.
        seed: Of what is taken away.
        fusion: Another fusion than the run's.
        one_rule: Figures of no other fusion beside it: two to three times as fast.
        root: Raw files of av-digits, if they are not where the run found them.
        store: Folder for decoded data.
        quiet: No progress bar.

    Raises:
        UserError: Not a run, unknown split or modality, labels that the run does not know, no sample left.
    """
    predictor = Predictor(run)
    config = read_config(run)
    model = predictor.model
    # Several names at once, with commas, unless that is a name itself.
    without = [n for w in without for n in ([w] if w in model.modalities else w.split(","))]
    for name in without:
        if name not in model.modalities:
            raise UserError(f"unknown modality {name!r}{nearest(name, model.modalities)}")
    evaluation = Evaluation(model, fusion, one_rule=one_rule)
    check_mask(missing_mask, missing_rate, missing_pattern)
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    manifest, samples, *_ = open_split(predictor, config, data, split, root, store, quiet)
    kept = np.array([name not in without for name in manifest.modalities])[:, None]
    left = samples.dataset.present & kept
    dataset, rows = samples.dataset.masked(left), samples.rows[left.any(axis=0)]
    what = Missing(missing_rate, missing_pattern, missing_mask)
    if what and len(dataset):
        dataset = dataset.masked(staying(what, manifest, rows, dataset.present, dataset.labels, seed))
    if not len(dataset):
        raise UserError(f"{manifest.path}, split {split}: no sample has a modality left to test")
    for outputs, targets in predictor.outputs_in_batches(dataset):
        evaluation.update(outputs, targets)
    return {
        "data": data or str(config["data"]),
        "method": predictor.description.method,
        "seed": config["seed"],
        "split": split if data is None or manifest.splits.null_count < len(manifest) else None,
        "without": [*without],
        "missing": {
            "rate": missing_rate or 0.0,
            "pattern": missing_pattern,
            "mask": str(missing_mask) if missing_mask else None,
            "seed": seed,
        },
        **evaluation.compute(),
    }


class Opened(NamedTuple):
    """A split of a manifest: its samples, its rows (also those of which nothing can be read), its cells."""

    manifest: Manifest
    samples: Samples
    rows: NDArray[np.int64]
    stores: Mapping[str, Store]


def open_split(
    predictor: Predictor,
    config: Mapping[str, Any],
    data: str | None = None,
    split: str = "test",
    root: Path | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Opened:
    """Open a split of a manifest for a run with the options ``config``; all its rows have known labels.

    Raises:
        UserError: Unknown or empty split, or labels that the run does not know.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}{nearest(split, SPLITS)}")
    root = root or (Path(config["root"]) if config.get("root") else None)
    own = data is None
    path = find_manifest(data or config["data"], root)
    modalities = config["modalities"] if own else None
    manifest = predictor.open(path, modalities, config.get("columns"), lenient=not own)
    manifest.check_labelled()
    if own:
        rows = split_rows(manifest, config["seed"])[split]
    elif manifest.splits.null_count < len(manifest):
        rows = np.flatnonzero(pc.equal(manifest.splits, split))
    else:
        rows = np.arange(len(manifest))
    if not len(rows):
        raise UserError(f"{path}: no row is in split {split!r}")
    labels = class_numbers(manifest.labels, predictor.classes)
    unknown = rows[labels[rows] < 0]
    if len(unknown):
        row = int(unknown[0])
        label = manifest.labels[row].as_py()
        raise UserError(
            f"{manifest.where(row, 'label')}: "
            + (f"label {label!r} is unknown to this run" if label else "empty")
        )
    readers = {name: predictor.description.readers[name] for name in manifest.modalities}
    reporter = SILENT if quiet else console.TerminalReporter()
    stores = prepare_stores(manifest, readers, store or cache_folder() / "store", reporter)
    return Opened(manifest, samples_at(rows, stores, labels), rows, stores)
