"""The run directory: what a training leaves behind, and how a model comes back from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from altuna.errors import UserError
from altuna.files import read_yaml

LONGEST_LABEL = 80  # letters of what tells a run from others
# What metrics.json of every run has, that others read.
FIGURES = (
    *("data", "method", "seed", "split", "n", "modalities", "fused", "fusion"),
    *("imbalance", "rates", "subsets", "training", "cost"),
)


def read_json(run: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a run directory."""
    path = run / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        reason = f"not a finished run: no {name}" if run.is_dir() else "no such run directory"
        if run.is_file():
            reason = "is a file, not a run directory"
        if str(run).startswith("hf:"):
            reason = "a model of the hub has no figures, data or predictions; name a run directory"
        raise UserError(f"{run}: {reason}") from None
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content


def read_config(run: Path) -> dict[str, Any]:
    """Read ``config.yaml``, the options of the run."""
    path = run / "config.yaml"
    config = read_yaml(path)
    if lacking := [name for name in ("data", "method", "modalities", "seed") if name not in config]:
        raise UserError(f"{path}: not the options of a run: no {lacking[0]!r}")
    if not isinstance(config["method"], dict) or "name" not in config["method"]:
        raise UserError(f"{path}: not the options of a run: 'method' has no name")
    return config


def read_metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json``, the figures of a finished run."""
    metrics = read_json(run, "metrics.json")
    if lacking := [name for name in FIGURES if name not in metrics]:
        raise UserError(f"{run / 'metrics.json'}: not the figures of a run: no {lacking[0]!r}")
    return metrics


def run_labels(
    configs: Sequence[Mapping[str, Any]], folders: Sequence[str], *, joined: bool = False
) -> list[str]:
    """Name what runs have trained: the method, and whatever tells a run from some other but its seed.

    Where that is much, as on other data, the run's folder stands for it or, if runs that differ by nothing
    but the seed are joined, that of the first of them.
    """
    options = [*map(_options, configs)]
    first: dict[str, str] = {}
    labels = []
    for config, mine, folder in zip(configs, options, folders, strict=True):
        told = {name: value for name, value in mine.items() if any(o.get(name) != value for o in options)}
        more = ", ".join(f"{name}={value}" for name, value in told.items() if value is not None)
        label = f"{config['method']['name']} ({more})" if more else str(config["method"]["name"])
        if len(label) > LONGEST_LABEL:
            label = first.setdefault(label if joined else folder, f"{config['method']['name']} ({folder})")
        labels.append(label)
    return labels


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's options, those of its method among them, without what it is called by."""
    own = {name: value for name, value in config["method"].items() if name != "name"}
    return {n: v for n, v in config.items() if n not in ("data", "root", "seed", "method")} | own
