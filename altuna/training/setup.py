"""From options to data and model, checked and ready to train."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from altuna import methods
from altuna.core.batch import Batch
from altuna.core.collectives import processes, rank
from altuna.core.model import MultimodalClassifier
from altuna.core.subsets import subsets
from altuna.data.dataset import loader
from altuna.data.fit_readers import fit_readers
from altuna.data.missing.masks import Missing, masked
from altuna.data.samples import Samples, class_numbers, prepare_stores, problems_of, samples_at
from altuna.data.store.arrays import Store
from altuna.data.store.problems import Problem, write_problems
from altuna.data.stream.batches import Stream
from altuna.data.table.manifest import Manifest
from altuna.data.table.modalities import Modality
from altuna.data.table.splits import Rows, split_rows
from altuna.encoders import Encoder, reader_of
from altuna.encoders.base import HF_PREFIX, HF_TYPES
from altuna.encoders.frozen import store_features
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.hardware import choose_threads
from altuna.methods.base import Method
from altuna.methods.parts.joint_turn import with_expert
from altuna.options import check_options, nearest
from altuna.recipes.built_in import find_manifest
from altuna.reporting import SILENT, Reporter
from altuna.runs.description import Description
from altuna.runs.hub import check_source
from altuna.training.config import FitConfig
from altuna.training.loop import Loop
from altuna.training.members import (
    Member,
    another,
    build_method,
    check_samples,
    class_counts,
    parts_of,
    seed_of,
)
from altuna.training.presets import resolve_preset
from altuna.training.table import manifest_of

SAMPLE = 4  # rows of which FLOPs are counted


@dataclass(frozen=True)
class Prepared:
    """Data and models, checked and ready to train: one model, or one for each fold.

    ``splits`` has the samples that train and validate any of the models, and those of the test.
    """

    manifest: Manifest
    splits: dict[str, Samples]
    problems: list[Problem]
    description: Description
    members: list[Member]
    stores: dict[str, Store]
    stream: Stream | None = None

    def all_problems(self) -> list[Problem]:
        """Return the problems with columns and with cells, those of a stream's training cells too."""
        problems = [*self.problems, *(self.stream.all_problems() if self.stream else [])]
        return sorted(problems, key=lambda problem: problem.row > 0)

    def digest(self, member: Member) -> str:
        """Return what identifies a model's samples, classes and modalities; resuming needs the same."""
        found = sha256(json.dumps(self.description.classes).encode())
        for samples in (member.train, member.val, self.splits["test"]):
            ids = self.manifest.ids.take(pa.array(samples.rows)).to_pylist()
            found.update(json.dumps(ids).encode())
            found.update(samples.dataset.labels.tobytes())
            found.update(samples.dataset.present.tobytes())
        if self.stream:
            found.update(json.dumps([(s.url, s.rows) for s in self.stream.shards]).encode())
        return found.hexdigest()


def prepare(
    config: FitConfig,
    path: Path,
    store: Path,
    reporter: Reporter = SILENT,
    device: torch.device | None = None,
) -> Prepared:
    """Read the manifest, build the model, then read the cells: mistakes in the options are found first.

    Args:
        config: The options.
        path: The manifest.
        store: Folder of prepared data.
        reporter: Where to report.
        device: Where frozen encoders compute; on a GPU if there is one when None.
    """
    name, kind, method_options = _method(config)
    impute = method_options.pop("impute", "zero")
    manifest = _manifest(config, path, reporter)
    settings = _settings(config, manifest)
    rows = split_rows(manifest, config.seed)
    manifest = _masked(manifest, rows, config, reporter)
    manifest = manifest.only(kind.select([*manifest.modalities], **method_options))
    _check_modalities(manifest, name, config)
    rows, parts = parts_of(manifest, rows, config.folds, config.seed)
    manifest = manifest.trained_on(rows["train"])
    encoders = _encoders(manifest.modalities, settings["encoders"], settings["transforms"])
    readers = fit_readers(
        manifest, rows["train"], settings["readers"], lambda name, kind: reader_of(kind, encoders[name])
    )
    description = Description(
        method=name,
        classes=tuple(sorted(set(manifest.labels.take(rows["train"]).to_pylist()))),
        head=kind.head,
        fusion=config.fusion or "",
        fixed_weights=settings["fixed_weights"],
        readers=readers,
        encoders=encoders,
        columns={n: m.columns for n, m in manifest.modalities.items()},
        impute=impute,
        expert=kind.expert,
        folds=len(parts),
        formats=manifest.formats,
    )
    torch.manual_seed(config.seed)
    model = description.build_member()
    build_method(name, kind, model, method_options)  # thrown away: its options are checked
    stream = _stream(config, manifest, description)
    stores = prepare_stores(manifest, readers, store, reporter)
    problems = problems_of(stores, manifest)
    _check_problems(problems, manifest, config.strict)
    _fit_front_ends(model, encoders, stores, rows["train"], manifest)
    _encode_ahead(model, stores, store, reporter, device)
    labels = class_numbers(manifest.labels, description.classes)
    splits = {name: samples_at(part, stores, labels) for name, part in rows.items()}
    _check_test(splits["test"], config, manifest)
    members = []
    for number, part in enumerate(parts):
        seed = seed_of(config.seed, number)
        own = model if number == 0 else another(model, description, seed)
        train, val = (samples_at(some, stores, labels) for some in part)
        check_samples(own, train, val, manifest.path, streamed=stream is not None)
        torch.manual_seed(seed)
        # Now that the front ends have their statistics, which a method may copy.
        method = build_method(name, kind, own, method_options)
        # The rows of a stream are not counted before they are read: those of validation stand for them.
        own.set_prior(class_counts(val if stream else train, len(description.classes)))
        members.append(Member(method, train, val, seed))
    description = replace(description, fusion=model.fusion, encoders=encoders)
    return Prepared(manifest, splits, problems, description, members, stores, stream)


def _encode_ahead(
    model: MultimodalClassifier,
    stores: dict[str, Store],
    store: Path,
    reporter: Reporter,
    device: torch.device | None,
) -> None:
    """Replace the cells of frozen encoders by their features, computed once."""
    for modality, encoder in zip(model.modalities, model.encoders, strict=True):
        assert isinstance(encoder, Encoder)
        if encoder.fixed:
            where = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
            stores[modality] = store_features(modality, encoder, stores[modality], store, reporter, where)


def prepare_ahead(config: FitConfig, reporter: Reporter) -> dict[str, Store]:
    """Prepare the data of a training; return the store of each modality."""
    path = find_manifest(config.data, config.root, download=config.download)
    folder = config.store or cache_folder() / "store"
    folder.mkdir(parents=True, exist_ok=True)
    config = resolve_preset(config, folder, path, reporter)
    prepared = prepare(config, path, folder, reporter)
    write_problems(folder / "problems.csv", prepared.problems)
    return prepared.stores


def feeds(
    prepared: Prepared, member: Member, config: FitConfig, device: torch.device
) -> tuple[Stream | DataLoader[Batch], DataLoader[Batch]]:
    """Return what gives the training batches and the validation batches; processes share out the cells."""
    train, val = (samples.dataset.shared(rank(), processes()) for samples in (member.train, member.val))
    size, stream = config.batch_size, prepared.stream
    if stream:
        stream.workers, stream.pinned = max(1, config.workers), device.type == "cuda"
    return (
        stream or loader(train, size, member.seed, config.workers, device),
        loader(val, size, device=device),
    )


def build_loop(
    prepared: Prepared, member: Member, config: FitConfig, device: torch.device, precision: str
) -> Loop:
    """Return the loop that a training's options ask for."""
    method = member.method
    method.model.micro_batch = config.micro_batch
    # Parts of batches differ in number between processes, and the norms would wait for each other.
    if processes() > 1 and device.type == "cuda" and not config.micro_batch:
        nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
    if config.compile:
        # Encoders share code, and all their graphs count together: of sizes, of batches, with gradients.
        limits: Any = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, 8 * len(method.model.modalities))
        method.model.compile()
    return Loop(
        method,
        optimizer=config.optimizer,
        lr=config.lr,
        schedule=config.schedule.model_dump() if config.schedule else None,
        weight_decay=config.weight_decay,
        epochs=config.epochs,
        max_updates=config.budget.updates if config.budget else None,
        max_seconds=config.budget.seconds if config.budget else None,
        clip=config.clip,
        seed=member.seed,
        log_every=config.log_every,
        device=device,
        precision=precision,
        data=prepared.digest(member),
    )


def threads_of(config: FitConfig, prepared: Prepared) -> int:
    """Return with how many CPU threads to train: as many as the most expensive modality is worth."""
    if config.threads is not None:
        return config.threads
    model, dataset = prepared.members[0].method.model, prepared.members[0].train.dataset
    most = 0.0
    for modality, array in dataset.arrays.items():
        position = dataset.position[modality]
        cells = torch.from_numpy(array.take(position[position >= 0][:SAMPLE], 0))
        with model.eval_mode(), FlopCounterMode(display=False) as counter:
            model.encode(modality, cells)
        most = max(most, counter.get_total_flops() / len(cells) * config.batch_size)
    return choose_threads(most, torch.get_num_threads())


def _fit_front_ends(
    model: MultimodalClassifier,
    encoders: dict[str, dict[str, Any]],
    stores: Mapping[str, Store],
    train: NDArray[np.int64],
    manifest: Manifest,
) -> None:
    """Fit each encoder's front end to the training cells, and note its options in ``encoders``."""
    for modality, encoder in zip(model.modalities, model.encoders, strict=True):
        assert isinstance(encoder, Encoder)
        position = stores[modality].position[train]
        if not (position >= 0).any():
            first = next((str(p) for p in stores[modality].problems if p.kind != "note"), "")
            first = f", beginning with {first}" if first else ""
            raise UserError(f"{manifest.path}: no train row has a {modality!r} that can be read{first}")
        if encoder.fitted:
            encoder.fit(stores[modality].array[position[position >= 0]])
        encoders[modality] = {**encoders[modality], **encoder.saved}
    for number, encoder in model.expert_encoders.items():
        own = model.encoders[int(number)]
        encoder.front_end = copy.deepcopy(own.front_end)
        if own.frozen:
            encoder.network = copy.deepcopy(own.network)


def _stream(config: FitConfig, manifest: Manifest, description: Description) -> Stream | None:
    if config.stream is None:
        return None
    return Stream(
        config.stream,
        manifest,
        description.readers,
        description.classes,
        batch_size=config.batch_size,
        seed=config.seed,
        buffer=config.buffer,
        strict=config.strict,
    )


def _method(config: FitConfig) -> tuple[str, type[Method], dict[str, Any]]:
    """Return the method's name, class and options, checked."""
    method_options = dict(config.method)
    name = method_options.pop("name")
    kind = methods.check(name, method_options)
    try:
        return name, with_expert(kind, config.joint_expert), method_options
    except ValueError as error:
        raise UserError(f"joint_expert: not available for the method {name!r}: {error}") from None


def _manifest(config: FitConfig, path: Path, reporter: Reporter) -> Manifest:
    manifest = manifest_of(config, path)
    for note in manifest.notes:
        reporter.note(note)
    return manifest


def _check_test(test: Samples, config: FitConfig, manifest: Manifest) -> None:
    """Raise UserError if folds have learnt from all rows that could test them."""
    if config.folds and not len(test.rows):
        raise UserError(f"{manifest.path}: no test row can be read, and folds learn from all others")


def _check_modalities(manifest: Manifest, method: str, config: FitConfig) -> None:
    """Raise UserError for a joint expert of one modality, or if two sets of modalities have one name."""
    if config.joint_expert != "off" and len(manifest.modalities) < 2:
        only = next(iter(manifest.modalities))
        raise UserError(f"joint_expert: needs 2 modalities, {method!r} trains only {only!r}")
    called = Counter("+".join(some) for some in subsets([*manifest.modalities]))
    name, number = called.most_common(1)[0]
    if number > 1:
        raise UserError(
            f"{manifest.path}: two sets of modalities are called {name!r}: remove the + from the names"
        )


def _masked(manifest: Manifest, rows: Mapping[str, Rows], config: FitConfig, reporter: Reporter) -> Manifest:
    """Return the manifest without the cells that the options take away."""
    file = config.missing_mask
    train = Missing(config.missing_rate, config.missing_pattern, file)
    rate, pattern = config.test_missing_rate, config.test_missing_pattern
    test = Missing(train.rate if rate is None else rate, pattern or train.pattern, file)
    missing = {"train": train, "val": train, "test": test}
    if not any(missing.values()):
        return manifest
    left = masked(manifest, rows, missing, config.seed)
    before, after = (np.any([m.filled(name) for name in m.modalities], axis=0) for m in (manifest, left))
    if gone := int((before & ~after).sum()):
        reporter.note(f"{gone:,} samples have no cell left after masking and are not used")
    return left


def _settings(config: FitConfig, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the options that are by modality, having checked the modalities' names."""
    settings = {}
    for section in ("readers", "encoders", "transforms", "fixed_weights"):
        settings[section] = dict(getattr(config, section) or {})
        for modality in settings[section]:
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
    modalities: Mapping[str, Modality], encoders: Mapping[str, Any], transforms: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return each modality's encoder with its options, its transforms among them."""
    stated = {}
    for name, modality in modalities.items():
        encoder = encoders.get(name) or {}
        stated[name] = {"name": encoder} if isinstance(encoder, str) else dict(encoder)
        if name in transforms:
            stated[name]["transforms"] = transforms[name] or {}
        check_options(stated[name], _encoder_options, f"encoders.{name}", others=True)
        network = stated[name].get("name")
        if isinstance(network, str) and network.startswith(HF_PREFIX) and modality.type in HF_TYPES:
            check_source(network)
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
