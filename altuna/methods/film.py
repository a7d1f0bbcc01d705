"""Joint training by feature-wise linear modulation."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class FiLM(JointMethod):
    r"""Train jointly with FiLM: each modality scales and shifts the features of all other modalities.

    FiLM means feature-wise linear modulation.

    .. math:: z = W \, \tfrac1M \sum_m (\gamma(h_m) * \sum_{v \ne m} h_v + \beta(h_m)) + b, \quad L = CE(z, y)

    :math:`\gamma` and :math:`\beta` are linear layers, with separate weights for each modality. ``*``
    multiplies element by element, and M is the number of modalities.

    Source: Perez et al., AAAI 2018, arXiv 1709.07871.

    Deviation: in the paper, one network scales and shifts the features of a second network. In altuna, every
    modality scales and shifts the sum of the features of all other modalities.
    """

    head = "film"
