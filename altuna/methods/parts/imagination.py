"""The base of methods that hide cells in training and learn to reconstruct their features."""

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
    """Joint training that hides cells at random and reconstructs their features from the visible cells.

    The loss is the cross-entropy of the joint logits of the visible cells, plus ``weight`` times the mean
    squared distance between reconstructed and hidden features. Base of ``cra`` and ``mmin``.

    Args:
        model: A classifier with a head that reconstructs features (``cra`` or ``mmin``).
        weight: Weight of the distance between reconstructed and hidden features.
        drop: Probability of hiding a cell.

    Example:
        >>> import torch
        >>> encoders = {"audio": torch.nn.Linear(3, 4), "image": torch.nn.Linear(5, 4)}
        >>> model = MultimodalClassifier(encoders, num_classes=2, head="cra")
        >>> method, rows = Imagining(model, weight=1.0, drop=0.5), torch.arange(6)
        >>> inputs = {"audio": torch.randn(6, 3), "image": torch.randn(6, 5)}
        >>> batch = Batch(inputs, dict.fromkeys(inputs, rows), labels=rows % 2, indices=rows)
        >>> method.loss(Turn(("audio", "image")), batch).shape
        torch.Size([])
    """

    def __init__(self, model: MultimodalClassifier, *, weight: float, drop: float) -> None:
        super().__init__(model)
        if not isinstance(model.head, CascadeHead):
            raise ValueError(f"needs a head {self.head!r}, got {type(model.head).__name__}")
        if not weight >= 0:
            raise ValueError(f"the weight of imagination must not be negative, got {weight}")
        if not 0 <= drop <= 1:
            raise ValueError(f"drop must be between 0 and 1, got {drop}")
        self._head = (model.head,)  # in a tuple, so that it is not registered twice
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
        """Return further terms of the loss."""
        return 0.0

    def _numbered(self, batch: Batch) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return features and rows by the number of the modality, as heads expect them."""
        numbers = {m: self.model.modalities.index(m) for m in batch.inputs}
        return (
            {i: cast(Tensor, batch.inputs[m]) for m, i in numbers.items()},
            {i: batch.rows[m] for m, i in numbers.items()},
        )


def distance(imagined: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Return the mean squared difference (a scalar) of features [B, d] where the mask [B, d] is true.

    The gradient does not flow into ``truth``.

    Example:
        >>> import torch
        >>> truth = torch.tensor([[1.0, 2.0]])
        >>> distance(torch.tensor([[1.0, 5.0]]), truth, torch.tensor([[False, True]]))
        tensor(9.)
    """
    square = (imagined.float() - truth.detach().float()).square()
    return (square * where).sum() / where.sum().clamp_min(1)
