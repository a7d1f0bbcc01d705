"""The options of a training, in one typed place: type, default, bounds, help and group of each.

``altuna.fit``'s keywords, the flags of ``altuna fit``, the keys of YAML with their JSON schema, what a
resumed run may change and what ``altuna compare`` varies are all made from ``FitConfig``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic.fields import FieldInfo

from altuna import methods
from altuna.options import nearest
from altuna.recipes import NAMES
from altuna.training import loggers
from altuna.training.option_fields import (
    COMMON,
    DATA,
    ESTIMATORS_HELP,
    FOLDS_HELP,
    FUSION_HELP,
    HARDWARE,
    JOINT_EXPERT_HELP,
    MISSING,
    MISSING_MASK_HELP,
    MISSING_PATTERN_HELP,
    MISSING_RATE_HELP,
    MODEL,
    NAMED_PATTERN_HELP,
    OUTPUT,
    STORE_HELP,
    TRAINING,
    marker,
    option,
)
from altuna.training.option_types import (
    MAX_INT,
    Anywhere,
    Budget,
    Encoders,
    Estimators,
    Mappings,
    Method,
    Names,
    OptionalMappings,
    Precision,
    Schedule,
    Strict,
    Text,
    Weights,
    absolute_encoder,
    estimators_of,
)

BUFFER = 4096
RAW = ("root", "download")  # about the raw files of av-digits
FAST_EPOCHS, MAX_FOLDS, MAX_BUFFER = 5, 100, 1 << 24
MAX_PROCESSES = 2**16  # more than any cluster has GPUs in a machine, or machines


class FitConfig(Strict):
    """All options of a training, checked.

    Example:
        >>> config = FitConfig(data="htad", method="concat", epochs=3)
        >>> config.method, config.batch_size
        ({'name': 'concat'}, 64)
    """

    data: Text = option(
        "emoji",
        f"Data to train on: a built-in data set ({', '.join(NAMES)}), the path of a table, or "
        "hf:NAME[:CONFIG] for a Hugging Face data set.",
        COMMON,
        single=True,
    )
    stream: str | None = option(
        None,
        "Glob pattern or URL of the Parquet files from which altuna streams the training rows. With "
        "--stream, --data must be a small table with the same columns as the Parquet files. altuna takes "
        "the column types, the validation rows and the test rows from this small table.",
        DATA,
        single=True,
    )
    buffer: int = option(
        BUFFER,
        "Number of rows in the shuffle buffer of --stream.",
        DATA,
        ge=1,
        le=MAX_BUFFER,
        single=True,
    )
    root: Anywhere | None = option(
        None,
        "Folder with the raw files of the data set av-digits (default: a folder in ~/.cache/altuna).",
        DATA,
        place=True,
        saved=True,
    )
    download: bool = option(
        False, "Download missing raw files of the data set av-digits to the folder --root.", DATA, place=True
    )
    method: Method = option(
        {"name": "mla"},
        "Training method (docs/methods.md): "
        + ", ".join(methods.list())
        + ", or MODULE.CLASS for a method class of your own.",
        COMMON,
        single=True,
    )
    preset: Literal["fast", "default", "best"] = option(
        "default",
        "Default values for the options. fast: 5 epochs. best: slower, with --folds, "
        "--joint-expert, --estimators and pretrained encoders.",
        COMMON,
    )
    columns: Names | None = option(
        None,
        "Names of the id, split, label and group columns in your table, such as {label: category}.",
        DATA,
    )
    ignore: list[str] = option(
        [], "Name of a column to ignore. To ignore several columns, repeat --ignore.", DATA
    )
    types: Names | None = option(
        None, "Types of columns, such as {zip: category}. By default, altuna infers the types.", DATA
    )
    modalities: Mappings | None = option(
        None,
        "Type and columns of each modality (default: inferred from the columns of the table).",
        DATA,
    )
    readers: Mappings | None = option(
        None, "How to decode each modality. {image: {size: 48}} resizes pictures to 48 x 48 pixels.", DATA
    )
    encoders: Encoders | None = option(
        None, "Encoder of each modality: a name, or a mapping such as {name: resnet34, width: 64}.", MODEL
    )
    transforms: OptionalMappings | None = option(
        None, "Data augmentation of each modality during training, such as {image: {flip: {}}}.", MODEL
    )
    missing_rate: float | None = option(None, MISSING_RATE_HELP, MISSING)
    missing_pattern: str = option("random", MISSING_PATTERN_HELP + NAMED_PATTERN_HELP, MISSING)
    test_missing_rate: float | None = option(
        None,
        "Like --missing-rate, but for the test split (default: the value of --missing-rate).",
        MISSING,
    )
    test_missing_pattern: str | None = option(
        None,
        "Like --missing-pattern, but for the test split (default: the value of --missing-pattern).",
        MISSING,
    )
    missing_mask: Anywhere | None = option(None, MISSING_MASK_HELP, MISSING)
    fusion: str | None = option(None, FUSION_HELP, MODEL)
    fixed_weights: Weights | None = option(
        None,
        "Weight of each modality in the fusion rules fixed and calibrated_fixed (default: equal).",
        MODEL,
    )
    joint_expert: Literal["off", "detached", "turn", "apart"] = option("off", JOINT_EXPERT_HELP, MODEL)
    folds: int | None = option(None, FOLDS_HELP, MODEL, ge=2, le=MAX_FOLDS)
    estimators: Estimators = option("none", ESTIMATORS_HELP, MODEL)
    epochs: int = option(25, "Number of epochs.", COMMON, ge=1, le=MAX_INT)
    budget: Budget | None = option(
        None,
        "Length of the training, instead of `epochs`. {updates: N} trains for N encoder updates, and "
        "{seconds: N} trains for N seconds.",
        TRAINING,
        single=True,
    )
    time_limit: float | None = option(
        None,
        "Time limit of the whole command in minutes (default: no limit). If the time is too short for all "
        "epochs, altuna trains for fewer epochs.",
        COMMON,
        place=True,
        gt=0,
        single=True,
    )
    batch_size: int = option(64, "Number of samples per batch.", TRAINING, ge=1, le=MAX_INT)
    micro_batch: int | None = option(
        None,
        "Number of samples to encode at a time, to save memory (default: the whole batch). The gradients "
        "equal the gradients of the whole batch, but each batch needs one more forward pass.",
        TRAINING,
        ge=1,
        le=MAX_INT,
    )
    clip: float | None = option(
        None,
        "Clip the gradient norm of each optimizer step to this value (default: no clipping).",
        TRAINING,
        gt=0,
    )
    lr: float = option(1e-3, "Peak learning rate.", TRAINING, ge=0)
    schedule: Schedule | None = option(
        None,
        "Learning-rate schedule. {step: N, gamma: X} multiplies the learning rate by X every N epochs "
        "(default: warm-up, then cosine decay).",
        TRAINING,
    )
    weight_decay: float = option(0.01, "Weight decay of the optimizer.", TRAINING, ge=0)
    optimizer: Literal["adamw", "sgd"] = option("adamw", "Optimizer: adamw or sgd.", TRAINING)
    seed: int = option(
        0,
        "Random seed for initialisation, shuffling, data augmentation, splits and masks.",
        COMMON,
        ge=0,
        le=MAX_INT,
        single=True,
    )
    log_every: int | None = option(
        None,
        "Log the training loss and gradient norms every N batches (default: about 20 times per epoch).",
        OUTPUT,
        place=True,
        ge=1,
        le=MAX_INT,
    )
    logger: str = option(
        "tensorboard",
        "Logger of the training curves: tensorboard, wandb, mlflow or none. Separate several loggers by "
        "commas.",
        OUTPUT,
        place=True,
        saved=True,
    )
    precision: Precision = option(
        "auto",
        "Float precision. 32-true: float32. bf16-mixed: bfloat16 autocast. auto: bf16-mixed on hardware "
        "with native bfloat16, else 32-true.",
        HARDWARE,
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = option(
        "auto", "Type of device to train on: auto, cpu, gpu, cuda or mps.", HARDWARE
    )
    devices: int | None = option(
        None,
        "Number of GPUs per machine or, for training on CPUs, number of processes per machine (default: 1,"
        " or the number set by torchrun or Slurm).",
        HARDWARE,
        place=True,
        ge=1,
        le=MAX_PROCESSES,
        single=True,
    )
    nodes: int | None = option(
        None,
        "Number of machines (default: 1, or the number set by torchrun or Slurm). Start altuna on each "
        "machine with torchrun or Slurm.",
        HARDWARE,
        place=True,
        ge=1,
        le=MAX_PROCESSES,
        single=True,
    )
    threads: int | None = option(
        None,
        "Number of CPU threads for training (default: depends on the size of the networks). The number "
        "of threads changes results only by rounding errors.",
        HARDWARE,
        place=True,
        ge=1,
        single=True,
    )
    compile: bool = option(
        False,
        "Compile the encoders with torch.compile. Compiled encoders are slower in the first steps and "
        "faster in later steps.",
        HARDWARE,
        place=True,
    )
    workers: int = option(
        0,
        "Number of processes that load batches. With --workers 0, the main process loads the batches. With"
        " --stream, --workers is the number of threads that decode the rows.",
        HARDWARE,
        place=True,
        ge=0,
    )
    store: Anywhere | None = option(None, STORE_HELP, DATA, place=True)
    allow_shared_groups: bool = option(
        False, "Allow rows with the same value in the group column to be in different splits.", DATA
    )
    strict: bool = option(
        False,
        "Stop with an error if a table cell cannot be read. By default, a cell that cannot be read counts "
        "as missing.",
        DATA,
    )
    out: Anywhere | None = option(
        None,
        "Run directory for the results (default: runs/DATA-METHOD-SEED).",
        COMMON,
        place=True,
        single=True,
    )
    checkpoint_every: int | None = option(
        None,
        "Write a checkpoint every N batches, and also after each epoch (default: only after each epoch).",
        OUTPUT,
        place=True,
        ge=1,
        le=MAX_INT,
    )
    resume: bool = option(
        False,
        "Continue an interrupted training from its last checkpoint. Set --out to the run directory of this"
        " training.",
        COMMON,
        place=True,
        single=True,
    )
    report: bool = option(
        True,
        "Write report.html after training. With --no-report, you can still write the report later by "
        "`altuna report RUN`.",
        OUTPUT,
        place=True,
        single=True,
    )
    quiet: bool = option(False, "Print only the path of the run directory.", COMMON, place=True, single=True)

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        """Apply the preset ``fast``; ``best`` has to see the data."""
        fast = isinstance(given, Mapping) and given.get("preset") == "fast"
        return {"epochs": FAST_EPOCHS, **given} if fast else given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Check what concerns several options, or this machine."""
        most = max(32, 4 * (os.cpu_count() or 1))
        for name, number in (("workers", self.workers), ("threads", self.threads or 1)):
            if number > most:
                raise ValueError(f"{name} must be at most {most} on this machine, got {number}")
        if (self.micro_batch or 0) > self.batch_size:
            raise ValueError(
                f"micro_batch must be at most batch_size ({self.batch_size}), got {self.micro_batch}"
            )
        loggers.named(self.logger)
        if self.fusion is not None:
            from altuna.core.fusion import RULES  # `altuna --help` starts without torch

            if self.fusion not in RULES:
                raise ValueError(f"unknown fusion {self.fusion!r}{nearest(self.fusion, RULES)}")
        check_raw({name: getattr(self, name) for name in RAW}, self.data)
        rates = ("missing_rate", "test_missing_rate")
        if self.stream is not None:
            for name in (*rates, "missing_mask"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: the cells of a stream cannot be masked")
            if self.folds:
                raise ValueError("folds: the rows of a stream cannot be cut into folds")
            if estimators_of(self.estimators):
                raise ValueError("estimators: need all training rows at once, which a stream does not give")
        elif self.buffer != BUFFER:
            raise ValueError("buffer: requires the option stream")
        if self.missing_mask is not None:
            from altuna.data.missing.masks import check_mask  # `altuna --help` starts without pyarrow

            check_mask(self.missing_mask, self.missing_rate, self.missing_pattern)
            check_mask(self.missing_mask, self.test_missing_rate, self.test_missing_pattern or "random")
        return self

    def saved(self) -> dict[str, Any]:
        """Return what ``config.yaml`` holds, so that ``--config`` repeats the run from any folder."""
        names = {name for name, field in options().items() if marker(field, "saved")}
        config = self.model_dump(mode="json", include=names)
        if self.budget:
            config["budget"] = self.budget.model_dump(exclude_none=True)
        if self.data not in NAMES and Path(self.data).exists():
            config["data"] = str(Path(self.data).absolute())
        if self.stream and "://" not in self.stream and "::" not in self.stream:
            config["stream"] = str(Path(self.stream).absolute())
        for name in ("root", "missing_mask"):
            path: Path | None = getattr(self, name)
            config[name] = str(path.absolute()) if path else None
        config["encoders"] = {name: absolute_encoder(one) for name, one in (config["encoders"] or {}).items()}
        return config


def options() -> dict[str, FieldInfo]:
    """Return the fields of ``FitConfig`` by name."""
    return FitConfig.model_fields


def check_raw(given: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError if there are options for the raw files of av-digits, and it is not among the data."""
    for name in RAW:
        if given.get(name) and not any(data.startswith("av-digits") for data in names):
            raise ValueError(f"{name}: is for av-digits only, not for {', '.join(names)}")
