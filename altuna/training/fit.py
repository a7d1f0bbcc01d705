"""``altuna fit``: from data to a run directory. The heavy imports wait until it is called."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from altuna import methods
from altuna.data.missing.masks import check_mask
from altuna.errors import UserError
from altuna.options import check_options, nearest
from altuna.training import loggers

BUDGETS = {"updates": "whole number", "seconds": "number"}
PRECISIONS = ("auto", "32-true", "bf16-mixed")
STRATEGIES = ("ddp", "fsdp")
BUFFER = 4096
LEAST = {"epochs": 1, "batch_size": 1, "buffer": 1, "seed": 0, "workers": 0}
# Options that say where to put things, how to show them and who computes by what: a resumed run may change
# these, no others.
PRESENTATION = (
    *("root", "download", "store", "workers", "out", "resume", "report", "quiet"),
    *("log_every", "checkpoint_every"),
    *("devices", "nodes", "strategy", "compile"),
)


def fit(
    data: Annotated[
        str | Path, "emoji, htad, av-digits, av-digits-hard, a manifest's path, or hf:NAME[:CONFIG]"
    ] = "emoji",
    *,
    stream: Annotated[
        str | None,
        "Train on these Parquet shards, a pattern or URL; the data's train rows say what is in them",
    ] = None,
    buffer: Annotated[int, "Rows of a stream that are shuffled among each other"] = BUFFER,
    root: Annotated[Path | None, "Folder of the raw files of av-digits"] = None,
    download: Annotated[bool, "Download the raw files of av-digits"] = False,
    method: Annotated[str | Mapping[str, Any], "One of " + ", ".join(methods.list())] = "mla",
    columns: Annotated[
        Mapping[str, str] | None, "Which columns are id, split, label, group, if they have other names"
    ] = None,
    modalities: Annotated[
        Mapping[str, Mapping[str, Any]] | None, "All modalities: name to type and columns"
    ] = None,
    readers: Annotated[Mapping[str, Mapping[str, Any]] | None, "Modality to its reader's options"] = None,
    encoders: Annotated[
        Mapping[str, str | Mapping[str, Any]] | None, "Modality to its encoder or its options"
    ] = None,
    transforms: Annotated[
        Mapping[str, Mapping[str, Any] | None] | None, "Modality to its training transforms and their options"
    ] = None,
    missing_rate: Annotated[
        float | None, "Share of the cells to do without, at most 1 - 1/M (CPM-Nets masks)"
    ] = None,
    missing_pattern: Annotated[str, "Which cells: random, group, label, only:NAME or never:NAME"] = "random",
    test_missing_rate: Annotated[float | None, "The rate of the test split (default: the same)"] = None,
    test_missing_pattern: Annotated[str | None, "The pattern of the test split (default: the same)"] = None,
    missing_mask: Annotated[Path | None, "File of the cells that stay: present.parquet of a run"] = None,
    fusion: Annotated[str | None, "Test-time fusion (default: calibrated_product)"] = None,
    fixed_weights: Annotated[Mapping[str, float] | None, "Weights of the fusion 'fixed'"] = None,
    epochs: Annotated[int, "Passes over the training split"] = 25,
    budget: Annotated[
        Mapping[str, float] | None, "What ends the training instead of epochs: updates or seconds"
    ] = None,
    batch_size: Annotated[int, "Samples a batch"] = 64,
    micro_batch: Annotated[
        int | None, "Rows encoded at once: memory of so many, gradients of the batch, a forward pass more"
    ] = None,
    clip: Annotated[float | None, "Largest norm of a turn's gradient"] = None,
    lr: Annotated[float, "Highest learning rate"] = 1e-3,
    schedule: Annotated[
        Mapping[str, float] | None, "Of the learning rate: step and gamma (default: warm-up and cosine)"
    ] = None,
    weight_decay: Annotated[float, "Weight decay"] = 0.01,
    optimizer: Annotated[str, "adamw or sgd"] = "adamw",
    seed: Annotated[int, "Of weights, order, transforms, carved splits and missing cells"] = 0,
    log_every: Annotated[
        int | None,
        "Batches between those whose turns are logged one by one (default: some 20 of an epoch are)",
    ] = None,
    logger: Annotated[
        str, "Where curves go: tensorboard, wandb, mlflow, csv (or several: a,b), or none"
    ] = "tensorboard",
    precision: Annotated[str, "32-true or bf16-mixed; auto: bf16-mixed where the hardware has it"] = "auto",
    accelerator: Annotated[str, "auto, cpu, gpu, cuda or mps"] = "auto",
    devices: Annotated[
        int | None, "GPUs a node, or processes on a CPU (default: 1, or what torchrun or Slurm started)"
    ] = None,
    nodes: Annotated[int | None, "Machines, each with altuna started on it by torchrun or Slurm"] = None,
    strategy: Annotated[
        str, "ddp: every process has all weights; fsdp: those of the encoders are split among them"
    ] = "ddp",
    compile: Annotated[bool, "Compile the encoders (torch.compile): slow at first, then faster"] = False,
    workers: Annotated[
        int, "Processes that gather batches (0: the main one does), or threads that decode a stream"
    ] = 0,
    store: Annotated[Path | None, "Folder for decoded data (default: the user's cache)"] = None,
    allow_shared_groups: Annotated[bool, "Accept a group that stands in two splits"] = False,
    strict: Annotated[bool, "A cell that cannot be read is an error, not a missing cell"] = False,
    out: Annotated[Path | None, "Run directory (default: runs/DATA-METHOD-SEED)"] = None,
    checkpoint_every: Annotated[
        int | None, "Batches of an epoch between checkpoints to resume from (default: one after each epoch)"
    ] = None,
    resume: Annotated[bool, "Go on from the last checkpoint of the run directory"] = False,
    report: Annotated[bool, "Write report.html; altuna report RUN does it later"] = True,
    quiet: Annotated[bool, "Print nothing but where the result is"] = False,
) -> Path:
    """Train a multimodal classifier and return its run directory.

    Every option is a key of a ``--config`` file, and the plain ones are flags of ``altuna fit``. Mappings:

    - ``method``: ``{name: mla, alpha: 0.05}``, or just the name;
    - ``budget``: ``{updates: 5000}``, encoder updates (a step of one modality's encoder is one), or
      ``{seconds: 60}``;
    - ``schedule``: ``{step: 70, gamma: 0.1}``, the learning rate times 0.1 after every 70 epochs;
    - ``columns``: ``{label: category, group: speaker}``, for those that have other names than altuna's;
    - ``modalities``: ``{image: {column: picture}, motion: {prefix: acc_}}``; otherwise every column is one;
    - ``readers``: ``{image: {size: 48}}``, with the options of the reader's ``fit``;
    - ``encoders``: ``{image: {name: resnet34, width: 64, lr: 1e-4}}``, ``{text: hf:FOLDER}``, see
      ``altuna.encoders.build``; ``transforms``: ``{image: {flip: {}, color_jitter: {contrast: 0.5}}}``.

    Raises:
        UserError: Something about the data or the options is wrong; nothing is written then.
    """
    given = dict(locals())
    options = checked(given)
    check_raw(given, options["data"])
    name = options["method"].get("name", "")
    run = run_directory(out, f"{Path(data).stem.replace(':', '-')}-{name}-{seed}", resume)

    from altuna.training.processes import launch, to_start

    if number := to_start(devices, nodes, accelerator):
        return launch(given, number)

    from altuna.training.stages import train

    return train(
        run,
        options,
        root=Path(root) if root else None,
        download=download,
        store=Path(store) if store else None,
        workers=workers,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        strategy=strategy,
        compiled=compile,
        quiet=quiet,
        report=report,
        fresh=out is None and not resume,
    )


def cache(data: str | Path = "emoji", **options: Any) -> dict[str, Any]:
    """Read and prepare data ahead of ``fit``: what it would do before it trains.

    Args:
        data: See ``fit``.
        options: Those of ``fit``.

    Returns:
        Modality name to its prepared ``Store``.
    """
    check_options(options, fit, "cache", beside=("data",))
    given = completed(data, **options)
    check_raw(given, str(data))

    from altuna.training.stages import prepare_ahead

    root, store, download, quiet = (given[n] for n in ("root", "store", "download", "quiet"))
    return prepare_ahead(
        checked(given),
        root=Path(root) if root else None,
        download=download,
        store=Path(store) if store else None,
        quiet=quiet,
    )


def completed(data: str | Path, **options: Any) -> dict[str, Any]:
    """Return all arguments of ``fit``, the defaults included."""
    given = inspect.signature(fit).bind(data, **options)
    given.apply_defaults()
    return given.arguments


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """Check the arguments of ``fit``; return those that change what is computed."""
    given = given | {"data": str(given["data"])}
    check_options(given, fit, "fit")
    method = given["method"]
    given["method"] = {"name": method} if isinstance(method, str) else dict(method)
    for name, least in LEAST.items():
        if not least <= given[name] < 2**63:
            raise UserError(f"{name} must be at least {least} and below 2**63, got {given[name]}")
    most = max(32, 4 * (os.cpu_count() or 1))
    if given["workers"] > most:
        raise UserError(f"workers must be at most {most} on this machine, got {given['workers']}")
    for name in ("micro_batch", "log_every", "checkpoint_every", "devices", "nodes"):
        if given[name] is not None and given[name] < 1:
            raise UserError(f"{name} must be at least 1, got {given[name]}")
    if (given["micro_batch"] or 0) > given["batch_size"]:
        raise UserError(
            f"micro_batch={given['micro_batch']}: is a part of a batch, which has {given['batch_size']} rows"
        )
    if given["precision"].startswith("16"):
        why = "scales gradients, which methods read and change; take bf16-mixed"
        raise UserError(f"precision: {given['precision']} {why}")
    if given["precision"] not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, got {given['precision']!r}")
    if given["strategy"] not in STRATEGIES:
        raise UserError(f"strategy must be one of {', '.join(STRATEGIES)}, got {given['strategy']!r}")
    if given["strategy"] == "fsdp" and given["micro_batch"]:
        raise UserError("micro_batch: not with strategy fsdp, as processes have different numbers of parts")
    if given["clip"] is not None and not 0 < given["clip"] < math.inf:
        raise UserError(f"clip must be a number above 0, got {given['clip']}")
    for name in ("lr", "weight_decay"):
        if not 0 <= given[name] < math.inf:
            raise UserError(f"{name} must be a number from 0 on, got {given[name]}")
    loggers.named(given["logger"])
    if given["stream"] is not None:
        for name in ("missing_rate", "test_missing_rate", "missing_mask"):
            if given[name] is not None:
                raise UserError(f"{name}: cells of a stream cannot be taken away")
    elif given["buffer"] != BUFFER:
        raise UserError("buffer: is of a stream, and stream names none")
    _check_budget(given["budget"])
    if given["schedule"] is not None:
        _check_schedule(given["schedule"])
    check_mask(given["missing_mask"], given["missing_rate"], given["missing_pattern"])
    if given["missing_mask"] is not None:
        check_mask(
            given["missing_mask"], given["test_missing_rate"], given["test_missing_pattern"] or "random"
        )
        given["missing_mask"] = str(Path(given["missing_mask"]).absolute())
    return {name: value for name, value in given.items() if name not in PRESENTATION}


def check_raw(given: Mapping[str, Any], *names: str) -> None:
    """Raise UserError if there are options for the raw files of av-digits, and it is not among the data."""
    for option in ("root", "download"):
        if given.get(option) and not any(name.startswith("av-digits") for name in names):
            raise UserError(f"{option}: is for av-digits alone, not for {', '.join(names)}")


def _check_schedule(schedule: Mapping[str, Any]) -> None:
    for name in schedule:
        if name not in ("step", "gamma"):
            raise UserError(f"schedule: unknown key {name!r}{nearest(str(name), ('step', 'gamma'))}")
    for name in ("step", "gamma"):
        value = schedule.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise UserError(f"schedule.{name} must be a number above 0, got {value!r}")


def _check_budget(budget: Mapping[str, Any] | None) -> None:
    for unit, amount in (budget or {}).items():
        if unit not in BUDGETS:
            raise UserError(f"budget: unknown unit {unit!r}{nearest(unit, BUDGETS)}")
        whole = isinstance(amount, int) and not isinstance(amount, bool)
        if (not whole and (unit == "updates" or not isinstance(amount, float))) or not 0 < amount < math.inf:
            raise UserError(f"budget.{unit} must be a {BUDGETS[unit]} above 0, got {amount!r}")
    if budget is not None and len(budget) != 1:
        raise UserError(f"budget: give one of {', '.join(BUDGETS)}, got {', '.join(budget) or 'none'}")


def run_directory(out: str | Path | None, default: str, resume: bool) -> Path:
    """Return the run directory to write: ``out``, or ``runs/DEFAULT``.

    Raises:
        UserError: ``out`` has something in it and is not to be resumed.
    """
    if out is None:
        return Path("runs") / default
    run = Path(out)
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file, not a run directory")
    if run.exists() and any(run.iterdir()) and not resume:
        raise UserError(f"{run}: is not empty; --resume goes on with it, --out names another")
    return run
