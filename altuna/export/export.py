"""Write a run as files that run without altuna, and check that they predict as the model does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from altuna import __version__
from altuna.data.dataset import MultimodalDataset
from altuna.data.formats.numbers import NumberFormat
from altuna.data.formats.styles import STYLES
from altuna.data.samples import unread
from altuna.data.table.cells import Cells
from altuna.errors import UserError
from altuna.export.check import Engine, Graphs, Loaded, Samples, check
from altuna.export.graphs import branch_program, fusion_program, write_onnx, write_program
from altuna.export.hub import write_loadable
from altuna.files import atomic_folder, write_json, write_text
from altuna.options import nearest
from altuna.reporting import SILENT, Reporter
from altuna.runs.columns import number_columns
from altuna.runs.data import open_split
from altuna.runs.description import Description
from altuna.runs.directory import read_config, read_metrics
from altuna.runs.predictor import Predictor

MAX_SAMPLES = 200  # that an export is checked on
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}  # of graphs
FORMATS = (*SUFFIXES, "safetensors")
SCRIPTS = (
    "example.py",
    "readers.py",
    "columns.py",
)  # files of altuna/export/scripts, copied beside the graphs


def export(
    run: Path,
    format: str = "onnx",
    *,
    out: Path | None = None,
    data: str | None = None,
    root: Path | None = None,
    store: Path | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Path, dict[str, Any]]:
    """Export a run; return the folder, and what was compared with the model (``checked`` of ``export.json``).

    Args:
        run: The run directory.
        format: ``onnx`` or ``torch-export`` (a graph for each modality and one for fusion), or
            ``safetensors``.
        out: Folder to write; ``export/FORMAT`` in the run when None.
        data: Data to check with, other than the run's.
        root: Folder of the raw files of av-digits, if they have moved.
        store: Folder for decoded data.
        reporter: Reports progress.

    Raises:
        UserError: Not a run, something in the model cannot be expressed in the format, or the export does
            not predict as the model does; then nothing is left of it.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    if format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if not find_spec(package):
                raise UserError(f"--format onnx needs {package}: pip install 'altuna[export]'")
    out = out or run / "export" / format
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: already exists; choose another folder with --out")
    predictor = Predictor(run, device="cpu")
    samples = samples_of(predictor, run, data, root, store, reporter)
    steps = len(predictor.modalities) + 1
    with atomic_folder(out) as folder:
        with reporter.steps("writing", steps) as advance:
            if format == "safetensors":
                content, engine = _write_safetensors(folder, run, predictor, advance)
            else:
                content, engine = _write_graphs(folder, format, predictor, samples, advance)
        with reporter.steps("comparing", steps) as advance:
            content["checked"] = check(predictor, engine, samples, f"{run} as {format}", advance)
        write_json(folder / "export.json", content)
        if out.exists():
            out.rmdir()  # it is empty
    return out, dict(content["checked"])


def samples_of(
    predictor: Predictor,
    run: Path,
    data: str | None,
    root: Path | None,
    store: Path | None,
    reporter: Reporter,
) -> Samples:
    """Return up to ``MAX_SAMPLES`` samples of the split that the run was tested on.

    Raises:
        UserError: Nothing of it can be read.
    """
    split = str(read_metrics(run)["split"])
    manifest, found, rows, stores = open_split(
        predictor.description, read_config(run), data, split, root, store, reporter
    )
    if not len(found.rows):
        raise UserError(f"{manifest.path}, split {split}: no sample can be read to check the export with")
    dataset = found.dataset
    spread = np.linspace(0, len(found.rows) - 1, MAX_SAMPLES).round().astype(int)
    # At least one that has each modality, however rare.
    first = [mine.argmax() for mine in dataset.present if mine.any()]
    some = np.unique([*spread, *first])
    position = {m: p[some] for m, p in dataset.position.items()}
    chosen = MultimodalDataset(dataset.arrays, position, dataset.labels[some])
    return Samples(chosen, manifest, found.rows[some], unread(rows, stores))


def _write_safetensors(
    folder: Path, run: Path, predictor: Predictor, advance: Callable[[], None]
) -> tuple[dict[str, Any], Engine]:
    """Write what ``altuna.load`` reads, with a model card."""
    write_loadable(folder, run, predictor)
    for _ in range(len(predictor.modalities) + 1):
        advance()
    return {"format": "safetensors", "altuna": __version__}, Loaded(folder)


def _write_graphs(
    folder: Path, format: str, predictor: Predictor, samples: Samples, advance: Callable[[], None]
) -> tuple[dict[str, Any], Engine]:
    """Write the graphs, the files that readers need, and the scripts that run them."""
    model, suffix = predictor.model, SUFFIXES[format]
    names = _file_names(model.modalities)
    modalities = []
    for m, size in zip(model.modalities, model.widths, strict=True):
        modalities.append(_write_branch(folder, m, names[m], suffix, size, predictor, samples))
        advance()
    inputs = ["present", *(f"features_{i}" for i in range(len(modalities)))]
    outputs = ["probabilities", "weights", "unimodal_logits"]
    _write(fusion_program(model), folder / f"fusion{suffix}", inputs, outputs, "the fusion")
    for name in SCRIPTS:
        script = files("altuna.export") / "scripts" / name
        write_text(folder / name, script.read_text(encoding="utf-8"))
    advance()
    content = {
        "format": format,
        "altuna": __version__,
        "classes": [*predictor.description.classes],
        "fusion": {"file": f"fusion{suffix}", "rule": model.fusion, "inputs": inputs, "outputs": outputs},
        "modalities": modalities,
    }
    return content, Graphs(folder, content)


def _write_branch(
    folder: Path, m: str, name: str, suffix: str, size: int, predictor: Predictor, samples: Samples
) -> dict[str, Any]:
    """Write the graph of a modality's encoder, and return its entry of ``export.json``."""
    model, description = predictor.model, predictor.description
    reader = description.readers[m]
    encoder = str(description.encoders[m].get("name") or type(model.encoder(m)).__name__)
    program = branch_program(model, m, reader, encoder)
    _write(program, folder / (name + suffix), ["cells"], ["features"], f"modality {m!r}: {encoder!r}")
    settings = reader.settings()
    if "tokenizer" in settings:
        write_text(folder / f"{name}.tokenizer.json", settings["tokenizer"])
        settings["tokenizer"] = f"{name}.tokenizer.json"
    return {
        "name": m,
        "file": name + suffix,
        "features": size,
        "cells": {"dtype": np.dtype(reader.dtype).name, "shape": [*reader.shape]},
        "reader": {"name": reader.name, **settings, **_formats(description, m)},
        **_text_example(m, samples),
    }


def _formats(description: Description, m: str) -> dict[str, Any]:
    """Return how the numbers of a modality are written in the training data, for the scripts."""
    columns = [*number_columns({m: description.readers[m]}, description.columns)]
    forms = {c: script_format(description.formats[c]) for c in columns if c in description.formats}
    if not forms:
        return {}
    is_vector = description.readers[m].type == "vector"
    return {"formats": [forms.get(c, {}) for c in columns] if is_vector else forms}


def script_format(format: NumberFormat) -> dict[str, Any]:
    """Return the arguments of the function ``number`` of the scripts that are not its defaults."""
    found = {k: v for k, v in asdict(format).items() if v != getattr(NumberFormat(), k)}
    if style := found.pop("style", None):
        pattern, factors = STYLES[style]
        groups = re.compile(pattern).groupindex
        found |= {"pattern": pattern, "factors": {k: by for k, by in factors.items() if k in groups}}
    return found


def _write(program: Any, path: Path, inputs: list[str], outputs: list[str], what: str) -> None:
    if path.suffix == ".onnx":
        write_onnx(program, path, inputs, outputs, what)
    else:
        write_program(program, path)


def _text_example(modality: str, samples: Samples) -> dict[str, Any]:
    """Return a text of the samples and its token numbers, to test another tokeniser with."""
    array, positions = samples.dataset.arrays.get(modality), samples.dataset.position.get(modality)
    if array is None or positions is None or samples.manifest.modalities[modality].type != "text":
        return {}
    first = next(iter(np.flatnonzero(positions >= 0)), None)
    if first is None:
        return {}
    text = Cells(samples.manifest, modality)[samples.rows[first]]
    numbers = np.asarray(array[positions[first : first + 1]])[0]
    return {"example": {"text": str(text), "cells": numbers[: max(1, (numbers > 0).sum())].tolist()}}


def _file_names(modalities: Sequence[str]) -> Mapping[str, str]:
    """Return a file name for each modality: its own, without characters that file names may not have."""
    names: dict[str, str] = {}
    for m in modalities:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", m)[:40]
        taken = {"", "_", "fusion", "export", *(n.lower() for n in names.values())}
        numbered = (f"{plain}-{i}" for i in count(len(names)))
        names[m] = next(name for name in chain([plain], numbered) if name.lower() not in taken)
    return names
