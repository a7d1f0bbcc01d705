"""Joint training by gates."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Gated(JointMethod):
    r"""Train all encoders at once through gates by which each modality lets the others pass.

    Source: Kiela et al., AAAI 2018, arXiv 1802.02892. Deviation: theirs is for two modalities; here every
    modality gates the sum of the others. What a modality says alone varies by its gate only, for there is
    nothing to let pass: its own accuracy means little here.

    .. math:: z = W \, \tfrac1M \sum_m \sigma(U_m h_m) * V_m \sum_{v \ne m} h_v + b, \qquad L = CE(z, y)
    """

    head = "gated"
