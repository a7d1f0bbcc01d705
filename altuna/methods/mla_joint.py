"""MLA with a joint turn."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.mla import MLA
from altuna.methods.parts.joint_turn import JointTurn


class MLAJoint(JointTurn, MLA):
    r"""Train as ``mla``, with one more turn per batch that trains all encoders and a joint expert.

    The joint expert is a small network on the concatenated features of all modalities. Unlike a sum of
    unimodal logits, the joint expert can learn labels that depend on a combination of modalities. For samples
    that have all modalities, the fusion rule combines the logits of the joint expert with the unimodal
    logits. Each batch has the turns of ``mla``, with the losses :math:`L_m`, and then one joint turn, with
    the loss L:

    .. math:: L_m = CE(W h_m + b, y), \quad \nabla W \leftarrow \nabla W\, P
        \quad \text{for each } m, \text{ then} \qquad
        L = CE(V_2\, \mathrm{relu}(V_1 [h_1, \ldots, h_M] + v_1) + v_2, y)

    W and b are the weights and biases of the shared head, and P is the projection matrix of ``mla``.
    :math:`V_1`, :math:`V_2`, :math:`v_1` and :math:`v_2` are the weights and biases of the joint expert. The
    square brackets mean concatenation.

    Source: altuna's own extension of MLA (Zhang, Yoon, Bansal, Yao, CVPR 2024, arXiv 2311.10707).

    ``--method mla_joint`` differs from ``--method mla --joint-expert turn`` in two points. In ``mla_joint``,
    the turns are in the order of the modalities in the data, and P is never reset.

    The joint turn uses only the rows that have all modalities. If no row of a batch has all modalities, the
    batch has no joint turn. The joint turn changes neither the shared head nor P.

    Args:
        model: A classifier with a shared head and a joint expert.
        alpha: Regulariser of the update of P, a number above 0.
        project: Whether the gradient of the shared head is projected.
    """

    expert = "turn"

    def __init__(self, model: MultimodalClassifier, *, alpha: float = 0.1, project: bool = True) -> None:
        project_what = "gradient" if project else "off"
        super().__init__(model, order="given", alpha=alpha, reset="never", project=project_what)
