"""Joint training on the sum of unimodal logits."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Sum(JointMethod):
    r"""Train all encoders jointly, with joint logits that are the sum of the unimodal logits.

    Each modality m has its own linear head, with weights :math:`W_m` and biases :math:`b_m`:

    .. math:: L = CE(\sum_m (W_m h_m + b_m), y)
    """

    head = "sum"
