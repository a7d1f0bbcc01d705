"""The description of a model (``config.json``), and saving and loading of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from altuna.core.model import Impute, MultimodalClassifier
from altuna.data.readers import READERS, Reader
from altuna.encoders import build
from altuna.errors import UserError
from altuna.files import atomic_write, write_json
from altuna.runs.directory import read_json

FORMAT = 2


@dataclass(frozen=True)
class Description:
    """All that is needed to build a model again, JSON-ready (``config.json``)."""

    method: str
    classes: tuple[str, ...]
    head: str
    fusion: str
    fixed_weights: dict[str, float]
    readers: dict[str, Reader]
    encoders: dict[str, dict[str, Any]]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    impute: Impute = "zero"

    def to_json(self) -> dict[str, Any]:
        """Return what ``config.json`` holds."""
        return {
            "format": FORMAT,
            "method": self.method,
            "classes": [*self.classes],
            "head": self.head,
            "fusion": self.fusion,
            "fixed_weights": self.fixed_weights,
            "impute": self.impute,
            "modalities": {
                name: {
                    "type": reader.type,
                    "columns": [*self.columns.get(name, ())],
                    "reader": {"name": reader.name, **reader.settings()},
                    "encoder": self.encoders[name],
                }
                for name, reader in self.readers.items()
            },
        }

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Description:
        """Rebuild the description from ``config.json``'s contents."""
        modalities = config["modalities"]
        return cls(
            config["method"],
            tuple(config["classes"]),
            config["head"],
            config["fusion"],
            config["fixed_weights"],
            {n: _reader(**m["reader"]) for n, m in modalities.items()},
            {n: m["encoder"] for n, m in modalities.items()},
            {n: tuple(m.get("columns", ())) for n, m in modalities.items()},
            config.get("impute", "zero"),
        )

    def build_model(self) -> MultimodalClassifier:
        """Return a new model with random weights."""
        try:
            encoders = {
                name: build(name, reader, **self.encoders[name]) for name, reader in self.readers.items()
            }
            return MultimodalClassifier(
                encoders,
                len(self.classes),
                head=self.head,
                fusion=self.fusion or None,
                fixed_weights=self.fixed_weights,
                impute=self.impute,
            )
        except UserError:
            raise
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            raise UserError(f"cannot build the model: {error}") from None


def save_model(run: Path, description: Description, model: MultimodalClassifier) -> None:
    """Write ``model.safetensors`` and ``config.json``."""
    with atomic_write(run / "model.safetensors") as unfinished:
        # Not by save_file: on a full disk it raises no OSError.
        unfinished.write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    write_json(run / "config.json", description.to_json())


def load_model(run: Path) -> tuple[Description, MultimodalClassifier]:
    """Load a model for inference; nothing is unpickled.

    Raises:
        UserError: Not a finished run directory, of another version, or damaged.
    """
    config = read_json(run, "config.json")
    if config.get("format") != FORMAT:
        raise UserError(
            f"{run / 'config.json'}: format {config.get('format')!r} is of another version of altuna; "
            f"this one reads format {FORMAT}"
        )
    path = run / "model.safetensors"
    try:
        description = Description.from_json(config)
        model = description.build_model()
        model.load_state_dict(load_file(path))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: does not hold this run's model: {reason}") from None
    return description, model.eval()


def _reader(name: str, **settings: Any) -> Reader:
    return READERS[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
