"""Read finished runs for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.samples import class_numbers
from altuna.errors import UserError
from altuna.evaluation.features import MapFeatures, read_features
from altuna.runs.description import Description
from altuna.runs.directory import read_config, read_log, read_metrics, read_model_file, read_predictions
from altuna.runs.labels import run_labels
from altuna.text import unique_endings


@dataclass(frozen=True)
class Run:
    """A finished run: its name beside others, its options, metrics, epochs and predictions."""

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
        return read_features(self.folder, self.table.num_rows)

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """True classes [N]."""
        return class_numbers(self.table["label"].combine_chunks(), self.classes)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted classes [N]."""
        return class_numbers(self.table["prediction"].combine_chunks(), self.classes)

    def predicted_by(self, modality: str) -> NDArray[np.int64]:
        """Return the classes that a modality predicts by itself [N], -1 where it is absent."""
        return class_numbers(self.table[f"says_{modality}"].combine_chunks(), self.classes)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers [N], 0 where empty."""
        return np.asarray(pc.fill_null(self.table[column], 0.0), dtype=np.float64)

    def present(self, modality: str) -> NDArray[np.bool_]:
        """Return which samples have a modality [N]."""
        return np.asarray(self.table[f"present_{modality}"], dtype=bool)

    @property
    def majority(self) -> float:
        """Accuracy of always predicting the most frequent class."""
        return float(np.bincount(self.truth).max() / len(self.truth))

    def by_turn(self, metric: str) -> dict[str, list[tuple[float, float]]]:
        """Return the logged values of a metric: by turn, the points (epoch from 1, value)."""
        start = f"{metric}/"
        found: dict[str, list[tuple[float, float]]] = {}
        for row in self.history:
            for key, value in row.items():
                if key.startswith(start):
                    found.setdefault(key.removeprefix(start), []).append((row["epoch"] + 1, value))
        return found


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read runs and name them by their methods and by the options in which they differ.

    Raises:
        UserError: Not a finished run directory, one of another version, or a malformed file.
    """
    if repeated := next((folder for folder in folders if [*folders].count(folder) > 1), None):
        raise UserError(f"{repeated}: is given twice")
    metrics = [read_metrics(folder) for folder in folders]
    configs = [read_config(folder) for folder in folders]
    names = _names(folders, configs)
    return [_read(*parts) for parts in zip(folders, names, configs, metrics, strict=True)]


def _names(folders: Sequence[Path], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    ends = unique_endings(folders)
    names = run_labels(configs, ends)
    if len({config["seed"] for config in configs}) > 1:
        names = [f"{name}, seed {config['seed']}" for name, config in zip(names, configs, strict=True)]
    if len({config["data"] for config in configs}) > 1:
        data = [Path(config["data"]).with_suffix("") for config in configs]
        names = [f"{which}: {name}" for which, name in zip(unique_endings(data), names, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({end})" for name, end in zip(names, ends, strict=True)
    ]


def _read(folder: Path, name: str, config: dict[str, Any], metrics: dict[str, Any]) -> Run:
    description = Description.from_file(read_model_file(folder))
    if {*metrics["modalities"]} != {*description.readers}:
        has, known = (", ".join(names) for names in (metrics["modalities"], description.readers))
        raise UserError(f"{folder / 'metrics.json'}: modalities: has {has}; config.json has {known}")
    history = read_log(folder)
    if len(history) <= metrics["cost"]["best_epoch"]:
        raise UserError(f"{folder / 'log.csv'}: ends before cost.best_epoch of metrics.json")
    table = read_predictions(folder)
    return Run(folder, name, config, metrics, history, table, description)
