"""``altuna init``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal, get_origin

import numpy as np
import typer
import yaml
from pydantic.fields import FieldInfo

from altuna import methods
from altuna.core.fusion import RULES
from altuna.data.fit_readers import fit_readers
from altuna.data.readers.containers import has_sound
from altuna.data.table.cells import Cells
from altuna.data.table.hf import is_dataset
from altuna.data.table.manifest import TYPES, Manifest, Modality, filled_cells, read_manifest
from altuna.data.table.splits import split_rows
from altuna.encoders import DEFAULT_TRANSFORMS, ENCODERS, FRONT_ENDS, TRANSFORMS
from altuna.encoders.base import HF_TYPES
from altuna.errors import UnreadableColumnError, UserError
from altuna.files import write_json, write_text
from altuna.training.config import FitConfig, options
from altuna.training.option_fields import COMMON, HARDWARE, TRAINING, marker

BY_PRESET = ("epochs",)  # stated in the file, they would not be the preset's


def init(
    table: Annotated[
        Path,
        typer.Argument(
            help="Table to read: a CSV, TSV, Parquet or JSONL file, hf:NAME for a data set on the Hugging "
            "Face Hub, or the folder of a saved Hugging Face data set."
        ),
    ],
    out: Annotated[Path, typer.Option(help="YAML file to write.")] = Path("altuna.yaml"),
    label: Annotated[
        str | None, typer.Option(help="Name of the label column (default: label, or a similar name).")
    ] = None,
) -> None:
    """Write a configuration, and print how to train with it."""
    write_config(table, out, label)
    typer.echo(f"wrote {out}; train with: altuna fit --config {out}")


def write_config(path: str | Path, out: Path, label: str | None = None) -> None:
    """Write a commented configuration for ``altuna fit --config`` from a manifest.

    A JSON schema of all options lies beside it, in ``NAME.schema.json``: the first line names it to editors,
    which complete and check options by it.

    Args:
        path: The manifest.
        out: The YAML file to write.
        label: The column of the labels, where it is not to be guessed.

    Raises:
        UserError: The manifest has a mistake, or ``out`` exists already.
    """
    if out.exists():
        raise UserError(f"{out}: already exists; choose another file with --out")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    text, schema = config_text(path, label), out.with_suffix(".schema.json")
    write_json(schema, FitConfig.model_json_schema())
    write_text(out, f"# yaml-language-server: $schema={schema.name}\n{text}")


def config_text(path: str | Path, label: str | None = None) -> str:
    """Return the text of a commented configuration; see ``write_config``."""
    path = Path(path)
    manifest, columns = _look(path, label)
    types = {name: modality.type for name, modality in manifest.modalities.items()}
    lines = [
        *_data(path, manifest, columns),
        "",
        *_readers(manifest),
        "",
        *_encoders(types),
        "",
        *_transforms(types),
        "",
        *_method(),
        "",
        *_comment(f"Fusion rules, which combine the modalities' predictions: {', '.join(RULES)}"),
        "# fusion: evidence",
        "",
    ]
    for name, field in options().items():
        if _is_setting(field):
            off = "# " * (name in BY_PRESET)
            lines.append(f"{off}{_line(name, field.get_default())}  # {field.description}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return wrap(text, 100, initial_indent="# ", subsequent_indent="# ")


def _data(path: Path, manifest: Manifest, columns: dict[str, str]) -> Iterator[str]:
    labels = len(set(manifest.labels.take(split_rows(manifest, seed=0)["train"]).to_pylist()))
    counts = ", ".join(f"{name} {len(part):,}" for name, part in split_rows(manifest, seed=0).items())
    yield "# Train with: altuna fit --config THIS_FILE"
    yield f"# The data: {len(manifest):,} samples, {labels} classes; {counts}."
    yield "# You can change or delete any line; a deleted option has its default value."
    yield _line("data", str(path) if is_dataset(path) and not path.exists() else str(path.absolute()))
    if columns:
        yield _line("columns", columns) + "  # which columns are id, split, label and group"
    yield ""
    yield f"# The type ({', '.join(TYPES)}) and the columns of each modality."
    yield "modalities:"
    doubts = {c.column: f"; {c.reason}" for c in manifest.account if c.used_as and c.reason}
    for name, modality in manifest.modalities.items():
        doubt = "" if modality.kinds else "".join(doubts.get(column, "") for column in modality.columns)
        filled = int(filled_cells(manifest.table, modality.columns).sum())
        spec = {"type": modality.type, **_place(manifest, modality.columns)}
        yield f"  {_line(name, spec)}  # {filled:,} of {len(manifest):,} cells{doubt}"
    for column in manifest.account:
        if not column.used_as:
            yield f"  # left out: {column.column}: {column.reason}"
    yield from _types(manifest, doubts)


def _types(manifest: Manifest, doubts: Mapping[str, str]) -> Iterator[str]:
    """List the kinds of the columns of tabular modalities, where a person may correct them."""
    tabular = [modality for modality in manifest.modalities.values() if modality.kinds]
    if not tabular:
        return
    yield ""
    yield "# Columns of numbers, categories and dates: correct a type that is wrong (also text, image ...)."
    yield "types:"
    for column in (column for modality in tabular for column in modality.columns):
        kind = next(modality.use_of(column) for modality in tabular if column in modality.columns)
        reason = doubts.get(column, "").removeprefix("; ")
        yield f"  {_line(column, kind)}" + (f"  # {reason}" if reason else "")


def _readers(manifest: Manifest) -> Iterator[str]:
    yield "# How each modality is decoded. These values suit the encoders below."
    yield "# readers:"
    for name, reader in fit_readers(manifest, split_rows(manifest, seed=0)["train"], {}).items():
        stated = inspect.signature(type(reader).fit).parameters
        plain = {k: v for k, v in reader.settings().items() if k in stated and isinstance(v, int | float)}
        yield f"#   {_line(name, plain)}"


def _encoders(types: Mapping[str, str]) -> Iterator[str]:
    yield "# The encoder of each modality, with options: {name: resnet34, width: 64, lr: 1e-4}."
    yield "# hf:FOLDER or hf:HUB_ID is a Hugging Face model (pooling: mean|cls, tuning: frozen|tuned|lora)."
    yield "encoders:"
    for name, kind in types.items():
        first, *alternatives = ENCODERS[kind]
        fronts = [f"front_end: {front}" for front in [*FRONT_ENDS[kind]][1:]]
        hint = ", ".join([*alternatives, *["hf:..."] * (kind in HF_TYPES), *fronts])
        yield f"  {_line(name, first)}" + (f"  # or {hint}" if hint else "")


def _transforms(types: Mapping[str, str]) -> Iterator[str]:
    yield "# Data augmentation during training: transforms with their options. {} switches it off."
    yield "transforms:"
    for name, kind in types.items():
        chosen = {step: _defaults(TRANSFORMS[kind][step]) for step in DEFAULT_TRANSFORMS[kind]}
        others = [step for step in TRANSFORMS[kind] if step not in chosen]
        more = f"  # also {', '.join(others)}" if others else ""
        yield f"  {_line(name, chosen)}{more}"


def _method() -> Iterator[str]:
    method = FitConfig().method["name"]
    settings = {name: value for name, value in _defaults(methods.get(method)).items() if name != "model"}
    yield from _comment(f"Methods: {', '.join(methods.list())}")
    yield _line("method", {"name": method, **settings})


def _is_setting(field: FieldInfo) -> bool:
    """Tell whether an option is a plain setting of the training itself, with a default to change."""
    group, default = marker(field, "group"), field.get_default()
    plain = isinstance(default, int | float) or get_origin(field.annotation) is Literal
    return group in (COMMON, TRAINING, HARDWARE) and plain and not marker(field, "place")


def _look(path: Path, label: str | None) -> tuple[Manifest, dict[str, str]]:
    """Read a manifest, its label where it seems to be; clips with sound give a modality of sound too."""
    columns = {"label": label} if label else {}
    manifest = _read(path, columns)
    if "label" not in manifest.columns and manifest.likely_label:
        columns = {"label": manifest.likely_label}
        manifest = _read(path, columns)
    sounds = {
        f"{name}_sound": Modality("audio", modality.columns, modality.files)
        for name, modality in manifest.modalities.items()
        if modality.type == "video" and _sounds(Cells(manifest, name))
    }
    return replace(manifest, modalities={**manifest.modalities, **sounds}), columns


def _read(path: Path, columns: dict[str, str]) -> Manifest:
    """Read a manifest; columns of files that no reader accepts are left out, and the account tells why."""
    unread: dict[str, str] = {}
    while True:
        try:
            manifest = read_manifest(path, columns=columns, ignore=[*unread])
        except UnreadableColumnError as error:
            unread[error.column] = str(error)
        except UserError as error:  # maybe because no other column is left
            raise (UserError(next(iter(unread.values()))) if unread else error) from None
        else:
            told = [
                column._replace(reason=unread.get(column.column, column.reason))
                for column in manifest.account
            ]
            return replace(manifest, account=(*told,))


def _sounds(clips: Cells) -> bool:
    """Whether the first clip that can be opened has a sound track."""
    for row in np.flatnonzero(clips.filled)[:8]:
        with suppress(Exception):
            return has_sound(clips[row])
    return False


def _place(manifest: Manifest, columns: tuple[str, ...]) -> dict[str, Any]:
    """Say where a modality's cells are, by a prefix where that is shorter and means the same."""
    if len(columns) == 1:
        return {"column": columns[0]}
    prefix = os.path.commonprefix(columns)  # noqa: RUF071 - of names, not of paths
    same = [c for c in manifest.table.column_names if prefix and c.startswith(prefix)] == [*columns]
    return {"prefix": prefix} if same else {"columns": [*columns]}


def _line(key: str, value: Any) -> str:
    """Return ``key: value`` as YAML on one line."""
    text = yaml.safe_dump(
        {key: value}, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False
    )
    return text.strip()[1:-1]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of a class or function with their defaults."""
    parameters = inspect.signature(function).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}
