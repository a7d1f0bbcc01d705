"""Where a training's curves go: loggers by name, each by its own library."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from altuna.errors import UserError
from altuna.options import nearest

NONE = "none"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
MAX_PARAM = 500  # letters of an option that MLflow takes


class Logger(Protocol):
    """Takes the metrics of a training."""

    id: str | None  # of the run at a service

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics after so many batches."""

    def close(self, failed: bool) -> None:
        """End the run at a service, which would else be taken for that of the process's next training."""


def named(text: str) -> list[str]:
    """Return the loggers that ``a,b`` names, none for ``none``.

    Raises:
        UserError: An unknown name, or a logger whose package is not installed.

    Example:
        >>> named("none"), named("tensorboard")
        ([], ['tensorboard'])
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name == "csv":
            raise UserError("logger csv: does not exist, because every run has log.csv; use none instead")
        if name not in (*PACKAGES, NONE):
            raise UserError(f"unknown logger {name!r}{nearest(name, [*PACKAGES, NONE])}")
    if names == [NONE]:
        return []
    for name in dict.fromkeys(names):
        if name == NONE:
            raise UserError(f"logger: {NONE!r} cannot be combined with others, got {text!r}")
        if find_spec(PACKAGES[name]) is None:
            raise UserError(f"logger {name}: its package is not installed: pip install 'altuna[{name}]'")
    return [*dict.fromkeys(names)]


def build(names: list[str], run: Path, config: Mapping[str, Any], quiet: bool) -> list[Logger]:
    """Return the loggers of a run; those of a service continue the run that they have begun there.

    Its identifier is kept in ``loggers.json`` of the run directory. The first process alone has loggers.

    Args:
        names: What ``named`` returns.
        run: The run directory, whose name is that of the run in a service.
        config: The options of the run, for a service to show.
        quiet: Print nothing.

    Raises:
        UserError: A service refuses.
    """
    from altuna.core.collectives import rank  # with torch, which the command line's help does without
    from altuna.files import write_json
    from altuna.runs.directory import LOGGER_IDS, read_logger_ids

    if rank() != 0:
        return []
    ids = read_logger_ids(run)
    loggers: list[Logger] = []
    for name in names:
        try:
            logger = LOGGERS[name](run, ids.get(name), config, quiet)
        except Exception as error:  # each service has kinds of its own
            for begun in loggers:
                begun.close(failed=True)
            raise UserError(f"logger {name}: {' '.join(str(error).split())}") from error
        loggers.append(logger)
        if logger.id is not None:
            ids[name] = logger.id
    if ids:
        write_json(run / LOGGER_IDS, ids)
    return loggers


class TensorBoard(Logger):
    """Events in the run directory."""

    id: str | None = None

    def __init__(self, run: Path, id: str | None, config: Mapping[str, Any], quiet: bool) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.writer = SummaryWriter(str(run))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        if "epoch" in metrics:
            self.writer.flush()

    def close(self, failed: bool) -> None:
        self.writer.close()


class Wandb(Logger):
    """A run at Weights & Biases."""

    def __init__(self, run: Path, id: str | None, config: Mapping[str, Any], quiet: bool) -> None:
        import wandb

        self.run = wandb.init(
            name=run.name,
            dir=run,
            id=id,
            project=os.environ.get("WANDB_PROJECT", "altuna"),
            config=None if id else dict(config),
            resume="allow",
            settings=wandb.Settings(console="off", silent=quiet),
        )
        self.id: str | None = self.run.id
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step", step_sync=True)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log({**metrics, "step": step})

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class MLflow(Logger):
    """A run at MLflow."""

    def __init__(self, run: Path, id: str | None, config: Mapping[str, Any], quiet: bool) -> None:
        import mlflow
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self.client, self.metric = MlflowClient(mlflow.get_tracking_uri()), Metric
        if id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "altuna")
            experiment = self.client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self.client.create_experiment(name)
            id = str(self.client.create_run(number, run_name=run.name).info.run_id)
            options = [Param(key, str(value)[:MAX_PARAM]) for key, value in _flat(config)]
            self.client.log_batch(id, params=options)
        else:
            self.client.update_run(id, status="RUNNING")
        self.id: str | None = id

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        # MLflow refuses names with other characters, such as the plus of a turn of several modalities.
        named = {re.sub(r"[^\w/. -]+", "", name): value for name, value in metrics.items()}
        self.client.log_batch(self.id, metrics=[self.metric(k, v, now, step) for k, v in named.items()])

    def close(self, failed: bool) -> None:
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


LOGGERS: dict[str, Callable[[Path, str | None, Mapping[str, Any], bool], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": MLflow,
}


def _flat(config: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield options, those of a mapping by ``mapping/option``."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}/")
        else:
            yield within + name, value
