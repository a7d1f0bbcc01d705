"""The steps of a training: prepare, train, select, test, save."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
import yaml
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer
from torch import nn

from altuna import methods
from altuna.core.calibration import MIN_ROWS, modalities_with_few_rows
from altuna.core.collectives import everyone, processes, rank
from altuna.data.balance import learnt_from
from altuna.data.dataset import loader
from altuna.data.missing.masks import write_mask
from altuna.data.store.arrays import Store
from altuna.data.store.problems import write_problems
from altuna.data.table.manifest import describe_modalities
from altuna.errors import UserError
from altuna.evaluation.features import write_features
from altuna.evaluation.imbalance import geometry, imbalance, shapley_accuracy
from altuna.evaluation.metrics import evaluate
from altuna.evaluation.robustness import by_missing_rate, by_subset
from altuna.files import atomic_write, cache_folder, exclusive_folder, write_json, write_text
from altuna.hardware import multiplies_bf16, peak_memory, reset_peak_memory
from altuna.recipes.built_in import find_manifest
from altuna.report import write_report
from altuna.reporting import Reporter
from altuna.runs.predictor import Predictor
from altuna.runs.weights import save_model
from altuna.terminal import console
from altuna.terminal.progress import TrainingProgress
from altuna.training import loggers
from altuna.training.config import FitConfig
from altuna.training.fsdp import split
from altuna.training.loop import Alike, AtomicCheckpointIO, Checkpoints, LogCsv, Training, best_epoch
from altuna.training.processes import agreed, join, started
from altuna.training.resume import changed, ours, resumable
from altuna.training.setup import Prepared, prepare

MASK = "present.parquet"


def train(run: Path, config: FitConfig, reporter: Reporter) -> Path:
    """Carry out ``altuna.fit``, see there for the options, and return the run directory.

    Without ``out`` and ``resume``, ``run`` is a name that altuna chose: the first free one after it is taken.
    """
    with ExitStack() as held:
        return _train(held, run, config, reporter)


def _train(held: ExitStack, run: Path, config: FitConfig, reporter: Reporter) -> Path:
    calm()
    join()
    first = rank() == 0
    quiet = config.quiet or not first
    fresh = config.out is None and not config.resume
    strategy = "ddp"
    saved = {**config.saved(), "precision": _precision(config.precision, config.accelerator)}
    if config.threads:
        torch.set_num_threads(config.threads)
    with agreed():
        if not fresh and (run / "config.yaml").exists() and (change := changed(run, saved)):
            raise UserError(f"{change}; --resume goes on with the same options")
        name = config.method["name"]
        if strategy == "fsdp" and processes() > 1 and methods.get(name).needs_whole_encoders:
            raise UserError(
                f"strategy: {name} needs whole weights and gradients of encoders, fsdp splits them"
            )
        # Before data are prepared, which may take hours.
        device = _trainer(run, config, quiet=True).strategy.root_device
        if config.compile:
            _check_compiler(device)
        prepared = prepare(
            config,
            find_manifest(saved["data"], config.root, download=config.download),
            config.store or cache_folder() / "store",
            quiet,
            device,
        )
    prepared.method.model.micro_batch = config.micro_batch
    if config.compile:
        # Encoders share code, and all their graphs count together: of sizes, of batches, with gradients.
        limits: Any = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, 8 * len(prepared.method.model.modalities))
        prepared.method.model.compile()
    training = Training(
        prepared.method,
        optimizer=config.optimizer,
        lr=config.lr,
        schedule=config.schedule.model_dump() if config.schedule else None,
        weight_decay=config.weight_decay,
        seed=config.seed,
        log_every=config.log_every,
        clip=config.clip,
        max_updates=config.budget.updates if config.budget else None,
        max_seconds=config.budget.seconds if config.budget else None,
        epochs=config.epochs,
        data=prepared.digest(),
    )
    run = everyone(_claim(run) if fresh and first else run)[0]
    with agreed():
        if first:
            held.enter_context(exclusive_folder(run, "another altuna trains there"))
    run.mkdir(parents=True, exist_ok=True)
    empty = not any(run.iterdir())
    checkpoints = run / "checkpoints"
    try:
        with agreed():
            done = resumable(checkpoints, training)
            trainer = _trainer(run, config, quiet, config.checkpoint_every)
            trainer.loggers = loggers.build(loggers.named(config.logger), run, saved, quiet)
    except UserError:
        if empty and first:
            shutil.rmtree(run)
        raise
    with agreed():
        if first:
            write_text(run / "config.yaml", yaml.safe_dump(saved, sort_keys=False, allow_unicode=True))
            write_problems(run / "problems.csv", prepared.problems)
            if prepared.manifest.kept:
                write_mask(run / MASK, prepared.manifest)
    few = modalities_with_few_rows(torch.from_numpy(prepared.splits["val"].dataset.present))
    sharing = [prepared.method.model.modalities[i] for i in few]
    learnt = learnt_from(prepared.splits["train"].dataset, prepared.description.classes)
    learnt["shared_temperature"] = sharing
    if sharing:
        whose = ", ".join(map(repr, sharing))
        learnt["remarks"].append(f"fewer than {MIN_ROWS} validation samples have {whose}: shared temperature")
    if stream := prepared.stream:
        shards = f"trained on a stream of {stream.rows:,} rows in {len(stream.shards):,} shards"
        remarks = [f"{shards}; counted are the manifest's", *learnt["remarks"]]
        learnt |= {"stream": stream.rows, "remarks": remarks}
    if not quiet:
        console.err.print(describe_modalities(prepared.manifest.modalities), markup=False)
        for remark in learnt["remarks"]:
            console.err.print(remark, markup=False)
        rows = learnt.get("stream", learnt["n"])
        if saved["precision"] == "bf16-mixed" != _precision("auto", config.accelerator):
            console.err.print("precision=bf16-mixed: not native here, 32-true may be faster", markup=False)
        if config.batch_size > rows:
            size = f"batch_size={config.batch_size}"
            console.err.print(f"{size}: an epoch is one batch of {rows} samples", markup=False)
        console.err.print(f"training in {run}", markup=False)
    reset_peak_memory(device)
    failed = True
    try:
        resumed = None if done is None else checkpoints / "last.ckpt"
        _fit(trainer, training, prepared, config, resumed, done or 0, strategy)
        failed = False
    except KeyboardInterrupt:
        raise KeyboardInterrupt(run) from None
    except UserError:
        if empty and first and not checkpoints.exists():  # there is nothing to go on with
            shutil.rmtree(run)
        raise
    finally:
        loggers.close(trainer.loggers, failed)
    memory = max(everyone(peak_memory(device)))
    problems = prepared.stream.all_problems() if prepared.stream else []
    with agreed():
        if first:
            write_problems(run / "problems.csv", [*prepared.problems, *problems])
            _finish(run, config, prepared, learnt, training, checkpoints / "best.ckpt", memory, device)
            if config.report:
                with console.waiting("writing the report", quiet):
                    write_report([run])
    return run


def _check_compiler(device: torch.device) -> None:
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # of many kinds: there is no compiler, or it does not know this Python
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"compile: PyTorch cannot compile on this machine: {reason}") from None


def prepare_ahead(config: FitConfig, reporter: Reporter) -> dict[str, Store]:
    """Carry out ``altuna.training.fit.cache``."""
    path = find_manifest(config.data, config.root, download=config.download)
    folder = config.store or cache_folder() / "store"
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, path, folder, config.quiet)
    write_problems(folder / "problems.csv", prepared.problems)
    return prepared.stores


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


def _fit(
    trainer: Trainer,
    training: Training,
    prepared: Prepared,
    config: FitConfig,
    checkpoint: Path | None,
    start: int = 0,
    strategy: str = "ddp",
) -> None:
    """Train, from batch ``start`` of the checkpoint's epoch on."""
    size, seed, stream = config.batch_size, config.seed, prepared.stream
    train, val = (prepared.splits[name].dataset for name in ("train", "val"))
    device, together = trainer.strategy.root_device, None
    if stream:
        stream.workers, stream.pinned = max(1, config.workers), device.type == "cuda"
    feed: Any = stream or loader(train.shared(rank(), processes()), size, seed, config.workers, device)
    feed.sampler.start = start
    # Parts of batches differ in number between processes, and the norms would wait for each other.
    if processes() > 1 and device.type == "cuda" and not config.micro_batch:
        nn.SyncBatchNorm.convert_sync_batchnorm(training.method)  # type: ignore[no-untyped-call]
    if processes() > 1 and strategy == "fsdp":
        training.frozen_digest()  # while their weights are whole
        together = split(training.method.model, device)
    try:
        with _stopping_between_batches(training):
            trainer.fit(
                training,
                feed,
                loader(val.shared(rank(), processes()), size, device=device),
                ckpt_path=checkpoint,
                weights_only=True,
            )
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    if together:
        together()


@contextmanager
def _stopping_between_batches(training: Training) -> Iterator[None]:
    """Let Ctrl-C take effect after a batch, a second one at once.

    In the middle of one it may leave a lock held, as of TensorBoard's queue, that Lightning then waits for.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()

    def ask(*_: object) -> None:
        training.interrupted = True
        signal.signal(signal.SIGINT, before)

    if ours:
        signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _finish(
    run: Path,
    config: FitConfig,
    prepared: Prepared,
    learnt: Mapping[str, Any],
    training: Training,
    best: Path,
    memory: int,
    device: torch.device,
) -> None:
    """Take the best epoch's weights, save the model, and test what was saved."""
    training.load_state_dict(ours(best, training)["state_dict"], strict=False)
    model = training.method.model
    save_model(run, prepared.description, model)
    split = "test" if len(prepared.splits["test"].rows) else "val"
    samples = prepared.splits[split]
    predictor = Predictor(run, device)
    features = predictor.features(samples.dataset, config.micro_batch or config.batch_size)
    with torch.inference_mode():
        outputs = predictor.model.cpu().outputs_of(features.of, features.rows, len(features.labels))
        fusion = predictor.model.fuse(outputs)
    history = training.history
    metrics = {
        "data": str(config.data),
        "method": prepared.description.method,
        "seed": config.seed,
        "split": split,
        **evaluate(predictor.model, outputs, features.labels),
    }
    metrics["subsets"] = by_subset(predictor.model, features)
    metrics["rates"] = by_missing_rate(predictor.model, features)
    metrics["imbalance"] = {
        **imbalance(metrics, history, fusion.logits.argmax(1) == features.labels, outputs.present),
        "shapley": shapley_accuracy(predictor.model, features),
        **geometry(features),
    }
    metrics["training"] = learnt
    metrics["cost"] = {
        "seconds": round(sum(row["seconds"] for row in history), 2),
        "epochs": len(history),
        "best_epoch": best_epoch(history),
        "updates": training.updates,
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops_per_batch": round(sum(row["flops"] for row in history) / len(history)),
        "peak_memory": memory,
    }
    manifest = prepared.manifest
    table = predictor.table(
        fusion,
        manifest.ids.take(pyarrow.array(samples.rows)),
        manifest.labels.take(pyarrow.array(samples.rows)),
    )
    with atomic_write(run / "predictions.parquet") as unfinished:
        pyarrow.parquet.write_table(table, unfinished)
    write_features(run, features)
    write_json(run / "metrics.json", metrics)


def _trainer(run: Path, config: FitConfig, quiet: bool, every: int | None = None) -> Trainer:
    callbacks: list[Any] = [LogCsv(run / "log.csv"), Checkpoints(run / "checkpoints", every)]
    if not quiet:
        callbacks.append(TrainingProgress())
    there = started()
    name = config.accelerator
    exist = {"gpu": _has_gpu(), "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if not exist.get(name, True):
        raise UserError(f"accelerator={name}: this machine has none that PyTorch {torch.__version__} can use")
    try:
        return Trainer(
            max_epochs=-1 if config.budget else config.epochs,
            precision=_precision(config.precision, config.accelerator),
            accelerator=config.accelerator,
            devices=there.devices if there else 1,
            num_nodes=there.nodes if there else 1,
            strategy=Alike(cluster_environment=there.environment) if there else "auto",
            logger=False,
            callbacks=callbacks,
            # A job of Slurm that is alone must not be taken for one whose checkpoints Slurm knows.
            plugins=[AtomicCheckpointIO(), *([] if there else [LightningEnvironment()])],
            default_root_dir=run,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"accelerator={config.accelerator}: {reason}") from None


def _precision(precision: str, accelerator: str) -> Any:
    """Choose bf16 where the hardware multiplies it natively: half the time or less for convolutions."""
    if precision != "auto":
        return precision
    if _on_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "32-true"
    native = accelerator in ("auto", "cpu") and multiplies_bf16()
    return "bf16-mixed" if native and not torch.mps.is_available() else "32-true"


def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.mps.is_available()


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def calm() -> None:
    """Silence remarks of libraries that a user of altuna can do nothing about."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module returned a view")
    warnings.filterwarnings("ignore", message="DTensor random operators")
    warnings.filterwarnings("ignore", module="joblib.externals.loky")  # a worker that grew was replaced
