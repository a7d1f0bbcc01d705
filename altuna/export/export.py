"""``altuna export``: a run as files that need none of this package, checked before they are called done."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altuna import __version__
from altuna.core.outputs import Features, Prediction
from altuna.core.subsets import some_subsets
from altuna.data.dataset import MultimodalDataset
from altuna.data.samples import unread
from altuna.data.store.cells import Cells
from altuna.data.store.problems import Problem
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.export.graphs import branch_program, fusion_program, write_onnx, write_program
from altuna.export.hub import write_loadable
from altuna.export.scripts import Format, scripts
from altuna.files import atomic_folder, write_json, write_text
from altuna.options import nearest
from altuna.runs.description import Description
from altuna.runs.directory import read_config, read_metrics
from altuna.runs.evaluate import open_split
from altuna.runs.predictor import Predictor
from altuna.terminal import console

SAMPLES = 200  # that an export is checked on
TOLERANCE = 1e-4  # of a fused probability
_BATCH = 64

FORMATS: tuple[str, ...] = (*get_args(Format), "safetensors")


class Engine(Protocol):
    """An exported model that was loaded again."""

    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        """Return the features [n, d] of a modality's cells [n, ...]."""

    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return probabilities [B, C] and weights [B, M] of the features [B, d_m] of all modalities."""


class Checked(NamedTuple):
    """The run's own samples to check with: their dataset, and the rows of the manifest.

    ``unread`` are the cells of their split that cannot be read, by modality.
    """

    dataset: MultimodalDataset
    manifest: Manifest
    rows: NDArray[np.int64]
    unread: Mapping[str, Sequence[Problem]]


def export(
    run: Path,
    format: str = "onnx",
    *,
    out: Path | None = None,
    data: str | None = None,
    root: Path | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Export a run and return the folder, and what its ``export.json`` says of the check.

    Args:
        run: The run directory.
        format: ``onnx`` or ``torch-export``, a graph a modality and one of fusion, or ``safetensors``.
        out: Folder to write; ``export/FORMAT`` in the run when None.
        data: Other data to check with than the run's.
        root: Raw files of av-digits, if they are not where the run found them.
        store: Folder for decoded data.
        quiet: No progress bar.

    Raises:
        UserError: Not a run, something in the model that the format cannot express, or what was written
            predicts otherwise than the model does; nothing is left of it then.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    if format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if not find_spec(package):
                raise UserError(f"--format onnx needs {package}: pip install 'altuna[export]'")
    out = out or run / "export" / format
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; --out names another folder")
    predictor = Predictor(run, device="cpu")
    samples = _samples(predictor, run, data, root, store, quiet)
    with atomic_folder(out) as folder:
        write = _write_safetensors if format == "safetensors" else _write_graphs
        with console.counting("writing", len(predictor.modalities) + 1, quiet) as done:
            said, engine = write(folder, format, run, predictor, samples, done)
        with console.counting("comparing", len(predictor.modalities) + 1, quiet) as done:
            said["checked"] = check(predictor, engine, samples, f"{run} as {format}", done)
        write_json(folder / "export.json", said)
        if out.exists():
            out.rmdir()  # it is empty
    return out, dict(said["checked"])


def check(
    predictor: Predictor, engine: Engine, samples: Checked, what: str, done: Callable[[], None]
) -> dict[str, Any]:
    """Compare predictions from subsets of the modalities, and of single samples, with the model's.

    All subsets are looked at or, of a size that has too many, some; those count that samples have. Modalities
    ``without_samples`` are not checked at all; ``unread`` says of how many cells, and why of the first, that
    may be for. ``done`` is called after every modality, and at the end.

    Raises:
        UserError: A probability or a weight differs by more than ``TOLERANCE``.
    """
    model, dataset = predictor.model, samples.dataset
    features = predictor.features(dataset, _BATCH)
    others = []
    for m, size in zip(model.modalities, model.head.sizes, strict=True):
        # What stands where a modality is absent must not matter.
        other = np.full((len(dataset), size), np.nan, np.float32)
        if m in features.of:
            cells = np.asarray(dataset.arrays[m][dataset.position[m][features.rows[m].numpy()]])
            first = (
                cells[:1, : max(1, (cells[:1] > 0).sum())]
                if _is_text(predictor.description, m)
                else cells[:1]
            )
            parts = [first, *(cells[i : i + _BATCH] for i in range(1, len(cells), _BATCH))]
            other[features.rows[m].numpy()] = np.concatenate([engine.encode(m, part) for part in parts])
        others.append(other)
        done()
    has = features.present(model.modalities)
    number = len(model.modalities)
    compared, worst = 0, 0.0
    for subset in (s for size in range(1, number + 1) for s in some_subsets(number, size)):
        given = has & torch.tensor([i in subset for i in range(number)])[:, None]
        kept = given.any(0).numpy()
        if not kept.any():
            continue
        wanted = _predicted(predictor, features, given)
        # The first one alone: the size of a batch must not matter either.
        for part in (np.flatnonzero(kept)[:1], np.flatnonzero(kept)[1:]):
            if not len(part):
                continue
            got = engine.fuse(given.numpy().T[part], [other[part] for other in others])
            at = np.searchsorted(np.flatnonzero(kept), part)
            # A weight is a share of what modalities know: of next to nothing, rounding makes any share.
            knows = (wanted.probabilities.amax(1) * wanted.probabilities.shape[1] - 1).clamp(0, 1)
            scales = np.ones((len(at), 1)), knows.numpy()[at][:, None]
            wanted_both = wanted.probabilities, wanted.weights.T
            for mine, theirs, scale in zip(wanted_both, got[:2], scales, strict=True):
                difference = float((np.abs(mine.numpy()[at] - theirs) * scale).max())
                if not difference <= TOLERANCE:
                    raise UserError(
                        f"{what} is not what the model predicts: from "
                        f"{'+'.join(model.modalities[i] for i in subset)} a probability or "
                        f"weight differs by {difference:.2g}, more than {TOLERANCE:g}"
                    )
                worst = max(worst, difference)
        compared += bool(has[list(subset)].all(0).any())
    done()
    return {
        "samples": len(dataset),
        "subsets": compared,
        "of_subsets": 2**number - 1,
        "without_samples": [m for m in model.modalities if m not in features.of],
        "unread": {m: {"cells": len(p), "first": p[0].reason} for m, p in samples.unread.items()},
        "largest_difference": worst,
    }


def _is_text(description: Description, modality: str) -> bool:
    return description.readers[modality].type == "text"


@torch.inference_mode()
def _predicted(predictor: Predictor, features: Features, given: Tensor) -> Prediction:
    model = predictor.model
    some, _ = features.restricted(model.modalities, given)
    return model.fuse(model.outputs_of(some.of, some.rows, len(some.labels)))


def _samples(
    predictor: Predictor, run: Path, data: str | None, root: Path | None, store: Path | None, quiet: bool
) -> Checked:
    """Return up to ``SAMPLES`` of the split that the run was tested on.

    Raises:
        UserError: Nothing of it can be read.
    """
    split = str(read_metrics(run)["split"])
    manifest, found, rows, stores = open_split(predictor, read_config(run), data, split, root, store, quiet)
    if not len(found.rows):
        raise UserError(f"{manifest.path}, split {split}: nothing can be read of it to check with")
    dataset = found.dataset
    spread = np.linspace(0, len(found.rows) - 1, SAMPLES).round().astype(int)
    # Of each modality one at least, however rare.
    first = [mine.argmax() for mine in dataset.present if mine.any()]
    some = np.unique([*spread, *first])
    position = {m: p[some] for m, p in dataset.position.items()}
    chosen = MultimodalDataset(dataset.arrays, position, dataset.labels[some])
    return Checked(chosen, manifest, found.rows[some], unread(rows, stores))


def _write_safetensors(
    folder: Path, format: str, run: Path, predictor: Predictor, samples: Checked, done: Callable[[], None]
) -> tuple[dict[str, Any], Engine]:
    """Write what ``altuna.load`` reads, with a model card."""
    write_loadable(folder, run, predictor)
    for _ in range(len(predictor.modalities) + 1):
        done()
    return {"format": format, "altuna": __version__}, _Loaded(Predictor(folder, device="cpu"))


class _Loaded:
    def __init__(self, predictor: Predictor) -> None:
        self.model = predictor.model

    @torch.inference_mode()
    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        return self.model.encode(modality, torch.from_numpy(cells)).numpy()

    @torch.inference_mode()
    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        rows = {
            m: torch.from_numpy(np.flatnonzero(p))
            for m, p in zip(self.model.modalities, present.T, strict=True)
        }
        of = {m: torch.from_numpy(f)[rows[m]] for m, f in zip(self.model.modalities, features, strict=True)}
        some = {m: f for m, f in of.items() if len(f)}
        fused = self.model.fuse(self.model.outputs_of(some, {m: rows[m] for m in some}, len(present)))
        return fused.probabilities.numpy(), fused.weights.numpy().T


def _write_graphs(
    folder: Path, format: str, run: Path, predictor: Predictor, samples: Checked, done: Callable[[], None]
) -> tuple[dict[str, Any], Engine]:
    """Write a graph a modality, one of fusion, what readers need, and an example that runs them."""
    model, description = predictor.model, predictor.description
    suffix = {"onnx": ".onnx", "torch-export": ".pt2"}[format]
    names = _file_names(model.modalities)
    modalities = []
    for m, size in zip(model.modalities, model.head.sizes, strict=True):
        reader = description.readers[m]
        encoder = str(description.encoders[m].get("name") or type(model.encoder(m)).__name__)
        program = branch_program(model, m, reader, encoder)
        _write(program, folder / (names[m] + suffix), ["cells"], ["features"], f"modality {m!r}: {encoder!r}")
        settings = reader.settings()
        if "tokenizer" in settings:
            settings["tokenizer"] = names[m] + ".tokenizer.json"
            write_text(folder / settings["tokenizer"], reader.settings()["tokenizer"])
        modalities.append(
            {
                "name": m,
                "file": names[m] + suffix,
                "features": size,
                "cells": {"dtype": np.dtype(reader.dtype).name, "shape": [*reader.shape]},
                "reader": {"name": reader.name, **settings},
                **_shown(m, samples),
            }
        )
        done()
    inputs = ["present", *(f"features_{i}" for i in range(len(modalities)))]
    outputs = ["probabilities", "weights", "unimodal_logits"]
    _write(fusion_program(model), folder / f"fusion{suffix}", inputs, outputs, "the fusion")
    done()
    said = {
        "format": format,
        "altuna": __version__,
        "classes": [*description.classes],
        "fusion": {"file": f"fusion{suffix}", "rule": model.fusion, "inputs": inputs, "outputs": outputs},
        "modalities": modalities,
    }
    for name, script in scripts(format, [(m, description.readers[m]) for m in model.modalities]).items():
        write_text(folder / name, script)
    return said, _Graphs(folder, said)


def _write(program: Any, path: Path, inputs: list[str], outputs: list[str], what: str) -> None:
    if path.suffix == ".onnx":
        write_onnx(program, path, inputs, outputs, what)
    else:
        write_program(program, path)


def _shown(modality: str, samples: Checked) -> dict[str, Any]:
    """Return a text of the samples and its numbers, to test another tokenisation by."""
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
    """Return a name of a file for every modality: its own, unless that has signs that names may not have."""
    names: dict[str, str] = {}
    for m in modalities:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", m)[:40]
        taken = {"", "_", "fusion", "export", *(n.lower() for n in names.values())}
        numbered = (f"{plain}-{i}" for i in count(len(names)))
        names[m] = next(name for name in chain([plain], numbered) if name.lower() not in taken)
    return names


class _Graphs:
    """Graphs of a folder, run by ONNX Runtime or PyTorch."""

    def __init__(self, folder: Path, said: Mapping[str, Any]) -> None:
        load = _onnx_graph if said["format"] == "onnx" else _torch_graph
        self.of = {m["name"]: load(folder / m["file"]) for m in said["modalities"]}
        self.fusion = load(folder / said["fusion"]["file"])

    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        return self.of[modality](cells)[0]

    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        return self.fusion(present, *features)


Graph = Callable[..., Sequence[NDArray[Any]]]


def _onnx_graph(path: Path) -> Graph:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: NDArray[Any]) -> Sequence[NDArray[Any]]:
        found: list[NDArray[Any]] = session.run(None, dict(zip(names, inputs, strict=True)))
        return found

    return run


def _torch_graph(path: Path) -> Graph:
    module = torch.export.load(path).module()

    def run(*inputs: NDArray[Any]) -> Sequence[NDArray[Any]]:
        found = module(*map(torch.from_numpy, inputs))
        return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]

    return run
