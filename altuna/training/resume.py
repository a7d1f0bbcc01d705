"""What a run may not change when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altuna.runs.directory import read_config
from altuna.training.config import options
from altuna.training.option_fields import marker


def config_diff(run: Path, config: Mapping[str, Any]) -> str:
    """Return which option differs from those that a run was started with, as a sentence; empty if none."""
    before = read_config(run)
    name = changed_option(before, config)
    if not name:
        return ""
    return f"{run}: was started with {name} = {before.get(name)!r}, not {config.get(name)!r}"


def changed_option(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first saved option that changes the result and is not as before; empty if there is none.

    Example:
        >>> changed_option({"lr": 0.1, "logger": "none"}, {"lr": 0.2, "logger": "wandb"})
        'lr'
    """
    fixed = (name for name in now if not marker(options()[name], "place"))
    return next((name for name in fixed if before.get(name) != now[name]), "")
