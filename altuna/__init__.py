"""Multimodal learning in which no modality gets lazy and none is required."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from altuna import methods
    from altuna.batch import Batch
    from altuna.comparing import compare
    from altuna.errors import UserError
    from altuna.fitting import fit
    from altuna.fusion import Fusion, fuse
    from altuna.hub import push_to_hub
    from altuna.model import MultimodalClassifier, Prediction
    from altuna.predictor import Predictor, load
    from altuna.projection import OrthogonalProjector

__version__ = "0.1.0"

_HOME = {
    "Batch": "batch",
    "Fusion": "fusion",
    "MultimodalClassifier": "model",
    "OrthogonalProjector": "projection",
    "Prediction": "model",
    "Predictor": "predictor",
    "UserError": "errors",
    "compare": "comparing",
    "fit": "fitting",
    "fuse": "fusion",
    "load": "predictor",
    "push_to_hub": "hub",
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
