"""Where a training's curves go: Lightning's loggers by name, imported when they are built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altuna.errors import UserError
from altuna.options import nearest

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

NONE = "none"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "csv": "pytorch_lightning"}
IDS = "loggers.json"


def named(text: str) -> list[str]:
    """Return the loggers that ``a,b`` names, none for ``none``.

    Raises:
        UserError: An unknown name, or a logger whose package is not installed.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*PACKAGES, NONE):
            raise UserError(f"unknown logger {name!r}{nearest(name, [*PACKAGES, NONE])}")
    if names == [NONE]:
        return []
    for name in dict.fromkeys(names):
        if name == NONE:
            raise UserError(f"logger: {NONE!r} stands alone, got {text!r}")
        if find_spec(PACKAGES[name]) is None:
            raise UserError(f"logger {name}: its package is not installed: pip install 'altuna[{name}]'")
    return [*dict.fromkeys(names)]


def build(names: list[str], run: Path, config: Mapping[str, Any], quiet: bool) -> list[Logger]:
    """Return the loggers of a run; those of a service go on in the run that they have begun there.

    Its identifier is kept in ``loggers.json`` of the run directory. The first process alone has loggers.

    Args:
        names: What ``named`` returns.
        run: The run directory, whose name is that of the run in a service.
        config: The options of the run, for a service to show.
        quiet: Print nothing.

    Raises:
        UserError: A service refuses.
    """
    from altuna.core.collectives import rank
    from altuna.files import write_json
    from altuna.runs.directory import read_logger_ids

    if rank() != 0:
        return []
    ids = read_logger_ids(run)
    loggers: list[Logger] = []
    for name in names:
        try:
            logger = _build(name, run, ids.get(name), quiet)
            if name in ("wandb", "mlflow"):
                _ = logger.experiment  # begins it
                if name not in ids:
                    logger.log_hyperparams(dict(config))
                    ids[name] = logger.version
        except Exception as error:  # each service has kinds of its own
            close(loggers, failed=True)
            raise UserError(f"logger {name}: {' '.join(str(error).split())}") from error
        loggers.append(logger)
    if ids:
        write_json(run / IDS, ids)
    return loggers


def _build(name: str, run: Path, id: str | None, quiet: bool) -> Any:
    from pytorch_lightning import loggers

    if name == "wandb":
        import wandb

        project = os.environ.get("WANDB_PROJECT", "altuna")
        settings = wandb.Settings(console="off", silent=quiet)
        return loggers.WandbLogger(run.name, run, id=id, project=project, settings=settings)
    if name == "mlflow":
        import mlflow

        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "altuna")
        where = mlflow.get_tracking_uri()
        return loggers.MLFlowLogger(experiment, run_name=run.name, tracking_uri=where, run_id=id)
    if name == "csv":
        return loggers.CSVLogger(run, name="csv")

    class Events(loggers.TensorBoardLogger):
        """TensorBoard events alone, without an empty ``hparams.yaml``."""

        def save(self) -> None:
            """Write what is waiting."""
            self.experiment.flush()

    return Events(run, name="", version="")


def close(loggers: list[Logger], failed: bool) -> None:
    """End what would else be taken for the run of the next training in this process."""
    from pytorch_lightning.loggers import WandbLogger

    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))
