"""The preset ``best``: the options of the most accurate model that data and method allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from altuna import methods
from altuna.data.table.manifest import Manifest
from altuna.data.table.splits import Rows, split_rows
from altuna.errors import UserError
from altuna.methods.parts.joint_turn import with_expert
from altuna.options import validate
from altuna.reporting import Reporter
from altuna.runs.directory import read_config
from altuna.runs.hub import check_source
from altuna.training.config import FitConfig
from altuna.training.members import parts_of
from altuna.training.table import manifest_of

FOLDS = 5
# For modalities whose encoder is not given; they are not trained, and compute each cell once.
PRETRAINED: dict[str, dict[str, Any]] = {
    "image": {"name": "hf:facebook/dinov2-small"},
    "image_list": {"name": "hf:facebook/dinov2-small"},
    "video": {"name": "hf:facebook/dinov2-small"},
    "text": {"name": "hf:sentence-transformers/all-MiniLM-L6-v2"},
    "audio": {"name": "hf:MIT/ast-finetuned-audioset-10-10-0.4593"},
}


def resolve_preset(config: FitConfig, run: Path, path: Path, reporter: Reporter) -> FitConfig:
    """Return the options with those that ``best`` chooses; other presets stay as they are.

    A training that is resumed has the options that were chosen when it began.

    Args:
        config: The options.
        run: The run directory.
        path: The manifest.
        reporter: Where to report what ``best`` goes without.

    Raises:
        UserError: A mistake in the manifest or in the options that are given.
    """
    if config.preset != "best":
        return config
    given = config.model_dump(exclude_unset=True)
    if config.resume and (run / "config.yaml").exists():
        before = read_config(run)
        chosen = {name: before[name] for name in (*CHOICES, "encoders") if name in before}
    else:
        chosen = _chosen(config, path, reporter)
    return validate(FitConfig, {**given, **chosen, "preset": "default"})


def _chosen(config: FitConfig, path: Path, reporter: Reporter) -> dict[str, Any]:
    """Return the options that are chosen for a table; report those that are not possible."""
    manifest = manifest_of(config, path)
    method = dict(config.method)
    kind = methods.get(method.pop("name"))
    manifest = manifest.only(kind.select([*manifest.modalities], **method))
    chosen: dict[str, Any] = {}
    without: list[str] = []
    for name, choose in CHOICES.items():
        if name not in config.model_fields_set:
            try:
                chosen[name] = choose(config.model_copy(update=chosen), manifest)
            except UserError as reason:
                without.append(f"{name} ({reason})")
    chosen["encoders"] = _encoders(config, manifest, without)
    if without:
        reporter.note(f"preset best, without {', '.join(without)}")
    return chosen


def _folds(config: FitConfig, manifest: Manifest) -> int:
    if config.stream is not None:
        raise UserError("a stream cannot be cut into folds")
    _parts(config, manifest, FOLDS)
    return FOLDS


def _joint_expert(config: FitConfig, manifest: Manifest) -> str:
    if len(manifest.modalities) < 2:
        raise UserError("there is only one modality")
    try:
        with_expert(methods.get(config.method["name"]), "apart")
    except ValueError as error:
        raise UserError(f"not for the method {config.method['name']!r}: {error}") from None
    complete = np.all([manifest.filled(name) for name in manifest.modalities], axis=0)
    for part in _parts(config, manifest, config.folds):
        if not all(complete[rows].any() for rows in part):
            raise UserError("too few rows have all modalities")
    return "apart"


def _parts(config: FitConfig, manifest: Manifest, folds: int | None) -> list[tuple[Rows, Rows]]:
    """Return the train and val rows of each model.

    Raises:
        UserError: The rows cannot be cut into folds, or a model would not learn a modality.
    """
    _, parts = parts_of(manifest, split_rows(manifest, config.seed), folds, config.seed)
    for name in manifest.modalities:
        filled = manifest.filled(name)
        if not all(filled[train].any() for train, _ in parts):
            raise UserError(f"a fold has all rows with a {name!r}")
    return parts


def _estimators(config: FitConfig, manifest: Manifest) -> str:
    if config.stream is not None:
        raise UserError("a stream does not give all training rows at once")
    vectors = any(m.type in ("vector", "tabular") for m in manifest.modalities.values())
    return "extra_trees,logistic" if vectors else "none"


CHOICES: dict[str, Callable[[FitConfig, Manifest], Any]] = {
    "folds": _folds,
    "joint_expert": _joint_expert,
    "estimators": _estimators,
}


def _encoders(config: FitConfig, manifest: Manifest, without: list[str]) -> dict[str, Any]:
    """Return the encoders that are given, and pretrained ones where none is and they can be loaded."""
    found = dict(config.encoders or {})
    for name, modality in manifest.modalities.items():
        pretrained = PRETRAINED.get(modality.type)
        if pretrained is None or found.get(name):
            continue
        try:
            check_source(pretrained["name"])
            found[name] = dict(pretrained)
        except UserError as reason:
            without.append(str(reason))
    return found
