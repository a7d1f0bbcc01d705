"""Multimodal classification with balanced training and missing modalities."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from altuna import methods
    from altuna.comparison.compare import compare
    from altuna.core.batch import Batch
    from altuna.core.fusion import fuse
    from altuna.core.model import MultimodalClassifier
    from altuna.core.opinions import Fusion
    from altuna.core.outputs import Prediction
    from altuna.core.projection import OrthogonalProjector
    from altuna.errors import UserError
    from altuna.export.hub import push_to_hub
    from altuna.runs.predictor import Predictor, load
    from altuna.training.fit import fit

__version__ = "0.2.0"

_HOME = {
    "Batch": "core.batch",
    "Fusion": "core.opinions",
    "MultimodalClassifier": "core.model",
    "OrthogonalProjector": "core.projection",
    "Prediction": "core.outputs",
    "Predictor": "runs.predictor",
    "UserError": "errors",
    "compare": "comparison.compare",
    "fit": "training.fit",
    "fuse": "core.fusion",
    "load": "runs.predictor",
    "push_to_hub": "export.hub",
}

__all__ = [
    "Batch",
    "Fusion",
    "MultimodalClassifier",
    "OrthogonalProjector",
    "Prediction",
    "Predictor",
    "UserError",
    "__version__",
    "compare",
    "fit",
    "fuse",
    "load",
    "methods",
    "push_to_hub",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: `import altuna` and the command line's help must not wait for torch.
    if name == "methods":
        return import_module("altuna.methods")
    if name in _HOME:
        return getattr(import_module(f"altuna.{_HOME[name]}"), name)
    raise AttributeError(f"module 'altuna' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
