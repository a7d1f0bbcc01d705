"""MLA with a joint turn."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.mla import MLA
from altuna.methods.parts.joint_turn import JointTurn


class MLAJoint(JointTurn, MLA):
    r"""Train as MLA, and after each batch's turns train all encoders together, with a joint expert.

    For samples that have all modalities, the logits of this joint expert enter the fusion beside the unimodal
    logits. The joint expert can learn labels that depend on a combination of modalities. No sum of
    unimodal logits can represent such labels. Per batch, with MLA's projector P (see ``mla``):

    .. math:: L_m = CE(W h_m + b, y), \quad \nabla W \leftarrow \nabla W\, P
        \quad \text{for each } m, \text{ then} \qquad
        L = CE(V_2\, \mathrm{relu}(V_1 [h_1, \ldots, h_M] + v_1) + v_2, y)

    Source: an extension by altuna of MLA (Zhang, Yoon, Bansal, Yao, CVPR 2024, arXiv 2311.10707).

    Deviations from altuna's ``mla`` with ``joint_expert = "turn"``: in ``mla_joint`` the turns are in the
    given order, and the projector is never reset. In both methods the joint turn uses the rows that have
    all modalities, is skipped in batches without such rows, and changes neither the shared head nor the
    projector.

    Args:
        model: A classifier with a shared head and a joint expert.
        alpha: Regulariser of the projector, > 0.
        project: Whether the gradient of the shared head is projected.
    """

    expert = "turn"

    def __init__(self, model: MultimodalClassifier, *, alpha: float = 0.1, project: bool = True) -> None:
        project_what = "gradient" if project else "off"
        super().__init__(model, order="given", alpha=alpha, reset="never", project=project_what)
