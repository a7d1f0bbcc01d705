"""Compare an export with its model: predictions from subsets of the modalities, and from single samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altuna.core.outputs import Features, Prediction
from altuna.core.subsets import sample_subsets
from altuna.data.dataset import MultimodalDataset
from altuna.data.store.problems import Problem
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.runs.predictor import Predictor

TOLERANCE = 1e-4  # of a fused probability
_BATCH = 64


class Engine(Protocol):
    """An exported model, loaded again."""

    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        """Return the features [n, d] of a modality's cells [n, ...]."""

    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return probabilities [B, C] and weights [B, M] from the features [B, d_m] of all modalities."""


class Samples(NamedTuple):
    """Samples of the run to check an export with: their dataset and their rows of the manifest.

    ``unread`` holds, by modality, the cells of their split that cannot be read.
    """

    dataset: MultimodalDataset
    manifest: Manifest
    rows: NDArray[np.int64]
    unread: Mapping[str, Sequence[Problem]]


def check(
    predictor: Predictor, engine: Engine, samples: Samples, what: str, advance: Callable[[], None]
) -> dict[str, Any]:
    """Compare an export's predictions with the model's, and return what was compared.

    All subsets of the modalities are tried or, of a size that has too many, some of them; a subset counts if
    some sample has all of it. Modalities in ``without_samples`` cannot be checked; ``unread`` gives the
    number of their cells that cannot be read, and the reason for the first one.

    Args:
        predictor: The model with its readers.
        engine: The export.
        samples: Samples to predict.
        what: Name of the export in errors.
        advance: Called after every modality and at the end.

    Raises:
        UserError: A probability or a weight differs by more than ``TOLERANCE``.
    """
    model = predictor.model
    features = predictor.features(samples.dataset, _BATCH)
    exported = _encoded(predictor, engine, samples.dataset, features, advance)
    has = features.present(model.modalities)
    number = len(model.modalities)
    compared, largest = 0, 0.0
    for subset in (s for size in range(1, number + 1) for s in sample_subsets(number, size)):
        given = has & torch.tensor([i in subset for i in range(number)])[:, None]
        if not given.any():
            continue
        difference = _difference(predictor, engine, features, given, exported)
        if not difference <= TOLERANCE:  # NaN fails too
            raise UserError(
                f"{what} does not predict as the model does: from "
                f"{'+'.join(model.modalities[i] for i in subset)}, a probability or "
                f"weight differs by {difference:.2g}, more than {TOLERANCE:g}"
            )
        largest = max(largest, difference)
        compared += bool(has[list(subset)].all(0).any())
    advance()
    return {
        "samples": len(samples.dataset),
        "subsets": compared,
        "of_subsets": 2**number - 1,
        "without_samples": [m for m in model.modalities if m not in features.of],
        "unread": {m: {"cells": len(p), "first": p[0].reason} for m, p in samples.unread.items()},
        "largest_difference": largest,
    }


def _encoded(
    predictor: Predictor,
    engine: Engine,
    dataset: MultimodalDataset,
    features: Features,
    advance: Callable[[], None],
) -> list[NDArray[Any]]:
    """Return the features [B, w_m] of each modality from the export, NaN where it is absent."""
    found = []
    for m, size in zip(predictor.model.modalities, predictor.model.widths, strict=True):
        # The features of an absent modality must not matter.
        encoded = np.full((len(dataset), size), np.nan, np.float32)
        if m in features.of:
            rows = features.rows[m].numpy()
            cells = np.asarray(dataset.arrays[m][dataset.position[m][rows]])
            # The first one alone, a text without its padding: neither must matter.
            is_text = predictor.description.readers[m].type == "text"
            first = cells[:1, : max(1, (cells[:1] > 0).sum())] if is_text else cells[:1]
            parts = [first, *(cells[i : i + _BATCH] for i in range(1, len(cells), _BATCH))]
            encoded[rows] = np.concatenate([engine.encode(m, part) for part in parts])
        found.append(encoded)
        advance()
    return found


def _difference(
    predictor: Predictor,
    engine: Engine,
    features: Features,
    given: Tensor,
    exported: Sequence[NDArray[Any]],
) -> float:
    """Return by how much a probability or a weight differs at most, from the cells ``given`` [M, B]."""
    kept = np.flatnonzero(given.any(0).numpy())
    wanted = _predicted(predictor, features, given)
    differences = [0.0]
    # The first sample alone: the size of a batch must not matter either.
    for part in (kept[:1], kept[1:]):
        if not len(part):
            continue
        got = engine.fuse(given.numpy().T[part], [encoded[part] for encoded in exported])
        at = np.searchsorted(kept, part)
        # A weight is a share of what modalities know: where they know next to nothing, rounding decides.
        beyond = (wanted.probabilities - predictor.model.prior.to(wanted.probabilities)).abs().sum(1)
        knows = beyond.clamp(0, 1)
        scales = np.ones((len(at), 1)), knows.numpy()[at][:, None]
        for mine, theirs, scale in zip(
            (wanted.probabilities, wanted.weights.T), got[:2], scales, strict=True
        ):
            differences.append(float((np.abs(mine.numpy()[at] - theirs) * scale).max()))
    return float(np.max(differences))  # NaN if one is


@torch.inference_mode()
def _predicted(predictor: Predictor, features: Features, given: Tensor) -> Prediction:
    model = predictor.model
    some, _ = features.restricted(model.modalities, given)
    return model.fuse(model.outputs_of(some.of, some.rows, len(some.labels)))


class Loaded(Engine):
    """An export in the format ``safetensors``, loaded by altuna."""

    def __init__(self, folder: Path) -> None:
        self.model = Predictor(folder, device="cpu").model

    @torch.inference_mode()
    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        return self.model.encode_all(modality, torch.from_numpy(cells)).numpy()

    @torch.inference_mode()
    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        names = self.model.modalities
        rows = {m: torch.from_numpy(np.flatnonzero(p)) for m, p in zip(names, present.T, strict=True)}
        of = {m: torch.from_numpy(f)[rows[m]] for m, f in zip(names, features, strict=True)}
        some = {m: f for m, f in of.items() if len(f)}
        fused = self.model.fuse(self.model.outputs_of(some, {m: rows[m] for m in some}, len(present)))
        return fused.probabilities.numpy(), fused.weights.numpy().T


class Graphs(Engine):
    """Graphs in a folder, run by ONNX Runtime or PyTorch."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        load = _onnx_graph if content["format"] == "onnx" else _torch_graph
        self.of = {m["name"]: load(folder / m["file"]) for m in content["modalities"]}
        self.fusion = load(folder / content["fusion"]["file"])

    def encode(self, modality: str, cells: NDArray[Any]) -> NDArray[Any]:
        return self.of[modality](cells)[0]

    def fuse(self, present: NDArray[Any], features: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        return self.fusion(present, *features)


Graph = Callable[..., Sequence[NDArray[Any]]]


def _onnx_graph(path: Path) -> Graph:
    import onnxruntime  # optional

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
