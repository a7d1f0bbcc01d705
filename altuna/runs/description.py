"""The description of a model (``config.json``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from altuna.core.ensemble import ensemble
from altuna.core.model import Impute, MultimodalClassifier
from altuna.core.pool import Pool
from altuna.data.formats.numbers import NumberFormat
from altuna.data.readers import Reader
from altuna.encoders import Encoder, build
from altuna.errors import UserError
from altuna.methods.base import ExpertForm
from altuna.runs.schema import FORMAT, ModelFile
from altuna.runs.settings import make_reader
from altuna.text import one_line

Shapes = Mapping[str, Sequence[Mapping[str, int]]]  # of an estimator by its name, in each fold


@dataclass(frozen=True)
class Description:
    """All that is needed to build a model again, JSON-ready (``config.json``).

    Example:
        >>> from altuna.data.readers import READERS
        >>> readers, encoders = {"acc": READERS["vector"](3)}, {"acc": {"name": "mlp"}}
        >>> description = Description("mla", ("cat", "owl"), "shared", "evidence", {}, readers, encoders)
        >>> description.build_model()({"acc": torch.zeros(2, 3)}).probabilities.shape
        torch.Size([2, 2])
    """

    method: str
    classes: tuple[str, ...]
    head: str
    fusion: str
    fixed_weights: Mapping[str, float]
    readers: Mapping[str, Reader]
    encoders: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    impute: Impute = "zero"
    expert: ExpertForm = "off"
    folds: int = 1
    estimators: Mapping[str, Shapes] = field(default_factory=dict)
    formats: Mapping[str, NumberFormat] = field(default_factory=dict)  # of the numbers of columns

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
            "expert": self.expert,
            "folds": self.folds,
            "modalities": {
                name: {
                    "type": reader.type,
                    "columns": [*self.columns.get(name, ())],
                    **self._formats_of(name),
                    "reader": {"name": reader.name, **reader.settings()},
                    "encoder": self.encoders[name],
                    **({"estimators": self.estimators[name]} if name in self.estimators else {}),
                }
                for name, reader in self.readers.items()
            },
        }

    def _formats_of(self, name: str) -> dict[str, Any]:
        own = {c: asdict(self.formats[c]) for c in self.columns.get(name, ()) if c in self.formats}
        return {"formats": own} if own else {}

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
            file.expert,
            file.folds,
            {name: shapes for name, modality in file.modalities.items() if (shapes := modality.shapes())},
            {c: file.format() for m in file.modalities.values() for c, file in m.formats.items()},
        )

    def build_model(self) -> MultimodalClassifier:
        """Return a new model with random weights, the ensemble of those of all folds.

        Raises:
            UserError: See ``build_member``.
        """
        return ensemble([self.build_member(number) for number in range(self.folds)])

    def build_member(self, number: int = 0) -> MultimodalClassifier:
        """Return a new model of one fold with random weights.

        Args:
            number: The number of the fold. The models of folds differ in the shapes of their estimators.

        Raises:
            UserError: An unknown encoder, head or fusion rule, or an option that it cannot have.
        """
        try:
            encoders = self._build_encoders(self.readers)
            model = MultimodalClassifier(
                encoders,
                len(self.classes),
                head=self.head,
                fusion=self.fusion or None,
                fixed_weights=self.fixed_weights,
                impute=self.impute,
                expert=self._build_expert(encoders),
            )
            for name, shapes in self.estimators.items():
                model.set_pool(name, self._build_pool(name, shapes, encoders[name], number))
            return model
        except UserError:
            raise
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
            raise UserError(f"cannot build the model: {one_line(error)}") from None

    def _build_pool(self, name: str, shapes: Shapes, encoder: Encoder, number: int) -> Pool:
        """Return a pool of the estimators of a fold; raise ValueError if they do not fit the model."""
        size = (encoder.feature_size,) if encoder.fixed else self.readers[name].shape
        for estimator, of_folds in shapes.items():
            if len(of_folds) != self.folds:
                raise ValueError(
                    f"estimator {estimator!r} of {name!r}: {len(of_folds)} of {self.folds} folds"
                )
            if (inputs := of_folds[number]["inputs"],) != size:
                given = f"sees {inputs} numbers, the modality has {[*size]}"
                raise ValueError(f"estimator {estimator!r} of {name!r} {given}")
        return Pool.of_shapes({key: of_folds[number] for key, of_folds in shapes.items()}, len(self.classes))

    def _build_encoders(self, names: Iterable[str]) -> dict[str, Encoder]:
        return {name: build(name, self.readers[name], **self.encoders[name]) for name in names}

    def _build_expert(self, encoders: Mapping[str, Encoder]) -> dict[str, Encoder] | None:
        """Return the joint expert's own encoders; None without an expert."""
        if self.expert != "apart":
            return None if self.expert == "off" else {}
        trained = [name for name, encoder in encoders.items() if not encoder.fixed]
        # So that the model's own weights are drawn as without the expert.
        with torch.random.fork_rng(devices=[]):
            return self._build_encoders(trained)
