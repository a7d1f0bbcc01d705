"""What a training goes on with when it is resumed: its options, and its checkpoints."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from altuna.core.collectives import rank
from altuna.errors import UserError
from altuna.files import atomic_write
from altuna.runs.directory import read_config
from altuna.training.config import marker, options
from altuna.training.loop import Training, best_epoch


def changed(run: Path, config: Mapping[str, Any]) -> str:
    """Say what differs from the options that a run was started with; empty if nothing does."""
    before = read_config(run)
    for name, value in config.items():
        if not marker(options()[name], "place") and before.get(name) != value:
            return f"{run}: was started with {name} = {before.get(name)!r}, not {value!r}"
    return ""


def resumable(checkpoints: Path, training: Training) -> int | None:
    """Return how many batches of its epoch the last checkpoint has; None where there is no checkpoint yet.

    Afterwards the best checkpoint is there, too: a kill may have come between the two.

    Raises:
        UserError: See ``ours``.
    """
    last, best = checkpoints / "last.ckpt", checkpoints / "best.ckpt"
    if not last.exists():
        return None
    content = ours(last, training)
    history, batches = content["history"], int(content["batches"])
    if history and not batches and best_epoch(history) == len(history) - 1:
        if rank() == 0:
            with atomic_write(best) as unfinished:
                shutil.copyfile(last, unfinished)
    elif history:
        ours(best, training)
    return batches


def ours(checkpoint: Path, training: Training) -> dict[str, Any]:
    """Return what is in the checkpoint if this training wrote it, without running any code it may carry.

    Raises:
        UserError: It did not, or not on these data or with these frozen weights; or it is not there.
    """
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file: the training cannot go on, start it anew")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: Any = torch.load(checkpoint, weights_only=True, map_location="cpu")
    except Exception:  # torch raises many kinds for a foreign or damaged file
        content = None
    found: dict[str, Any] = content if isinstance(content, dict) and "trained" in content else {}
    state = found.get("state_dict")
    if not isinstance(state, dict) or _shapes(state) != _shapes(training.state_dict()):
        raise UserError(
            f"{checkpoint}: is damaged, or not a checkpoint of this run (none of it was executed)"
        )
    if found["frozen"] != training.frozen_digest():
        raise UserError(f"{checkpoint}: a frozen encoder has other weights than it was trained with")
    if found.get("data") != training.data:
        raise UserError(f"{checkpoint}: the data are not those that the training began with")
    return found


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of what a state holds; what grows with the training has none to compare."""
    grows = "_extra_state"
    return {k: None if k.endswith(grows) else getattr(value, "shape", None) for k, value in state.items()}
