"""The table of a training, read as the options say."""

from __future__ import annotations

from pathlib import Path

from altuna.data.table.manifest import Manifest, read_manifest
from altuna.training.config import FitConfig


def manifest_of(config: FitConfig, path: Path) -> Manifest:
    """Read and check the manifest at ``path``; see ``read_manifest``.

    Raises:
        UserError: A mistake in the table, or in the options about it.
    """
    named = {*(config.encoders or {}), *(config.readers or {}), *(config.transforms or {})}
    return read_manifest(
        path,
        config.modalities,
        columns=config.columns,
        ignore=config.ignore,
        types=config.types,
        named=named,
        allow_shared_groups=config.allow_shared_groups,
    )
