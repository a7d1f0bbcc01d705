"""What methods share that learn to imagine absent features by hiding some that are there."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.heads import CascadeHead, Imagined
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


class Imagining(JointMethod):
    """Joint training on what is left of each sample when cells are hidden, which are imagined from the rest.

    Args:
        model: A classifier with a head that imagines.
        weight: Of the distance between imagined and hidden features.
        drop: How likely a cell is hidden.
    """

    def __init__(self, model: MultimodalClassifier, *, weight: float, drop: float) -> None:
        super().__init__(model)
        if not isinstance(model.head, CascadeHead):
            raise ValueError(f"needs a head {self.head!r}, got {type(model.head).__name__}")
        if not weight >= 0:
            raise ValueError(f"the weight of imagination must not be negative, got {weight}")
        if not 0 <= drop <= 1:
            raise ValueError(f"drop must be between 0 and 1, got {drop}")
        self._head = (model.head,)  # in a tuple, lest it be registered twice
        self.weight, self.drop = weight, drop

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        turn.features = {m: self.model.encode(m, batch.inputs[m]) for m in turn.modalities}
        whole = replace(batch, inputs=turn.features)
        truth, exists = self._head[0].side_by_side(*self._numbered(whole), len(batch))
        view = self._head[0].imagine(*self._numbered(whole.drop_cells(self.drop)), len(batch))
        turn.joint = self._head[0].classify(view)
        imagination = distance(view.features, truth, exists & ~view.has)
        return cross_entropy(turn.joint, batch.labels) + self.weight * imagination + self._more(view)

    def _more(self, view: Imagined) -> Tensor | float:
        """Return what else is added to the loss."""
        return 0.0

    def _numbered(self, batch: Batch) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return features and rows by the modalities' numbers, as heads have them."""
        numbers = {m: self.model.modalities.index(m) for m in batch.inputs}
        return (
            {i: cast(Tensor, batch.inputs[m]) for m, i in numbers.items()},
            {i: batch.rows[m] for m, i in numbers.items()},
        )


def distance(imagined: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Return the mean square of a difference [B, d] over what a mask marks; the truth is a constant."""
    square = (imagined.float() - truth.detach().float()).square()
    return (square * where).sum() / where.sum().clamp_min(1)
