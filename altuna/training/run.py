"""One training from options to a run directory: prepare, train, take the best epoch, test, save."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from altuna.core.calibration import MIN_ROWS, modalities_with_few_rows
from altuna.core.collectives import all_gather_object, rank
from altuna.core.evidence import FOLDS
from altuna.data.balance import learnt_from
from altuna.data.missing.masks import write_mask
from altuna.data.store.problems import write_problems
from altuna.data.table.account import described, to_csv
from altuna.data.table.splits import group_codes
from altuna.errors import UserError
from altuna.files import cache_folder, exclusive_folder, write_text
from altuna.hardware import (
    check_compiler,
    choose_device,
    choose_precision,
    peak_memory,
    reset_peak_memory,
    threads,
)
from altuna.recipes.built_in import find_manifest
from altuna.report import write_report
from altuna.reporting import SILENT, Reporter
from altuna.runs.trained_on import row_keys, write_keys
from altuna.training import loggers
from altuna.training.checkpoints import Checkpoints, load_weights
from altuna.training.config import FitConfig
from altuna.training.distributed import Placement, join, rank_zero_first
from altuna.training.estimators import estimator_remarks
from altuna.training.finish import Trained, finish
from altuna.training.loggers import Logger
from altuna.training.loop import Loop
from altuna.training.presets import resolve_preset
from altuna.training.resume import config_diff
from altuna.training.setup import (
    Prepared,
    build_loop,
    feeds,
    prepare,
    threads_of,
)

MASK = "present.parquet"
SHORT = 1e-3  # seconds


def train(run: Path, config: FitConfig, reporter: Reporter) -> Path:
    """Carry out ``altuna.fit`` and return the run directory.

    Args:
        run: The run directory. Without ``config.out`` altuna chose its name: the first free one after it is
            taken.
        config: The options.
        reporter: Where the first process reports.

    Raises:
        KeyboardInterrupt: Ctrl-C, with the run directory, which ``resume`` continues.
    """
    silence_warnings()
    started = time.monotonic()
    here = join()
    first = rank() == 0
    reporter = reporter if first else SILENT
    with rank_zero_first():
        path = find_manifest(config.saved()["data"], config.root, download=config.download)
        config = resolve_preset(config, run, path, reporter)
    config = all_gather_object(config)[0]  # what can be loaded may differ between the processes
    saved = {**config.saved(), "precision": choose_precision(config.precision, config.accelerator)}
    with rank_zero_first():
        if config.out is not None or config.resume:
            _check_same_options(run, saved)
        device = _device(config, here)  # before data are prepared, which may take hours
        store = config.store or cache_folder() / "store"
        prepared = prepare(config, path, store, reporter, device)
    cpu_threads = threads_of(config, prepared)
    with _run_directory(run, config) as run:
        facts = _facts(prepared)
        found = estimator_remarks(prepared.splits["train"].dataset, config, prepared.description.fusion)
        facts["remarks"] += found
        reset_peak_memory(device)
        trained = []
        for number, member in enumerate(prepared.members):
            folder = _folder(run, config, number)
            loop = build_loop(prepared, member, config, device, saved["precision"])
            checkpoints = Checkpoints(folder, config.checkpoint_every, saved, run)
            with rank_zero_first():
                checkpoints.resume(loop)
                if first and number == 0:  # not before it is known that the run can be resumed
                    _write_start(run, saved, prepared)
                curves = loggers.build(loggers.named(config.logger), folder, saved, config.quiet)
            if number == 0:
                _remark(prepared, config, saved["precision"], facts, run, reporter)
            if config.folds:
                reporter.note(f"fold {number + 1}: {len(member.val.rows)} samples validate the model")
            _limit(loop, config.time_limit, started, number, len(prepared.members))
            given = feeds(prepared, member, config, device)
            with _closing(curves), threads(cpu_threads):
                loop.run(*given, checkpoints=checkpoints, loggers=curves, reporter=reporter)
            if loop.extent.limit_is_reached(loop.progress):
                reporter.note(f"time_limit: the training ended in epoch {loop.progress.epoch}")
            with rank_zero_first():  # which has written it by then
                load_weights(checkpoints.best, loop)
            member.method.zero_grad()
            trained.append(Trained(member, loop.progress))
        memory = max(all_gather_object(peak_memory(device)))
        problems = prepared.all_problems()
        with rank_zero_first():
            if first:
                write_problems(run / "problems.csv", problems)
                finish(run, config, prepared, trained, facts, memory, device)
                if config.report:
                    with reporter.waiting("writing the report"):
                        write_report([run])
    return run


def _device(config: FitConfig, here: Placement | None) -> torch.device:
    """Return where this process computes, after a look whether it can do so as the options ask."""
    device = choose_device(config.accelerator, here.local_rank if here else 0)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if config.compile:
        check_compiler(device)
    return device


def _folder(run: Path, config: FitConfig, number: int) -> Path:
    """Return where a model's checkpoints are: the run directory, or a folder in it for each fold."""
    folder = run if config.folds is None else run / f"fold-{number + 1}"
    folder.mkdir(exist_ok=True)
    return folder


def _limit(loop: Loop, minutes: float | None, started: float, number: int, models: int) -> None:
    """Give a training its share of a time limit, and keep some for calibration, test and report.

    The first training needs some of the time; a later one that gets none ends after a batch.

    Args:
        loop: The training.
        minutes: The limit; None: there is none.
        started: When the command started, by ``time.monotonic``.
        number: Number of models that are trained.
        models: Number of models.

    Raises:
        UserError: Nothing is left of the time.
    """
    if minutes is None:
        return
    left = minutes * 60 - (time.monotonic() - started)
    left = all_gather_object(left - max(0.2 * left, min(15, 0.5 * left)))[0]
    if left <= 0 and number == 0:
        raise UserError(f"time_limit: {minutes:g} minutes were over before the training could start")
    share = max(left, SHORT) / (models - number)
    loop.extent = replace(loop.extent, limit=loop.progress.all_seconds() + share)


def silence_warnings() -> None:
    """Silence warnings of libraries that a user of altuna can do nothing about."""
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    warnings.filterwarnings("ignore", module="joblib.externals.loky")  # a worker that grew was replaced


def _check_same_options(run: Path, saved: dict[str, Any]) -> None:
    if (run / "config.yaml").exists() and (difference := config_diff(run, saved)):
        raise UserError(f"{difference}; --resume requires the same options")


@contextmanager
def _run_directory(run: Path, config: FitConfig) -> Iterator[Path]:
    """Make the run directory and keep other trainings out; remove it if an error leaves nothing to resume.

    After Ctrl-C, name the run directory to continue in.
    """
    first = rank() == 0
    if config.out is None and not config.resume:
        run = all_gather_object(_claim(run) if first else run)[0]
    with ExitStack() as held:
        with rank_zero_first():
            if first:
                held.enter_context(exclusive_folder(run, "another altuna trains there"))
        run.mkdir(parents=True, exist_ok=True)
        empty = not any(run.iterdir())
        try:
            yield run
        except UserError:
            if empty and first and not any(run.rglob("*.ckpt")):
                shutil.rmtree(run)
            raise
        except KeyboardInterrupt:
            if (run / "config.yaml").exists():  # else there is nothing to continue
                raise KeyboardInterrupt(run) from None
            raise


def _claim(run: Path) -> Path:
    """Make the first folder of ``run``, ``run-2``, ``run-3`` ... that is not there, and return it."""
    for number in count(1):
        folder = run if number == 1 else run.with_name(f"{run.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() does not end")


def _facts(prepared: Prepared) -> dict[str, Any]:
    """Return what the training data are like: their numbers, and remarks on them."""
    facts = learnt_from(prepared.splits["train"].dataset, prepared.description.classes)
    few = modalities_with_few_rows(torch.from_numpy(prepared.splits["val"].dataset.present))
    sharing = [prepared.members[0].method.model.modalities[i] for i in few]
    facts["shared_temperature"] = sharing
    if sharing:
        names = ", ".join(map(repr, sharing))
        remark = f"fewer than {MIN_ROWS} validation samples have {names}, so a shared temperature is used"
        facts["remarks"].append(remark)
    groups = len(np.unique(group_codes(prepared.manifest)[prepared.splits["val"].rows]))
    if groups < FOLDS:
        fewer = f"the validation split has {groups} group{'s' * (groups > 1)}, fewer than {FOLDS}"
        facts["remarks"].append(f"{fewer}: the fit of the fusion weights treats samples as independent")
    if stream := prepared.stream:
        shards = f"trained on a stream of {stream.rows:,} rows in {len(stream.shards):,} shards"
        remarks = [f"{shards}; the following counts are for the manifest", *facts["remarks"]]
        facts |= {"stream": stream.rows, "remarks": remarks}
    return facts


def _write_start(run: Path, saved: dict[str, Any], prepared: Prepared) -> None:
    """Write what a run directory holds before the first epoch."""
    write_text(run / "config.yaml", yaml.safe_dump(saved, sort_keys=False, allow_unicode=True))
    write_problems(run / "problems.csv", prepared.problems)
    write_text(run / "columns.csv", to_csv(prepared.manifest.account))
    learnt = np.unique(np.concatenate([member.train.rows for member in prepared.members]))
    write_keys(run, row_keys(prepared.manifest, learnt))
    if prepared.manifest.kept:
        write_mask(run / MASK, prepared.manifest)


def _remark(
    prepared: Prepared,
    config: FitConfig,
    precision: str,
    facts: dict[str, Any],
    run: Path,
    reporter: Reporter,
) -> None:
    """Report what is worth knowing before the first epoch."""
    for line in described(prepared.manifest.account):
        reporter.note(line)
    for name, reader in prepared.description.readers.items():
        if reader.remark:
            reporter.note(f"{name}: {reader.remark}")
    for remark in facts["remarks"]:
        reporter.note(remark)
    if precision == "bf16-mixed" != choose_precision("auto", config.accelerator):
        reporter.note("precision=bf16-mixed: this hardware has no native bf16; 32-true may be faster")
    rows = facts.get("stream", facts["n"])
    if config.batch_size > rows:
        reporter.note(f"batch_size={config.batch_size}: an epoch is one batch of {rows} samples")
    reporter.note(f"training in {run}")


@contextmanager
def _closing(curves: Sequence[Logger]) -> Iterator[None]:
    """Close the loggers however a training ends."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in curves:
            logger.close(failed)
