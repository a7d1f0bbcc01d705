"""Open a manifest with the modalities and columns of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from altuna.data.table.manifest import Manifest, check_numbers, modality_of, read_manifest
from altuna.errors import UserError
from altuna.runs.description import Description


def open_manifest(
    description: Description,
    path: str | Path,
    modalities: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    lenient: bool = True,
) -> Manifest:
    """Read a manifest with those of a model's modalities that it has, in the columns of training.

    ``modalities``, ``columns`` and ``lenient`` are as in ``read_manifest``.
    """
    known, trained = {}, description.columns
    text = [c for n, r in description.readers.items() if r.type != "vector" for c in trained.get(n, (n,))]
    manifest = read_manifest(
        path, modalities, columns=columns, text=text, allow_shared_groups=True, lenient=lenient
    )
    for name, reader in description.readers.items():
        found = manifest.modalities.get(name)
        mine = trained.get(name) or (found.columns if found else (name,))
        if set(mine) <= set(manifest.table.column_names):
            check_numbers(manifest.path, manifest.table, mine)
            known[name] = modality_of(manifest.table, reader.type, mine)
    if not known:
        raise UserError(
            f"{path}: has none of the model's modalities ({', '.join(description.readers)}), "
            f"but {', '.join(manifest.modalities)}"
        )
    return replace(manifest, modalities=known)
