"""The checkpoints of a run, ``last.ckpt`` to resume from and ``best.ckpt``, and its ``log.csv``."""

from __future__ import annotations

import csv
import io
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from altuna.core.collectives import rank
from altuna.errors import UserError
from altuna.files import atomic_write, check_regular, write_text
from altuna.options import shown
from altuna.runs.schema import Count, NotNegative, check
from altuna.training.loop import Loop
from altuna.training.resume import changed_option

MAY_MOVE = ("data", "missing_mask")  # paths to what ``Loop.data`` identifies by its content


class _Part(BaseModel):
    """A part of a checkpoint; keys that are not known are kept."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Epoch(_Part):
    """What is needed of an epoch's metrics; the others are numbers, too."""

    __pydantic_extra__: dict[str, float]
    nll: float = Field(alias="val/nll/fused")
    seconds: float
    updates: float


class _Progress(_Part):
    """``Progress`` as its arguments."""

    model_config = ConfigDict(extra="forbid")

    history: list[_Epoch]
    steps: Count
    updates: Count
    batches: Count
    trained: Count
    flops: Count
    seconds: NotNegative
    ended: bool = False


class _Content(_Part):
    """What ``Loop.state`` returns."""

    weights: dict[str, Any]
    progress: _Progress
    sums: dict[str, tuple[float, int]]
    frozen: str
    data: str


class _Optimizer(_Part):
    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class _Resumable(_Content):
    """What ``last.ckpt`` holds."""

    optimizer: _Optimizer
    options: dict[str, Any]


class Checkpoints:
    """Write the checkpoints and the log of a run.

    The best epoch has the lowest negative log-likelihood of the fused validation predictions: steadier than
    their accuracy where validation is small. It is found from the history each time, so it needs no state of
    its own and survives a moved folder.

    Args:
        run: The run directory.
        every: Batches after which ``last.ckpt`` is written within an epoch; None: only at its end.
        options: Those that ``config.yaml`` holds: a resumed training has the same.
        whole: The run directory, if ``run`` is the folder of one of its folds.
    """

    def __init__(
        self,
        run: Path,
        every: int | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
        whole: Path | None = None,
    ) -> None:
        self.finished = (whole or run) / "metrics.json"
        self.run = run
        self.last, self.best = run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt"
        self.log, self.every = run / "log.csv", every
        self.options = {name: value for name, value in options.items() if name not in MAY_MOVE}

    def is_due(self, batches: int) -> bool:
        """Return whether to write one after so many batches of an epoch."""
        return bool(self.every) and batches % (self.every or 1) == 0

    def save_last(self, loop: Loop) -> None:
        """Write ``last.ckpt``; every process has to call this."""
        save_checkpoint(self.last, {**loop.state(), "options": self.options})

    def save_epoch(self, loop: Loop) -> None:
        """Write ``log.csv``, ``last.ckpt`` and, if the epoch is the best so far, ``best.ckpt``."""
        history = loop.progress.history
        if rank() == 0:
            write_log(self.log, history)
        # In this order: after a kill in between one can tell that the best epoch is the last.
        self.save_last(loop)
        if best_epoch(history) == len(history) - 1:
            save_checkpoint(self.best, loop.state(optimizer=False))

    def resume(self, loop: Loop) -> bool:
        """Load ``last.ckpt`` into the loop if there is one; return whether there is.

        Afterwards ``best.ckpt`` exists, too: the kill may have come between the two.

        Raises:
            UserError: See ``load_checkpoint``; the options are others; or only ``last.ckpt`` is missing, and
                a new training would overwrite what is there.
        """
        if not self.last.exists() and not self.best.exists() and not self.finished.exists():
            return False
        content = load_checkpoint(self.last, loop, _Resumable)
        if name := changed_option(content["options"], self.options):
            before, now = shown(content["options"].get(name)), shown(self.options.get(name))
            raise UserError(f"{self.run / 'config.yaml'}: {name} is {now}, the run was started with {before}")
        history = content["progress"]["history"]
        if history and not content["progress"]["batches"] and best_epoch(history) == len(history) - 1:
            if rank() == 0:
                with atomic_write(self.best) as unfinished:
                    shutil.copyfile(self.last, unfinished)
        elif history:
            load_checkpoint(self.best, loop)
        with _mistakes_of(self.last):
            loop.load_state(content)
        return True


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, which appears under its name only when it is complete; the first process writes."""
    if rank() != 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:  # what torch makes of a full disk, and of Ctrl-C
            cause = error.__context__
            raise (cause if isinstance(cause, OSError | KeyboardInterrupt) else error) from None


def load_weights(path: Path, loop: Loop) -> None:
    """Load the weights of a checkpoint into the loop.

    Raises:
        UserError: See ``load_checkpoint``.
    """
    content = load_checkpoint(path, loop)
    with _mistakes_of(path):
        loop.load_weights(content)


@contextmanager
def _mistakes_of(path: Path) -> Iterator[None]:
    """Turn what an optimizer or a method raises for a state that does not fit into a UserError."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: cannot be loaded: {reason}") from error


def load_checkpoint(path: Path, loop: Loop, model: type[_Content] = _Content) -> dict[str, Any]:
    """Return the content of a checkpoint that this training wrote, without running any code in it.

    Args:
        path: The checkpoint.
        loop: The training.
        model: The expected content.

    Raises:
        UserError: The file is missing or damaged, or belongs to another training, other data or other frozen
            weights.
    """
    try:
        check_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        reason = "no such file, so the training cannot be resumed; start a new one"
        raise UserError(f"{path}: {reason}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # torch raises many kinds for a foreign or damaged file
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged, or not a checkpoint of this run (none of it was executed)")
    check(model, content, path)
    if _shapes(content["weights"]) != _shapes(loop.trained_weights()):
        raise UserError(f"{path}: weights: do not belong to this run's model")
    if content["frozen"] != loop.frozen_digest():
        raise UserError(
            f"{path}: the weights of a frozen encoder have changed since the start of the training"
        )
    if content["data"] != loop.data:
        raise UserError(f"{path}: the data differ from the data at the start of the training")
    return content


def _shapes(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of weights; extra state, which may grow with the training, has none."""
    grows = "_extra_state"
    return {k: None if k.endswith(grows) else getattr(value, "shape", None) for k, value in weights.items()}


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the position of the epoch with the lowest validation loss, the first among equals.

    Example:
        >>> best_epoch([{"val/nll/fused": 0.9}, {"val/nll/fused": 0.4}, {"val/nll/fused": 0.4}])
        1
    """
    losses = [row["val/nll/fused"] for row in history]
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    return finite.index(min(finite))


def mean_history(histories: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Return the mean metrics of each epoch, as far as all of several trainings go, and all have a metric.

    Example:
        >>> mean_history([[{"loss": 2.0}, {"loss": 1.0}], [{"loss": 4.0}]])
        [{'loss': 3.0}]
    """
    means = []
    for rows in zip(*histories, strict=False):
        common = {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}
        # Where all are equal, as in a single training, nothing is rounded.
        means.append({name: v[0] if len({*v}) == 1 else sum(v) / len(v) for name, v in common.items()})
    return means


def write_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``log.csv``: a row for each epoch, a column for each metric."""
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(name for row in history for name in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())
