"""Joint training on concatenated features."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Concat(JointMethod):
    r"""Train all encoders at once through one linear layer on their concatenated features.

    The usual joint training, in which the modality that is learnt first lets the others stay lazy.
    A modality that a sample lacks enters as zero features.

    .. math:: L = CE(W [h_1, \ldots, h_M] + b, y)
    """

    head = "concat"
    min_modalities = 1
