"""The description of a model (``config.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from altuna.core.model import Impute, MultimodalClassifier
from altuna.data.readers import Reader
from altuna.encoders import build
from altuna.errors import UserError
from altuna.runs.schema import FORMAT, ModelFile, make_reader
from altuna.text import one_line


@dataclass(frozen=True)
class Description:
    """All that is needed to build a model again, JSON-ready (``config.json``)."""

    method: str
    classes: tuple[str, ...]
    head: str
    fusion: str
    fixed_weights: Mapping[str, float]
    readers: Mapping[str, Reader]
    encoders: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    impute: Impute = "zero"

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``config.json``."""
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
    def from_file(cls, file: ModelFile) -> Description:
        """Return the description that ``config.json`` holds."""
        return cls(
            file.method,
            tuple(file.classes),
            file.head,
            file.fusion,
            file.fixed_weights,
            {name: make_reader(modality.reader) for name, modality in file.modalities.items()},
            {name: modality.encoder for name, modality in file.modalities.items()},
            {name: tuple(modality.columns) for name, modality in file.modalities.items()},
            file.impute,
        )

    def build_model(self) -> MultimodalClassifier:
        """Return a new model with random weights.

        Raises:
            UserError: An unknown encoder, head or fusion rule, or an option that it cannot have.
        """
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
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
            raise UserError(f"cannot build the model: {one_line(error)}") from None
