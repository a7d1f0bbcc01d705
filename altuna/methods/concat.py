"""Joint training on concatenated features."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Concat(JointMethod):
    r"""Train all encoders jointly through one linear layer on their concatenated features.

    Concatenation is the usual form of joint training. If one modality is learnt much faster than the other
    modalities, the encoders of the other modalities can stay under-trained. In the loss, W and b are the
    weights and the biases of the linear layer, and the square brackets mean concatenation:

    .. math:: L = CE(W [h_1, \ldots, h_M] + b, y)
    """

    head = "concat"
    min_modalities = 1
