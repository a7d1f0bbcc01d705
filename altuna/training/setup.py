"""From options to data and model, checked and ready to train."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from altuna import methods
from altuna.core.model import MultimodalClassifier
from altuna.core.subsets import subsets
from altuna.data.missing.masks import Missing, masked
from altuna.data.readers.fit import fit_readers
from altuna.data.samples import Samples, class_numbers, prepare_stores, problems_of, samples_at
from altuna.data.store.arrays import Store
from altuna.data.store.problems import Problem
from altuna.data.stream import Stream
from altuna.data.table.manifest import Manifest, read_manifest
from altuna.data.table.splits import Rows, split_rows
from altuna.encoders import Encoder, Fitted, reader_of
from altuna.encoders.frozen import store_features
from altuna.errors import UserError
from altuna.methods.base import Method
from altuna.options import check_options, nearest
from altuna.reporting import SILENT
from altuna.runs.description import Description
from altuna.terminal import console
from altuna.training.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Prepared:
    """Data and model, checked and ready to train."""

    manifest: Manifest
    splits: dict[str, Samples]
    problems: list[Problem]
    description: Description
    method: Method
    stores: dict[str, Store]
    stream: Stream | None = None

    def digest(self) -> str:
        """Identify the samples, their classes and modalities: what a resumed training has to find again."""
        found = sha256(json.dumps(self.description.classes).encode())
        for samples in self.splits.values():
            ids = self.manifest.ids.take(pa.array(samples.rows)).to_pylist()
            found.update(json.dumps(ids).encode())
            found.update(samples.dataset.labels.tobytes())
            found.update(samples.dataset.present.tobytes())
        if self.stream:
            found.update(json.dumps([(s.url, s.rows) for s in self.stream.shards]).encode())
        return found.hexdigest()


def prepare(
    options: Mapping[str, Any], path: Path, store: Path, quiet: bool, device: torch.device | None = None
) -> Prepared:
    """Read the manifest, build the model, then read the cells: a mistake in the options is told before.

    Frozen encoders compute on ``device``; on a GPU if there is one when None.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, kind, method_options = _method(options)
    impute = method_options.pop("impute", "zero")
    manifest = _manifest(options, path, quiet)
    settings = _settings(options, manifest)
    rows = split_rows(manifest, options["seed"])
    manifest = _masked(manifest, rows, options, quiet)
    manifest = manifest.only(kind.select([*manifest.modalities], **method_options))
    _check_names(manifest)
    encoders = _encoders(manifest.modalities, settings["encoders"], settings["transforms"])
    readers = fit_readers(
        manifest, rows["train"], settings["readers"], lambda name, kind: reader_of(kind, encoders[name])
    )
    description = Description(
        method=name,
        classes=tuple(sorted(set(manifest.labels.take(rows["train"]).to_pylist()))),
        head=kind.head,
        fusion=options["fusion"],
        fixed_weights=settings["fixed_weights"],
        readers=readers,
        encoders=encoders,
        columns={n: m.columns for n, m in manifest.modalities.items()},
        impute=impute,
    )
    torch.manual_seed(options["seed"])
    model = description.build_model()
    _build(name, kind, model, method_options)  # thrown away: its options are checked
    stream = _stream(options, manifest, description)
    reporter = SILENT if quiet else console.TerminalReporter()
    stores = prepare_stores(manifest, readers, store, reporter)
    problems = problems_of(stores, manifest)
    _check_problems(problems, manifest, options["strict"])
    for modality, encoder in zip(model.modalities, model.encoders, strict=True):
        assert isinstance(encoder, Encoder)
        position = stores[modality].position[rows["train"]]
        if not (position >= 0).any():
            first = next((str(p) for p in stores[modality].problems if p.kind != "note"), "")
            first = f", beginning with {first}" if first else ""
            raise UserError(f"{manifest.path}: no train row has a {modality!r} that can be read{first}")
        if isinstance(encoder.front_end, Fitted):
            encoder.front_end.fit(stores[modality].array[position[position >= 0]])
        encoders[modality] = {**encoders[modality], **encoder.saved}
        if encoder.fixed:
            stores[modality] = store_features(modality, encoder, stores[modality], store, reporter, device)
    labels = class_numbers(manifest.labels, description.classes)
    splits = {name: samples_at(part, stores, labels) for name, part in rows.items()}
    if not len(splits["val"].rows):
        raise UserError(f"{manifest.path}: no val row can be read")
    torch.manual_seed(options["seed"])
    # Now that the front ends have their statistics, which a method may copy.
    method = _build(name, kind, model, method_options)
    description = replace(description, fusion=model.fusion, encoders=encoders)
    return Prepared(manifest, splits, problems, description, method, stores, stream)


def _stream(options: Mapping[str, Any], manifest: Manifest, description: Description) -> Stream | None:
    if options["stream"] is None:
        return None
    return Stream(
        options["stream"],
        manifest,
        description.readers,
        description.classes,
        batch_size=options["batch_size"],
        seed=options["seed"],
        buffer=options["buffer"],
        strict=options["strict"],
    )


def _method(options: Mapping[str, Any]) -> tuple[str, type[Method], dict[str, Any]]:
    """Return the method's name, class and options, with the training's checked too."""
    method_options = dict(options["method"])
    name = method_options.pop("name", None)
    if name is None:
        raise UserError("method: needs a name, one of " + ", ".join(methods.list()))
    kind = methods.check(name, method_options)
    if options["optimizer"] not in OPTIMIZERS:
        raise UserError(f"optimizer: no {options['optimizer']!r}{nearest(options['optimizer'], OPTIMIZERS)}")
    return name, kind, method_options


def _build(name: str, kind: type[Method], model: MultimodalClassifier, options: Mapping[str, Any]) -> Method:
    try:
        return kind(model, **options)
    except ValueError as error:
        raise UserError(f"method {name!r}: {error}") from None


def _manifest(options: Mapping[str, Any], path: Path, quiet: bool) -> Manifest:
    manifest = read_manifest(
        path,
        options["modalities"],
        columns=options["columns"],
        allow_shared_groups=options["allow_shared_groups"],
    )
    if not quiet:
        for note in manifest.notes:
            console.err.print(note, markup=False)
    return manifest


def _check_names(manifest: Manifest) -> None:
    """Raise UserError if two sets of modalities would have one name, as of ``a``, ``b`` and ``a+b``."""
    called = Counter("+".join(some) for some in subsets([*manifest.modalities]))
    name, number = called.most_common(1)[0]
    if number > 1:
        raise UserError(
            f"{manifest.path}: two sets of modalities are called {name!r}: rename one, without a +"
        )


def _masked(
    manifest: Manifest, rows: Mapping[str, Rows], options: Mapping[str, Any], quiet: bool
) -> Manifest:
    """Return the manifest without the cells that the options take away."""
    file = Path(options["missing_mask"]) if options["missing_mask"] else None
    train = Missing(options["missing_rate"], options["missing_pattern"], file)
    rate, pattern = options["test_missing_rate"], options["test_missing_pattern"]
    test = Missing(train.rate if rate is None else rate, pattern or train.pattern, file)
    missing = {"train": train, "val": train, "test": test}
    if not any(missing.values()):
        return manifest
    left = masked(manifest, rows, missing, options["seed"])
    before, after = (np.any([m.filled(name) for name in m.modalities], axis=0) for m in (manifest, left))
    if not quiet and (gone := int((before & ~after).sum())):
        console.err.print(f"{gone:,} samples are left without any cell, and are not used", markup=False)
    return left


def _settings(options: Mapping[str, Any], manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the options that are by modality, having checked the modalities' names."""
    settings = {}
    for section in ("readers", "encoders", "transforms", "fixed_weights"):
        settings[section] = dict(options[section] or {})
        for modality, given in settings[section].items():
            if section == "fixed_weights" and not isinstance(given, int | float):
                raise UserError(f"fixed_weights.{modality}: must be a number, got {given!r}")
            if section == "encoders" and not isinstance(given, str | Mapping | None):
                raise UserError(
                    f"encoders.{modality}: must be a name, or options with their values: {given!r}"
                )
            if modality not in manifest.modalities:
                known = nearest(modality, manifest.modalities)
                raise UserError(f"{section}: no modality {modality!r}{known}")
    return settings


def _check_problems(problems: Sequence[Problem], manifest: Manifest, strict: bool) -> None:
    unread = [problem for problem in problems if problem.kind != "note"]
    if unread and strict:
        raise UserError(f"{manifest.path}, {unread[0]} ({len(unread)} problems; --strict)")
    fatal = next((problem for problem in problems if problem.kind == "fatal"), None)
    if fatal:
        raise UserError(f"{manifest.path}, {fatal}")


def _encoders(
    modalities: Iterable[str], encoders: Mapping[str, Any], transforms: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return each modality's encoder with its options, its transforms among them."""
    stated = {}
    for name in modalities:
        encoder = encoders.get(name) or {}
        stated[name] = {"name": encoder} if isinstance(encoder, str) else dict(encoder)
        if name in transforms:
            stated[name]["transforms"] = transforms[name] or {}
        check_options(stated[name], _encoder_options, f"encoders.{name}", others=True)
        for transform, given in (transforms.get(name) or {}).items():
            if not isinstance(transform, str) or not isinstance(given, Mapping | None):
                raise UserError(f"transforms.{name}: write each with its options, as in {transform}: {{}}")
    return stated


def _encoder_options(
    name: str,
    transforms: Mapping[str, Any] | None,
    front_end: str | Mapping[str, Any] | None,
    lr: float | None,
) -> None:
    """State what every encoder has beside its own options."""
