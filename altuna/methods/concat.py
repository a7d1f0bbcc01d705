"""Joint training on concatenated features."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Concat(JointMethod):
    r"""Train all encoders jointly through one linear layer on their concatenated features.

    Concatenation is the usual form of joint training. The modality that is learnt fastest can leave the
    encoders of the other modalities under-trained. The features of a missing modality are zeros.

    .. math:: L = CE(W [h_1, \ldots, h_M] + b, y)
    """

    head = "concat"
    min_modalities = 1
