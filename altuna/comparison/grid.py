"""The trainings of a comparison: each method on each data with each seed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from altuna import methods
from altuna.comparison.pool import Run
from altuna.data.dataset import BatchSampler
from altuna.data.table.manifest import describe_modalities
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.methods.parts.joint_turn import with_expert
from altuna.options import validate
from altuna.recipes.built_in import find_manifest
from altuna.reporting import SILENT, Reporter
from altuna.training.config import RAW, FitConfig, check_raw
from altuna.training.setup import Prepared, prepare
from altuna.training.table import manifest_of

Method = tuple[str, dict[str, Any]]  # its label in tables, and its options with its name


@dataclass
class Grid:
    """All trainings, ordered by seed, and which methods were left out on which data and why."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)


def make_grid(
    names: Sequence[str],
    chosen: Sequence[Method],
    out: Path,
    options: Mapping[str, Any],
    *,
    seeds: int,
    budget: str,
    strict: bool,
    reporter: Reporter,
) -> Grid:
    """Prepare the data and return the trainings.

    Args:
        names: Data.
        chosen: Methods.
        out: The folder of all run directories.
        options: Options of ``fit`` for all trainings.
        seeds: Number of seeds.
        budget: ``updates``, ``epochs`` or ``time``.
        strict: A method that cannot be trained on some data is a mistake; otherwise it is left out there.
        reporter: Where to report.

    Raises:
        UserError: Something is wrong with the data or the options, or no method can be trained.
    """
    paths = _manifests(names, options)
    grid, stems = Grid(), folder_names(names)
    for name in names:
        settled: list[Method] = []
        for seed in range(seeds):
            config = _config(name, options, seed=seed)
            store = config.store or cache_folder() / "store"
            prepared = prepare(config, paths[name], store, SILENT if seed else reporter)
            if seed == 0:
                reporter.note(f"{name}: {describe_modalities(prepared.manifest.modalities)}")
                settled = _settle(name, chosen, prepared, strict, grid)
            more = _options_for(name, options)
            if budget == "updates":
                more["budget"] = {"updates": _standard_updates(prepared, config)}
            labels = folder_names([label for label, _ in settled])
            for label, method in settled:
                folder = out / f"{stems[name]}-{labels[label]}-{seed}"
                stated = {"data": name, "method": method, "seed": seed, **more}
                grid.runs.append(Run(name, label, seed, folder, stated))
    if not grid.runs:
        reasons = "; ".join(one["reason"] for one in grid.left_out)
        raise UserError(f"no method can be trained on the data: {reasons}")
    grid.runs.sort(key=lambda run: run.seed)
    return grid


def _manifests(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Path]:
    """Return each data's manifest, having checked the options with it."""
    try:
        check_raw(options, *names)
    except ValueError as error:
        raise UserError(str(error)) from None
    configs = {name: _config(name, options) for name in names}
    paths = {name: find_manifest(name, one.root, download=one.download) for name, one in configs.items()}
    if len(names) > 1:  # a mistake in the last is found before the first is decoded
        for name, one in configs.items():
            manifest_of(one, paths[name])
    return paths


def _settle(
    name: str, chosen: Sequence[Method], prepared: Prepared, strict: bool, grid: Grid
) -> list[Method]:
    """Return the methods that can be trained on some data; note the others in the grid."""
    settled: list[Method] = []
    for label, method in chosen:
        reason = _reason_against(method, prepared)
        if not reason:
            settled += _each(label, method, [*prepared.manifest.modalities])
        elif strict:
            raise UserError(f"{name}: method {method['name']!r}: {reason}")
        else:
            grid.left_out.append({"data": name, "method": label, "reason": reason})
    return settled


def _options_for(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for some data, without those about the raw files of other data."""
    return {n: value for n, value in options.items() if n not in RAW or name.startswith("av-digits")}


def _config(name: str, options: Mapping[str, Any], **more: Any) -> FitConfig:
    return validate(FitConfig, {"data": name, **_options_for(name, options), **more})


def _each(
    label: str, method: dict[str, Any], modalities: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a method, or what becomes of one that trains a single modality: one for each."""
    if "modality" in inspect.signature(methods.get(method["name"])).parameters and "modality" not in method:
        for modality in modalities:
            yield f"{label}:{modality}", method | {"modality": modality}
    else:
        yield label, method


def _reason_against(method: Mapping[str, Any], prepared: Prepared) -> str:
    """Say why a method cannot be trained on data, by making it; empty if it can."""
    settings = {key: value for key, value in method.items() if key != "name"}
    description = prepared.description
    impute = settings.pop("impute", "zero")
    try:
        kind = with_expert(methods.get(method["name"]), description.expert)
        used = kind.select([*description.readers], **settings)
        description = replace(
            description,
            head=kind.head,
            expert=kind.expert,
            fusion="",
            impute=impute,
            readers={name: description.readers[name] for name in used},
            encoders={name: description.encoders[name] for name in used},
        )
        kind(description.build_member(), **settings)
    except ValueError as error:
        return str(error)
    return ""


def _standard_updates(prepared: Prepared, config: FitConfig) -> int:
    """Return the encoder updates of a standard training: in every batch one for each modality that it has."""
    dataset = prepared.members[0].train.dataset
    present, total = dataset.present, 0
    sampler = BatchSampler(len(dataset), config.batch_size, config.seed)
    for epoch in range(config.epochs):
        sampler.set_epoch(epoch)
        total += sum(int(present[:, batch].any(axis=1).sum()) for batch in sampler)
    return total


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each name its part of a folder's name; where some would be the same, a digest tells."""
    stems = {name: folder_name(name) for name in names}
    alike = [stem.lower() for stem in stems.values()]  # some file systems do not tell them apart
    return {
        name: stem if alike.count(stem.lower()) == 1 else f"{stem}-{sha256(name.encode()).hexdigest()[:6]}"
        for name, stem in stems.items()
    }


def folder_name(name: str) -> str:
    """Return a name as part of a folder's name.

    Example:
        >>> folder_name("data/my table.csv"), folder_name("mla (alpha=0.05)")
        ('my-table', 'mla-alpha=0.05')
    """
    path = Path(name)
    stem = path.stem if path.suffix.lstrip(".").isalpha() else name
    return re.sub(r"[^\w.=+-]+", "-", stem).strip("-.") or "run"
