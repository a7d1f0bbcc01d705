"""What a report is made from: finished runs, as they lie on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from altuna.data.samples import class_numbers
from altuna.errors import UserError
from altuna.evaluation.features import MapFeatures, read_features
from altuna.runs.description import Description
from altuna.runs.directory import read_config, read_json, read_metrics, run_labels
from altuna.text import unique_endings


@dataclass(frozen=True)
class Run:
    """A finished run: what it is called beside others, its options, figures, epochs and predictions."""

    folder: Path
    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    table: pa.Table
    description: Description

    @property
    def modalities(self) -> tuple[str, ...]:
        """Its modalities."""
        return tuple(self.description.readers)

    @property
    def classes(self) -> tuple[str, ...]:
        """Its classes."""
        return self.description.classes

    @cached_property
    def features(self) -> MapFeatures | None:
        """Features of some samples; None of a run that has none."""
        return read_features(self.folder)

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """True classes [N]."""
        return class_numbers(self.table["label"].combine_chunks(), self.classes)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted classes [N]."""
        return class_numbers(self.table["prediction"].combine_chunks(), self.classes)

    def said(self, modality: str) -> NDArray[np.int64]:
        """Return which class a modality says by itself [N], -1 where it is absent."""
        return class_numbers(self.table[f"says_{modality}"].combine_chunks(), self.classes)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers [N], 0 where empty."""
        return np.asarray(pc.fill_null(self.table[column], 0.0), dtype=np.float64)

    def present(self, modality: str) -> NDArray[np.bool_]:
        """Return which samples have a modality [N]."""
        return np.asarray(self.table[f"present_{modality}"], dtype=bool)

    @property
    def majority(self) -> float:
        """Accuracy of always saying the most frequent class."""
        return float(np.bincount(self.truth).max() / len(self.truth))

    def by_turn(self, figure: str) -> dict[str, list[tuple[float, float]]]:
        """Return what the log has of a figure: by turn, the points (epoch from 1, value)."""
        start = f"{figure}/"
        found: dict[str, list[tuple[float, float]]] = {}
        for row in self.history:
            for key, value in row.items():
                if key.startswith(start):
                    found.setdefault(key.removeprefix(start), []).append((row["epoch"] + 1, value))
        return found


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read runs, named by their methods and by what tells them apart.

    Raises:
        UserError: Not a finished run directory, or one of another version.
    """
    if repeated := next((folder for folder in folders if [*folders].count(folder) > 1), None):
        raise UserError(f"{repeated}: stands there twice")
    metrics = [read_metrics(folder) for folder in folders]
    configs = [read_config(folder) for folder in folders]
    ends = unique_endings(folders)
    names = run_labels(configs, ends)
    if len({config["seed"] for config in configs}) > 1:
        names = [f"{name}, seed {config['seed']}" for name, config in zip(names, configs, strict=True)]
    if len({str(config["data"]) for config in configs}) > 1:
        data = [Path(config["data"]).with_suffix("") for config in configs]
        names = [f"{which}: {name}" for which, name in zip(unique_endings(data), names, strict=True)]
    return [
        _read(folder, name if names.count(name) == 1 else f"{name} ({end})", config, figures)
        for folder, end, name, config, figures in zip(folders, ends, names, configs, metrics, strict=True)
    ]


def _read(folder: Path, name: str, config: dict[str, Any], metrics: dict[str, Any]) -> Run:
    try:
        description = Description.from_json(read_json(folder, "config.json"))
        with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
            history = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        table = pyarrow.parquet.read_table(folder / "predictions.parquet")
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: not a whole run directory: {reason}") from None
    if len(history) <= metrics["cost"]["best_epoch"]:
        raise UserError(f"{folder}: not a whole run directory: log.csv lacks epochs")
    for column in ("epoch", "val/accuracy/fused"):
        if any(column not in row for row in history):
            raise UserError(f"{folder}: not a whole run directory: log.csv lacks {column}")
    for column in ("id", "label", "prediction", "confidence"):
        if column not in table.column_names:
            raise UserError(f"{folder}: not a whole run directory: predictions.parquet lacks {column}")
    if any(f"says_{modality}" not in table.column_names for modality in description.readers):
        raise UserError(f"{folder}: a run of an earlier version, without says_MODALITY: train it again")
    return Run(folder, name, config, metrics, history, table, description)
