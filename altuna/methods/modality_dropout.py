"""Modality dropout: joint training on random subsets of what each sample has."""

from __future__ import annotations

from torch import Tensor

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


class ModalityDropout(JointMethod):
    r"""Train jointly, and remove modalities from samples at random.

    .. math:: L = \tfrac1B \sum_i CE(z(S_i), y_i)

    :math:`S_i` are the modalities of sample i that remain, and B is the batch size. The method removes each
    modality of a sample with probability p. If all modalities of a sample would be removed, one of them,
    chosen at random, remains. Removed cells are not encoded. Because modalities are removed in training, the
    model does not depend on one modality alone.

    Source: ModDrop, Neverova, Wolf, Taylor, Nebout, TPAMI 2016, arXiv 1501.00102.

    Deviations:

    - altuna trains all weights together from the start. The paper first trains each modality alone.
    - In altuna, the probability p is the same for all modalities.
    - In altuna, no sample loses all its modalities.

    Args:
        model: A classifier with a joint head.
        p: Probability of removing a modality of a sample.
    """

    def __init__(self, model: MultimodalClassifier, *, p: float = 0.5) -> None:
        super().__init__(model)
        if not 0 <= p <= 1:
            raise ValueError(f"p must be between 0 and 1, got {p}")
        self.p = p

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        left = batch.drop_cells(self.p)
        turn.modalities = tuple(m for m in turn.modalities if m in left.inputs)
        loss = super().loss(turn, left)
        assert isinstance(loss, Tensor)
        return loss
