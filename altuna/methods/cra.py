"""CRA: a cascade of residual autoencoders completes what is absent."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining


class CRA(Imagining):
    r"""Complete the features of absent modalities from those present, and classify all of them jointly.

    A cascade of three residual autoencoders takes the concatenated features, zeros where absent, and each
    adds to them what those before it left out:

    .. math::
        x_{k+1} = x_k + D_k(E_k(x_k)), \qquad
        L = CE(W [\hat h_1, \ldots, \hat h_M] + b, y)
        + \lambda \, \mathrm{mean}_{i, m \in H_i} (\hat h_{i,m} - sg(h_{i,m}))^2

    with :math:`\hat h_m = h_m` where modality m is seen, else its part of :math:`x_4`. :math:`H_i` are cells
    that sample i has and that are hidden in this step: each is with probability ``drop``, one stays. In use
    whatever is absent is completed; any subset of any number of modalities may be.

    Source: Tran, Liu, Zhou, Jin, CVPR 2017 (no arXiv version); code: github.com/tranluan/CRA, whose number of
    autoencoders and rate of hidden cells these are.

    Deviations from the authors' code: it completes images, and nothing else; here encoders and classifier are
    trained along, and the features to find held constant. Fully connected autoencoders, as in MMIN, trained
    together from the start, where theirs are added one by one and then tuned; the distance is over what is
    hidden, there over all that exists, and what is seen stays as it is.

    Args:
        model: A classifier with a head ``cra``.
        weight: Of the distance between completed and hidden features, :math:`\lambda`.
        drop: How likely a cell is hidden.
    """

    head = "cra"

    def __init__(self, model: MultimodalClassifier, *, weight: float = 1.0, drop: float = 0.3) -> None:
        super().__init__(model, weight=weight, drop=drop)
