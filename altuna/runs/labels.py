"""Name runs by what they trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_LABEL = 80  # characters


def run_labels(
    configs: Sequence[Mapping[str, Any]], folders: Sequence[str], *, joined: bool = False
) -> list[str]:
    """Return a name for each run: its method, and the options in which it differs from another run.

    The seed is no such option. Where the name would be too long, as on other data, the run's folder takes the
    place of the options.

    Args:
        configs: The runs' ``config.yaml``.
        folders: Names of their folders.
        joined: Give runs that differ in the seed alone one name, by the folder of the first of them.

    Example:
        >>> configs = [{"method": {"name": "mla"}, "lr": lr, "seed": 0} for lr in (0.1, 0.2)]
        >>> run_labels(configs, ["a", "b"])
        ['mla (lr=0.1)', 'mla (lr=0.2)']
    """
    options = [*map(_options, configs)]
    first: dict[str, str] = {}
    labels = []
    for config, own, folder in zip(configs, options, folders, strict=True):
        differing = {name: value for name, value in own.items() if any(o.get(name) != value for o in options)}
        shown = ", ".join(f"{name}={value}" for name, value in differing.items() if value is not None)
        label = f"{config['method']['name']} ({shown})" if shown else str(config["method"]["name"])
        if len(label) > MAX_LABEL:
            label = first.setdefault(label if joined else folder, f"{config['method']['name']} ({folder})")
        labels.append(label)
    return labels


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's options and those of its method, without the data and the seed."""
    own = {name: value for name, value in config["method"].items() if name != "name"}
    return {n: v for n, v in config.items() if n not in ("data", "root", "seed", "method")} | own
