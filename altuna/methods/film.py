"""Joint training by feature-wise linear modulation."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class FiLM(JointMethod):
    r"""Train all encoders jointly with feature-wise linear modulation (FiLM) of each other's features.

    Source: Perez et al., AAAI 2018, arXiv 1709.07871. Deviation: in the paper one network modulates
    another. Here every modality modulates the sum of the others, for any number of modalities.

    .. math:: z = W \, \tfrac1M \sum_m (\gamma(h_m) * \sum_{v \ne m} h_v + \beta(h_m)) + b, \quad L = CE(z, y)
    """

    head = "film"
