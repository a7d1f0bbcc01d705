"""Joint training on concatenated features."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.batch import Batch
from altuna.methods.base import Method, Turn


class Concat(Method):
    r"""Train all encoders at once through one linear layer on their concatenated features.

    The usual joint training, in which the modality that is learnt first lets the others stay lazy.
    A modality that a sample lacks enters as zero features.

    .. math:: L = CE(W [h_1, \ldots, h_M] + b, y)
    """

    head = "concat"

    def turns(self, batch: Batch) -> Iterable[Turn]:  # noqa: D102
        yield Turn(tuple(m for m in self.model.modalities if m in batch.inputs))

    def loss(self, turn: Turn, batch: Batch) -> Tensor:  # noqa: D102
        turn.features = {m: self.model.encode(m, batch.inputs[m]) for m in turn.modalities}
        logits = self.model.joint(turn.features, batch.rows, len(batch))
        return cross_entropy(logits, batch.labels)
