"""Read the files of a run directory; each is checked before anything is made of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic_core import from_json

from altuna.data.table.account import Column, from_csv
from altuna.errors import UserError
from altuna.files import check_regular, read_text, read_yaml
from altuna.options import shown
from altuna.runs.schema import FORMAT, MetricsFile, ModelFile, OptionsFile, check
from altuna.text import one_line

MAX_JSON_BYTES = 128 << 20  # the tokenizers in config.json may take tens of megabytes
LOGGER_IDS = "loggers.json"
MAX_LOG_BYTES = 1 << 30
LOG_COLUMNS = ("epoch", "updates", "seconds", "val/accuracy/fused")  # that every log.csv has


def read_json(run: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a run directory.

    Raises:
        UserError: Not a run directory, or not a regular file of JSON within bounds.

    Example:
        >>> read_json(Path("runs/first"), "metrics.json")["split"]
        'test'
    """
    path = run / name
    try:
        content = from_json(read_text(path, MAX_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run}: {_why_absent(run, name)}") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if "recursion" in str(error) else one_line(error)
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content


def _why_absent(run: Path, name: str) -> str:
    if str(run).startswith("hf:"):
        return "a model of the hub has no metrics, data or predictions; name a run directory"
    if run.is_file():
        return "is a file, not a run directory"
    return f"not a finished run: no {name}" if run.is_dir() else "no such run directory"


def read_model_file(run: Path) -> ModelFile:
    """Read ``config.json``, the description of the model.

    Example:
        >>> read_model_file(Path("runs/first")).head
        'shared'
    """
    content = read_json(run, "config.json")
    if content.get("format") != FORMAT:
        raise UserError(
            f"{run / 'config.json'}: format {content.get('format')!r} was written by another version of "
            f"altuna; this version reads format {FORMAT}"
        )
    return check(ModelFile, content, run / "config.json")


def read_config(run: Path) -> dict[str, Any]:
    """Read ``config.yaml``, the options of the run.

    Example:
        >>> read_config(Path("runs/first"))["method"]
        {'name': 'mla'}
    """
    content = read_yaml(run / "config.yaml")
    check(OptionsFile, content, run / "config.yaml")
    return content


def read_account(run: Path) -> list[Column]:
    """Read ``columns.csv``, what each column of the table was used as; empty of a run without.

    Example:
        >>> [(c.column, c.used_as) for c in read_account(Path("runs/first"))][0]
        ('id', 'id')
    """
    path = run / "columns.csv"
    if not path.is_file():
        return []
    try:
        return from_csv(read_text(path, MAX_LOG_BYTES))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from None


def read_metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json``, the metrics of a finished run.

    Example:
        >>> metrics = read_metrics(Path("runs/first"))
        >>> metrics["fusion"]["rule"], [*metrics["modalities"]]
        ('evidence', ['image', 'text'])
    """
    content = read_json(run, "metrics.json")
    check(MetricsFile, content, run / "metrics.json")
    return content


def read_logger_ids(run: Path) -> dict[str, str]:
    """Read ``loggers.json``, the run's identifiers at the services that log it; empty without.

    Example:
        >>> read_logger_ids(Path("runs/first"))  # logged by no service that has identifiers
        {}
    """
    if not (run / LOGGER_IDS).exists():
        return {}
    content = read_json(run, LOGGER_IDS)
    for name, identifier in content.items():
        if not isinstance(identifier, str):
            raise UserError(f"{run / LOGGER_IDS}: {name}: must be a text, got {identifier!r}")
    return content


def read_log(run: Path) -> list[dict[str, float]]:
    """Read ``log.csv``: an epoch's numbers a row, without those that it does not have.

    Example:
        >>> log = read_log(Path("runs/first"))
        >>> log[0]["epoch"], log[-1]["epoch"] == len(log) - 1
        (0.0, True)
    """
    path = run / "log.csv"
    try:
        check_regular(path, MAX_LOG_BYTES)
        with path.open(encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file)]
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from None
    history = []
    for epoch, row in enumerate(rows):
        where = f"{path}, row {epoch + 1}"
        if None in row:
            raise UserError(f"{where}: has more cells than the header")
        numbers = {name: _number(cell, f"{where}, column {name!r}") for name, cell in row.items() if cell}
        for column in LOG_COLUMNS:
            if not math.isfinite(numbers.get(column, math.nan)):
                raise UserError(f"{where}: lacks {column}")
        if numbers["epoch"] != epoch:
            raise UserError(f"{where}, column 'epoch': must be {epoch}, got {row['epoch']}")
        history.append(numbers)
    return history


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or one_line(error))


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise UserError(f"{where}: must be a number, got {shown(cell)}") from None


def read_predictions(run: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read ``predictions.parquet``, all of it or some columns, checked against the run's other files.

    Raises:
        UserError: Not Parquet, a column that is missing or of another type, another number of rows than
            ``metrics.json`` has samples, or a class that ``config.json`` does not have.

    Example:
        >>> read_predictions(Path("runs/first"), ["id", "prediction"]).column_names
        ['id', 'prediction']
    """
    path = run / "predictions.parquet"
    model, rows = read_model_file(run), read_metrics(run)["n"]
    try:
        check_regular(path)
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow, model)
            if file.metadata.num_rows != rows:
                raise UserError(f"{path}: has {file.metadata.num_rows} rows, metrics.json has n: {rows}")
            table = file.read(columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from None
    _check_values(path, table, model.classes)
    return table


def _check_columns(path: Path, schema: pa.Schema, model: ModelFile) -> None:
    numbers = [*(f"p_{name}" for name in model.classes), *(f"weight_{m}" for m in model.modalities)]
    wanted = {
        **dict.fromkeys(("id", "label", "prediction"), ("text", _is_text)),
        **dict.fromkeys(("confidence", *numbers), ("numbers", pa.types.is_floating)),
        "n_modalities": ("whole numbers", pa.types.is_integer),
        **{f"present_{m}": ("true or false", pa.types.is_boolean) for m in model.modalities},
        **{f"says_{m}": ("text", _is_text) for m in model.modalities},
        **{f"confidence_{m}": ("numbers", pa.types.is_floating) for m in model.modalities},
    }
    if "group" in schema.names:
        wanted["group"] = ("text", _is_text)
    for name, (what, fits) in wanted.items():
        found = schema.get_all_field_indices(name)
        if not found:
            hint = ": a run of an earlier version; train it again" if name.startswith("says_") else ""
            raise UserError(f"{path}: lacks the column {name!r}{hint}")
        if len(found) > 1:
            raise UserError(f"{path}: has the column {name!r} twice")
        if not fits(kind := schema.field(found[0]).type):
            raise UserError(f"{path}: {name}: must be {what}, is {kind}")
    for name in schema.names:
        if name.startswith("p_") and name not in wanted:
            raise UserError(f"{path}: {name}: config.json has no class {name.removeprefix('p_')!r}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_values(path: Path, table: pa.Table, classes: Sequence[str]) -> None:
    """Check classes, numbers, and that only groups and what an absent modality predicts are empty."""
    for name in table.column_names:
        column = table[name]
        beside = name.startswith(("says_", "confidence_")) or name == "group"
        if column.null_count and not beside:
            raise UserError(f"{path}: {name}: must not be empty")
        if pa.types.is_floating(column.type):
            within = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, 1.0001))
            if not pc.all(within, min_count=0).as_py():
                raise UserError(f"{path}: {name}: must be numbers from 0 to 1")
        elif name in ("label", "prediction") or name.startswith("says_"):
            unknown = pc.filter(column, pc.invert(pc.is_in(column, pa.array([*classes, None], pa.string()))))
            if len(unknown):
                raise UserError(f"{path}: {name}: config.json has no class {shown(unknown[0].as_py())}")
