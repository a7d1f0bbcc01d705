"""The models of a training, one or one for each fold, and the samples of each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from altuna.core.model import MultimodalClassifier
from altuna.data.samples import Samples
from altuna.data.table.manifest import Manifest
from altuna.data.table.splits import Rows, cut_folds, group_codes
from altuna.errors import UserError
from altuna.methods.base import Method
from altuna.runs.description import Description


class Member(NamedTuple):
    """A model to train, the samples it learns from, and those that choose its epoch."""

    method: Method
    train: Samples
    val: Samples
    seed: int


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a training's model: its own for the first, numbers of no other training for others.

    Example:
        >>> seed_of(3, 0), seed_of(3, 1) != seed_of(4, 0)
        (3, True)
    """
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def parts_of(
    manifest: Manifest, rows: dict[str, Rows], folds: int | None, seed: int
) -> tuple[dict[str, Rows], list[tuple[Rows, Rows]]]:
    """Return the rows of each split, and those that train and those that validate each model."""
    if folds is None:
        return rows, [(rows["train"], rows["val"])]
    if not len(rows["test"]):
        raise UserError(f"{manifest.path}: no row is in test, and the models of folds learn from all others")
    both = np.sort(np.concatenate([rows["train"], rows["val"]]))
    labels = np.asarray(manifest.labels.dictionary_encode().indices, dtype=np.int64)
    try:
        parts = cut_folds(both, labels, group_codes(manifest), folds, seed)
    except ValueError as error:
        raise UserError(f"{manifest.path}: cannot be cut into {folds} folds: {error}") from None
    return {**rows, "train": both, "val": np.concatenate([fold for _, fold in parts])}, parts


def another(model: MultimodalClassifier, description: Description, seed: int) -> MultimodalClassifier:
    """Return a model with other random weights; front ends and frozen networks are the same."""
    torch.manual_seed(seed)
    other = description.build_member()
    encoders = (*model.encoders, *model.expert_encoders.values())
    others = (*other.encoders, *other.expert_encoders.values())
    for encoder, new in zip(encoders, others, strict=True):
        new.front_end = copy.deepcopy(encoder.front_end)
        if encoder.frozen:
            new.network = encoder.network
    return other


def build_method(
    name: str, kind: type[Method], model: MultimodalClassifier, options: Mapping[str, Any]
) -> Method:
    """Return a method for a model; raise UserError for options that it refuses."""
    try:
        return kind(model, **options)
    except ValueError as error:
        raise UserError(f"method {name!r}: {error}") from None


def check_samples(
    model: MultimodalClassifier, train: Samples, val: Samples, path: Path, streamed: bool
) -> None:
    """Raise UserError if a model, or its joint expert, has nothing to learn from or to be validated on."""
    if not len(val.rows):
        raise UserError(f"{path}: no val row can be read")
    # What all models together learn from has been looked at; the training cells of a stream cannot be.
    for modality, present in zip(model.modalities, train.dataset.present, strict=True):
        if not streamed and not present.any():
            raise UserError(f"{path}: a fold has all rows with a {modality!r}: take fewer folds")
    if model.expert is None:
        return
    for split, samples in (("val", val),) if streamed else (("train", train), ("val", val)):
        if not samples.dataset.present.all(0).any():
            reason = "has all modalities, as a joint expert needs"
            raise UserError(f"{path}: no {split} row that can be read {reason}")


def class_counts(samples: Samples, classes: int) -> torch.Tensor:
    """Return the number of samples of each class [C], at least 1."""
    return torch.from_numpy(np.maximum(np.bincount(samples.dataset.labels, minlength=classes), 1))
