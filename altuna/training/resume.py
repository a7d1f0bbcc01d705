"""What a run may not change when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altuna.runs.directory import read_config
from altuna.training.config import marker, options


def config_diff(run: Path, config: Mapping[str, Any]) -> str:
    """Return which option differs from those that a run was started with, as a sentence; empty if none."""
    before = read_config(run)
    for name, value in config.items():
        if not marker(options()[name], "place") and before.get(name) != value:
            return f"{run}: was started with {name} = {before.get(name)!r}, not {value!r}"
    return ""
