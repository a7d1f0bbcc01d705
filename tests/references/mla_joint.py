"""MLA with a joint turn: linear encoders, plain gradient descent, in float64, gradients by hand."""

from __future__ import annotations

from references.joint_expert import JointExpert, descend, encode
from references.mla import MLA


class MLAJoint(MLA):
    """MLA and a joint expert whose gradient reaches the encoders; ``network`` is (V1, v1, V2, v2)."""

    def __init__(self, encoders, head, network, lr):
        super().__init__(encoders, head, lr)
        self.expert = JointExpert(network, lr)

    def joint_turn(self, inputs, labels):
        """``inputs``: modality, in the encoders' order, to [n, size] of the samples that have everything."""
        gradients = self.expert.step(encode(self.encoders, inputs), labels)
        self.encoders = descend(self.encoders, inputs, gradients, self.lr)
