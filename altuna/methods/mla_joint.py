"""MLA with a joint turn."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.mla import MLA
from altuna.methods.parts.joint_turn import JointTurn


class MLAJoint(JointTurn, MLA):
    r"""Train as ``mla``, with one more turn per batch that trains all encoders and a joint expert.

    The joint expert is a small network on the concatenated features of all modalities. For samples that have
    all modalities, the fusion combines the logits of the joint expert with the unimodal logits. The joint
    expert can learn labels that depend on a combination of modalities. A sum of unimodal logits cannot
    represent a label that depends on a combination of modalities. In each batch, the method takes MLA's turns
    and then one joint turn:

    .. math:: L_m = CE(W h_m + b, y), \quad \nabla W \leftarrow \nabla W\, P
        \quad \text{for each } m, \text{ then} \qquad
        L = CE(V_2\, \mathrm{relu}(V_1 [h_1, \ldots, h_M] + v_1) + v_2, y)

    P is the projection matrix of ``mla``. W and b are the weights of the shared head. V and v are the
    weights of the joint expert.

    Source: altuna's own extension of MLA (Zhang, Yoon, Bansal, Yao, CVPR 2024, arXiv 2311.10707).

    The method ``mla_joint`` differs from altuna's ``mla`` with ``joint_expert = "turn"`` in two points: the
    turns are in the order of the modalities in the data, and P is never reset.

    The joint turn uses the rows that have all modalities, and a batch without such rows has no joint turn.
    The joint turn changes neither the shared head nor P.

    Args:
        model: A classifier with a shared head and a joint expert.
        alpha: Regulariser of the projector, a number above 0.
        project: Whether the gradient of the shared head is projected.
    """

    expert = "turn"

    def __init__(self, model: MultimodalClassifier, *, alpha: float = 0.1, project: bool = True) -> None:
        project_what = "gradient" if project else "off"
        super().__init__(model, order="given", alpha=alpha, reset="never", project=project_what)
