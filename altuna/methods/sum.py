"""Joint training on the sum of unimodal logits."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Sum(JointMethod):
    r"""Train all encoders jointly through the sum of their linear heads.

    .. math:: L = CE(\sum_m (W_m h_m + b_m), y)
    """

    head = "sum"
