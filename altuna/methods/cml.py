"""CML: confidence must not rise when a modality is removed."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from altuna.core.batch import Batch, presence
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


class CML(JointMethod):
    r"""Train jointly, and penalise predictions that get more confident when modalities are removed.

    Source: Ma et al., ICML 2023, arXiv 2306.01265.

    .. math::
        L = CE(z, y) + \lambda \tfrac1B \sum_i \sum_{S \subset A_i}
        \max(0, \max_k p_k(x_i^S) - \max_k p_k(x_i^{A_i}))

    - ``A_i`` is the set of modalities that sample i has.
    - S runs over the non-empty proper subsets of ``A_i``.
    - :math:`p_k(x_i^S)` is the probability of class k in the softmax of the joint logits from the features of
      the modalities in S only.
    - B is the batch size.

    For a sample with one modality, the penalty is 0.

    Deviations from the authors' code:

    - altuna compares every subset S with the full set ``A_i``. The authors' code removes one modality after
      another in random order.
    - altuna penalises every increase of confidence. The authors' code skips some increases, depending on
      whether the two compared predictions are right.
    - altuna's loss does not contain the cross-entropy of the subsets. The authors' loss contains it.
    - altuna averages the penalty over the batch. The authors' code sums the penalty.

    Args:
        model: A classifier with a joint head.
        calibration: Weight :math:`\lambda` of the penalty.
    """

    def __init__(self, model: MultimodalClassifier, *, calibration: float = 1.0) -> None:
        super().__init__(model)
        if not calibration >= 0:
            raise ValueError(f"calibration must not be negative, got {calibration}")
        self.calibration = calibration

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        assert turn.joint is not None
        whole = confidence(turn.joint)
        present = dict(zip(turn.modalities, presence(batch.rows, turn.modalities, len(batch)), strict=True))
        count = torch.stack([*present.values()]).sum(0)
        for size in range(1, len(present)):
            for subset in combinations(present, size):
                has = torch.stack([present[m] for m in subset]).all(0) & (count > size)
                if has.any():
                    part = confidence(self._joint_of(turn, batch, subset, has))
                    loss = loss + self.calibration * excess(part, whole[has]).sum() / len(batch)
        return loss

    def _joint_of(self, turn: Turn, batch: Batch, subset: tuple[str, ...], has: Tensor) -> Tensor:
        """Return the joint logits of a subset of modalities for the samples that ``has`` [B] marks."""
        features = {m: turn.features[m][has[batch.rows[m]]] for m in subset}
        number = int(has.sum())
        rows = {m: torch.arange(number, device=has.device) for m in subset}
        return self.model.joint(features, rows, number)


def confidence(logits: Tensor) -> Tensor:
    """Return the highest class probability [n] of logits [n, C].

    Example:
        >>> confidence(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
        tensor([0.5000, 0.9526])
    """
    return logits.softmax(1).amax(1)


def excess(part: Tensor, whole: Tensor) -> Tensor:
    """Return how much the confidences of a subset exceed those of the full set, or 0 (same shape).

    Example:
        >>> excess(torch.tensor([0.9, 0.4]), torch.tensor([0.6, 0.7]))
        tensor([0.3000, 0.0000])
    """
    return torch.relu(part - whole)
