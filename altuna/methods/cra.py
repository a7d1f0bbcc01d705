"""CRA: a cascade of residual autoencoders completes what is absent."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining


class CRA(Imagining):
    r"""Reconstruct features of absent modalities from the present ones, and classify all features.

    A cascade of three residual autoencoders takes the concatenated features, with zeros for absent
    modalities. Each autoencoder adds what the earlier autoencoders have not reconstructed:

    .. math::
        x_{k+1} = x_k + D_k(E_k(x_k)), \qquad
        L = CE(W [\hat h_1, \ldots, \hat h_M] + b, y)
        + \lambda \, \mathrm{mean}_{i, m \in H_i} (\hat h_{i,m} - sg(h_{i,m}))^2

    :math:`\hat h_m = h_m` where modality m is visible; otherwise :math:`\hat h_m` is the part of
    :math:`x_4` that belongs to modality m. :math:`H_i` are the cells of sample i that are hidden in this
    step: each cell is hidden with probability ``drop``, but one cell of the sample always stays visible.
    sg stops the gradient. At test time the features of all absent modalities are reconstructed, for any
    subset of any number of modalities.

    Source: Tran, Liu, Zhou, Jin, CVPR 2017 (no arXiv version); code: github.com/tranluan/CRA. The number
    of autoencoders and the default of ``drop`` are taken from the authors.

    Deviations from the authors' code: the authors' code only completes images. In altuna, encoders and
    classifier are trained together with the autoencoders, and the target features are constants. altuna's
    autoencoders are fully connected, as in MMIN, and all of them are trained from the start. The authors'
    code adds one autoencoder after another and then fine-tunes all of them. altuna computes the distance
    over hidden cells; the authors' code computes it over all cells. altuna does not change the features
    of visible cells.

    Args:
        model: A classifier with a head ``cra``.
        weight: Weight of the distance between reconstructed and hidden features, :math:`\lambda`.
        drop: Probability of hiding a cell.
    """

    head = "cra"

    def __init__(self, model: MultimodalClassifier, *, weight: float = 1.0, drop: float = 0.3) -> None:
        super().__init__(model, weight=weight, drop=drop)
