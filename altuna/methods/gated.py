"""Joint training by gates."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Gated(JointMethod):
    r"""Train jointly with gates: each modality scales the features of all other modalities.

    Source: Kiela et al., AAAI 2018, arXiv 1802.02892.

    :math:`U_m` and :math:`V_m` are linear layers, :math:`\sigma` is the sigmoid function, and ``*``
    multiplies element by element. M is the number of modalities.

    Deviation: the paper has two modalities. In altuna, every modality scales the sum of the features of
    all other modalities.

    If a sample has only one modality, the gate has nothing to scale. Therefore the accuracy of one modality
    alone means little for the method ``gated``.

    .. math:: z = W \, \tfrac1M \sum_m \sigma(U_m h_m) * V_m \sum_{v \ne m} h_v + b, \qquad L = CE(z, y)
    """

    head = "gated"
