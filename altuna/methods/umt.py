"""UMT: unimodal teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import Turn
from altuna.methods.parts.teachers import Taught


class UMT(Taught):
    r"""Train jointly, and keep each encoder's features close to the features of its frozen unimodal teacher.

    A teacher is an encoder of one modality that was trained alone and is then frozen. From its teacher, an
    encoder learns features that it would not learn in joint training with a stronger modality:

    .. math:: L = CE(z, y) + \lambda \sum_m \frac{1}{n_m d_m} \lVert h_m - h_m^{teacher} \rVert^2

    ``h_m`` are the features of the rows that have modality m. ``n_m`` is the number of rows that have
    modality m, and ``d_m`` is the number of features.

    Source: Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao, ICML 2023, arXiv 2305.01233.

    Deviations: altuna trains the teachers in the first epochs of the same training. Therefore the teachers
    and the joint model together have the budget of one training. The teachers and the joint model start
    from the same initial weights. The method needs at least two epochs.

    Args:
        model: A classifier with a joint head.
        weight: Weight :math:`\lambda` of the distance to the teachers' features.
        teachers: Fraction of the epochs in which the teachers are trained, between 0 and 1.
    """

    def __init__(self, model: MultimodalClassifier, *, weight: float = 50.0, teachers: float = 0.3) -> None:
        super().__init__(model, teachers=teachers)
        if not weight >= 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        self.weight = weight

    def _distillation(self, turn: Turn, batch: Batch) -> Tensor:
        distances = [
            mse_loss(turn.features[m], self.teachers.answers(m, batch.inputs[m])[0]) for m in turn.modalities
        ]
        return self.weight * torch.stack(distances).sum()
