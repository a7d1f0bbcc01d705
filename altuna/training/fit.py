"""``altuna.fit``: from data to a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from altuna.data.store.arrays import Store
from altuna.errors import UserError
from altuna.options import document, validate
from altuna.reporting import SILENT, LoggingReporter, Reporter
from altuna.training.config import FitConfig, options
from altuna.training.distributed import launch, processes_to_start
from altuna.training.frame import path_of
from altuna.training.run import train
from altuna.training.setup import prepare_ahead


def fit(data: Any = "emoji", *, reporter: Reporter | None = None, **options: Any) -> Path:
    r"""Train a multimodal classifier and return its run directory.

    ``data`` is a path or name, or a table in memory: a pandas or polars frame, an Arrow table, or a list of
    dicts. altuna keeps a copy of such a table in its cache folder.

    Every option is also a key of a ``--config`` file, and all except mappings are flags of ``altuna fit``.
    These are mappings:

    - ``method``: ``{name: mla, alpha: 0.05}``, or only the name;
    - ``budget``: ``{updates: 5000}``, encoder updates (one update is one step of one modality's encoder), or
      ``{seconds: 60}``;
    - ``schedule``: ``{step: 70, gamma: 0.1}`` multiplies the learning rate by 0.1 after every 70 epochs;
    - ``columns``: ``{label: category, group: speaker}``, your names of id, label, split and group;
    - ``modalities``: ``{image: {column: picture}, motion: {prefix: acc_}}``; by default every other column;
    - ``readers``: ``{image: {size: 48}}``, the options of each reader;
    - ``encoders``: ``{image: {name: resnet34, width: 64, lr: 1e-4}}``, ``{text: hf:FOLDER}``, see
      ``altuna.encoders.build``; ``transforms``: ``{image: {flip: {}, color_jitter: {contrast: 0.5}}}``.

    Raises:
        UserError: The data or the options contain a mistake; nothing is written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> rows = "".join(f"{'ab'[i % 2]},{i % 2},{i % 3}\n" for i in range(40))
        >>> _ = (folder / "table.csv").write_text(f"label,acc,gyro\n{rows}")
        >>> run = fit(folder / "table.csv", epochs=1, out=folder / "run", report=False, quiet=True)
        >>> (run / "metrics.json").exists()
        True
    """
    config = validate(FitConfig, {"data": path_of(data), **options})
    run = run_directory(config)
    if reporter is None:
        reporter = SILENT if config.quiet else LoggingReporter()
    if number := processes_to_start(config.devices, config.nodes, config.accelerator):
        return launch(config.model_dump(exclude_unset=True), reporter, number)
    return train(run, config, reporter)


document(fit, options())


def cache(data: Any = "emoji", *, reporter: Reporter | None = None, **options: Any) -> dict[str, Store]:
    r"""Decode the data into stores, as ``fit`` does before it trains.

    Args:
        data: See ``fit``.
        reporter: See ``fit``.
        options: The options of ``fit``.

    Returns:
        Modality name to its ``Store`` of decoded cells.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,note\n" + "a,hoot\nb,tu-whit\n" * 20)
        >>> {name: len(store.array) for name, store in cache(path, quiet=True).items()}
        {'note': 2}
    """
    config = validate(FitConfig, {"data": path_of(data), **options})
    if reporter is None:
        reporter = SILENT if config.quiet else LoggingReporter()
    return prepare_ahead(config, reporter)


def run_directory(config: FitConfig) -> Path:
    """Return the run directory to write: ``out``, or ``runs/DATA-METHOD-SEED``.

    Raises:
        UserError: ``out`` has something in it and is not to be resumed.

    Example:
        >>> print(run_directory(validate(FitConfig, {"data": "htad", "seed": 3})))
        runs/htad-mla-3
    """
    run = config.out
    if run is None:
        stem = Path(config.data).stem.replace(":", "-")
        return Path("runs") / f"{stem}-{config.method['name']}-{config.seed}"
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file, not a run directory")
    if run.exists() and any(run.iterdir()) and not config.resume:
        raise UserError(f"{run}: is not empty; use --resume to continue it, or --out for another directory")
    return run
