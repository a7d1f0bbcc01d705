"""Joint training by gates."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class Gated(JointMethod):
    r"""Train jointly with gates: each modality scales the features of all other modalities.

    .. math:: z = W \, \tfrac1M \sum_m \sigma(U_m h_m) * V_m \sum_{v \ne m} h_v + b, \qquad L = CE(z, y)

    :math:`U_m` and :math:`V_m` are linear layers, and :math:`\sigma` is the sigmoid function. ``*``
    multiplies element by element, and M is the number of modalities.

    Source: Kiela et al., AAAI 2018, arXiv 1802.02892.

    Deviation: the paper has two modalities. In altuna, every modality scales the sum of the features of all
    other modalities.

    If a sample has only one modality, the sum of the features of all other modalities is zero. The gate then
    scales only the bias of :math:`V_m`. Therefore the accuracy of ``gated`` with one modality alone says
    little about the features of this modality.
    """

    head = "gated"
