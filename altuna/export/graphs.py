"""A model as graphs that need none of its code: one from cells to features a modality, and one of fusion."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from altuna.core.model import MultimodalClassifier
from altuna.core.modules import stored
from altuna.data.readers import Reader
from altuna.errors import UserError

OPSET = 20


class Branch(nn.Module):
    """A modality's cells [n, ...] to all [n, w] that fusion needs of it (``encode_all``)."""

    def __init__(self, model: MultimodalClassifier, i: int) -> None:
        super().__init__()
        self.encoder, self.adapter = model.encoders[i], model.adapters[i]
        self.more = model.expert_encoder(model.modalities[i])
        self.pool = model.pool(model.modalities[i])

    def forward(self, cells: Tensor) -> Tensor:
        estimates = []
        if self.pool is not None:
            cells = stored(self.encoder, cells)
            estimates = [self.pool.estimates(cells)]
        more = [] if self.more is None else [self.more(cells)]
        parts = [self.adapter(self.encoder(cells)), *more, *estimates]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


class Fused(nn.Module):
    """The features [B, w_m] of all modalities, whatever stands where one is absent, to a prediction."""

    def __init__(self, model: MultimodalClassifier) -> None:
        super().__init__()
        self.model = copy.copy(model)
        left = ("encoders", "adapters")
        self.model._modules = {k: v for k, v in model.named_children() if k not in left}
        # Of which fusion needs the numbers only.
        self.model.expert_encoders = nn.ModuleDict({k: nn.Identity() for k in model.expert_encoders})
        self.model.pools = nn.ModuleDict({k: pool.without_members() for k, pool in model.pools.items()})  # type: ignore[operator]

    def forward(self, present: Tensor, *features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities [B, C], weights [B, M], unimodal logits [B, M, C]; ``present`` is [B, M]."""
        names = self.model.modalities
        rows = {m: present[:, i].nonzero().flatten() for i, m in enumerate(names)}
        given = {m: f.index_select(0, rows[m]) for m, f in zip(names, features, strict=True)}
        outputs = self.model.outputs_of(given, rows, present.shape[0])
        fused = self.model.fuse(outputs._replace(present=present.T))
        return fused.probabilities, fused.weights.T, fused.unimodal_logits.transpose(0, 1)


def branch_program(
    model: MultimodalClassifier, modality: str, reader: Reader, encoder: str
) -> ExportedProgram:
    """Export a modality's encoder; texts may be of any length up to the reader's.

    Raises:
        UserError: PyTorch cannot make a graph of it.
    """
    cells = example(reader)
    sizes: dict[int, Dim] = {0: Dim("batch")}
    if reader.type == "text" and reader.shape[0] > 1:
        sizes[1] = Dim("length", max=reader.shape[0])
    module = Branch(model, model.modalities.index(modality)).eval()
    return _program(module, (cells,), (sizes,), f"modality {modality!r}: the encoder {encoder!r}")


def fusion_program(model: MultimodalClassifier) -> ExportedProgram:
    """Export head and fusion.

    Raises:
        UserError: PyTorch cannot make a graph of it.
    """
    present = torch.ones(3, len(model.modalities), dtype=torch.bool)
    features = tuple(torch.randn(3, size) for size in model.widths)
    size = {0: Dim("batch")}
    module = Fused(model).eval()
    what = f"the fusion {model.fusion!r} of {type(model.head).__name__}"
    return _program(module, (present, *features), (size, (size,) * len(features)), what)


def example(reader: Reader, number: int = 2) -> Tensor:
    """Return cells [number, ...] of a reader's shape and type."""
    return torch.ones(number, *reader.shape, dtype=getattr(torch, reader.dtype.__name__))


def write_onnx(
    program: ExportedProgram, path: Path, inputs: list[str], outputs: list[str], what: str
) -> None:
    """Write a program as ONNX.

    Raises:
        UserError: ONNX has no operator for something in it.
    """
    try:
        with _calm():
            made = torch.onnx.export(
                program, input_names=inputs, output_names=outputs, opset_version=OPSET, verbose=False
            )
            assert made is not None
            made.save(path, external_data=False)
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"{what} cannot be written as ONNX: {_reason(error)}") from None


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a program for ``torch.export.load``."""
    with _calm():
        torch.export.save(program, path)


def _program(
    module: nn.Module, args: tuple[Tensor, ...], sizes: tuple[Any, ...], what: str
) -> ExportedProgram:
    module.requires_grad_(False)
    try:
        with _calm():
            return torch.export.export(module, args, dynamic_shapes=sizes, strict=False)
    # Whatever the code of a network makes the tracer stumble over.
    except Exception as error:
        raise UserError(f"{what} cannot be exported: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep what the exporters say to themselves, and Python from looking for garbage.

    They make millions of small objects: the search is a fifth of the time.
    """
    level, collects = logging.root.manager.disable, gc.isenabled()
    logging.disable(logging.ERROR)
    gc.disable()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if collects:
            gc.enable()
