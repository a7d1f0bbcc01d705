"""MLA with a joint turn."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch, presence
from altuna.core.heads import SharedJointHead
from altuna.core.model import MultimodalClassifier
from altuna.core.projection import OrthogonalProjector
from altuna.methods.base import Method, Turn


class MLAJoint(Method):
    r"""Take MLA's turns, then a joint turn of all encoders with a small head on the concatenated features.

    For samples that have all modalities, the logits of the joint head enter the calibrated fusion beside
    the unimodal logits. The joint head can learn labels that depend on a combination of modalities, which
    no sum of unimodal logits can. Per batch, with MLA's projector P (see ``mla``):

    .. math:: L_m = CE(W h_m + b, y), \quad \nabla W \leftarrow \nabla W\, P
        \quad \text{for each } m, \text{ then} \qquad
        L = CE(V_2\, \mathrm{relu}(V_1 [h_1, \ldots, h_M] + v_1) + v_2, y)

    Source: an extension by altuna of MLA (Zhang, Yoon, Bansal, Yao, CVPR 2024, arXiv 2311.10707).

    Deviations from altuna's ``mla``: the joint turn uses the rows that have all modalities, and is skipped
    in batches without such rows. It changes neither the shared head nor the projector. Turns are in the
    given order, and the projector is never reset.

    Args:
        model: A classifier with the head ``shared_joint``.
        alpha: Regulariser of the projector, > 0.
        project: Whether the gradient of the shared head is projected.
    """

    head = "shared_joint"
    min_modalities = 2

    def __init__(self, model: MultimodalClassifier, *, alpha: float = 0.1, project: bool = True) -> None:
        super().__init__(model)
        if not isinstance(model.head, SharedJointHead):
            raise ValueError(f"mla_joint needs a head 'shared_joint', got {type(model.head).__name__}")
        self._head = (model.head,)  # in a tuple, so that it is not registered twice
        self.project = project
        self.projector = OrthogonalProjector(model.head.linear.in_features, alpha)

    def turns(self, batch: Batch) -> Iterable[Turn]:
        yield from super().turns(batch)
        if self._whole(batch).any():
            yield Turn(self.model.modalities, kind="joint")

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        if not turn.kind:
            return super().loss(turn, batch)
        self._forward(turn, batch)
        assert turn.joint is not None
        whole = self._whole(batch)
        return cross_entropy(turn.joint[whole], batch.labels[whole])

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        weight = self._head[0].linear.weight
        if not turn.kind and self.project:
            assert weight.grad is not None
            weight.grad = self.projector.project(weight.grad)

    def after_step(self, turn: Turn, batch: Batch) -> None:
        if not turn.kind and self.project:
            self.projector.update(turn.features[turn.name].detach())

    def _whole(self, batch: Batch) -> Tensor:
        """Return which samples [B] have all modalities."""
        return presence(batch.rows, self.model.modalities, len(batch)).all(0)
