"""Test a trained model, also on other data and without some of the modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.core.model import MultimodalClassifier
from altuna.data.dataset import MultimodalDataset
from altuna.data.missing.masks import Missing, check_mask, staying
from altuna.data.samples import Samples
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.evaluation.metrics import Evaluation
from altuna.options import nearest
from altuna.reporting import SILENT, Reporter
from altuna.runs.data import open_split
from altuna.runs.directory import read_config
from altuna.runs.predictor import Predictor
from altuna.runs.trained_on import count_known, read_keys, row_keys

OUT_OF_FOLD = "'val' in metrics.json has the metrics of out-of-fold predictions"


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
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Return the metrics of ``metrics.json`` for any split, data and presence of modalities.

    ``warnings`` names modalities and columns that the data lack, and rows that the model was trained on.

    Args:
        run: The run directory.
        data: Other data than the run's: a name or a manifest. A manifest without splits is tested whole.
        split: ``train``, ``val`` or ``test``; None in what is returned if all rows were tested.
        without: Modalities to leave out.
        missing_rate: Fraction of the (sample, modality) cells to mask.
        missing_pattern: Which cells to mask, see ``pattern_mask``.
        missing_mask: File of the cells that stay, instead: ``present.parquet`` of a run.
        seed: Random seed of the mask.
        fusion: Another fusion rule than the run's.
        one_rule: Compute the metrics of that rule only (2-3x faster).
        root: Raw files of av-digits, if they are not where the run found them.
        store: Folder for decoded data.
        reporter: Reports the reading of cells.

    Raises:
        UserError: Not a run, unknown split or modality, labels that the run does not know, no sample left.

    Example:
        >>> metrics = evaluate_run(Path("runs/first"), without=["image"])
        >>> metrics["split"], metrics["without"]
        ('test', ['image'])
    """
    predictor = Predictor(run)
    config = read_config(run)
    without = _modalities(predictor.model, without)
    evaluation = _evaluation(predictor.model, fusion, one_rule)
    check_mask(missing_mask, missing_rate, missing_pattern)
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    manifest, samples, *_ = open_split(predictor.description, config, data, split, root, store, reporter)
    folds = predictor.description.folds
    warnings = [*manifest.notes, *training_warnings(run, folds, data, split, manifest, samples)]
    kept = np.array([name not in without for name in manifest.modalities])[:, None]
    missing = Missing(missing_rate, missing_pattern, missing_mask)
    dataset = _masked(samples, manifest, kept, missing, seed)
    if not len(dataset):
        raise UserError(f"{manifest.path}, split {split}: no sample has a modality left to test")
    for outputs, targets in predictor.outputs_in_batches(dataset):
        evaluation.update(outputs, targets)
    return {
        "data": data or str(config["data"]),
        "method": predictor.description.method,
        "seed": config["seed"],
        "split": split if data is None or manifest.splits.null_count < len(manifest) else None,
        "without": without,
        "missing": _stated(missing, seed),
        **evaluation.compute(),
        "warnings": warnings,
    }


def training_warnings(
    run: Path, folds: int, data: str | None, split: str, manifest: Manifest, samples: Samples
) -> Iterator[str]:
    """Yield a warning if the model was trained on some of the rows that it is tested on.

    Example:
        >>> from altuna.runs.description import Description
        >>> from altuna.runs.directory import read_model_file
        >>> run = Path("runs/first")
        >>> opened = open_split(Description.from_file(read_model_file(run)), read_config(run), split="test")
        >>> [*training_warnings(run, 1, None, "test", opened.manifest, opened.samples)]
        []
    """
    if data is None and folds > 1 and split != "test":
        yield f"the models of all folds but one learnt from each {split} row: {OUT_OF_FOLD}"
        return
    rows = samples.rows
    if data is None:
        number = len(rows) if split == "train" else 0
    else:
        number = count_known(row_keys(manifest, rows), read_keys(run))
    if number:
        where = f"{number:,} of {len(rows):,} rows were in the training split of this run"
        yield f"{where}: these figures are not a test"


def _evaluation(model: MultimodalClassifier, fusion: str | None, one_rule: bool) -> Evaluation:
    try:
        return Evaluation(model, fusion, one_rule=one_rule)
    except ValueError as error:
        raise UserError(str(error)) from None


def _stated(missing: Missing, seed: int) -> dict[str, Any]:
    """Return which cells were masked, for the metrics."""
    mask = str(missing.file) if missing.file else None
    return {"rate": missing.rate or 0.0, "pattern": missing.pattern, "mask": mask, "seed": seed}


def _masked(
    samples: Samples, manifest: Manifest, kept: NDArray[np.bool_], missing: Missing, seed: int
) -> MultimodalDataset:
    """Return the samples without the modalities that are not kept [M, 1], and without masked cells."""
    left = samples.dataset.present & kept
    dataset, rows = samples.dataset.masked(left), samples.rows[left.any(axis=0)]
    if not missing or not len(dataset):
        return dataset
    return dataset.masked(staying(missing, manifest, rows, dataset.present, dataset.labels, seed))


def _modalities(model: MultimodalClassifier, given: Sequence[str]) -> list[str]:
    """Return the names; a text that is no modality may hold several, with commas between."""
    names = [name for text in given for name in ([text] if text in model.modalities else text.split(","))]
    for name in names:
        if name not in model.modalities:
            raise UserError(f"unknown modality {name!r}{nearest(name, model.modalities)}")
    return names
