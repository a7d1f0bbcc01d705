"""CRA: a cascade of residual autoencoders completes what is absent."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining


class CRA(Imagining):
    r"""Reconstruct the features of absent modalities from the present ones, and classify all of them jointly.

    A cascade of three residual autoencoders takes the concatenated features, with zeros for absent
    modalities. Each autoencoder adds what the previous ones have not reconstructed:

    .. math::
        x_{k+1} = x_k + D_k(E_k(x_k)), \qquad
        L = CE(W [\hat h_1, \ldots, \hat h_M] + b, y)
        + \lambda \, \mathrm{mean}_{i, m \in H_i} (\hat h_{i,m} - sg(h_{i,m}))^2

    :math:`\hat h_m = h_m` where modality m is visible, and its part of :math:`x_4` otherwise. :math:`H_i`
    are the cells of sample i that are hidden in this step: each cell is hidden with probability ``drop``,
    but one always stays visible. sg stops the gradient. At test time the features of all absent modalities
    are reconstructed, for any subset of any number of modalities.

    Source: Tran, Liu, Zhou, Jin, CVPR 2017 (no arXiv version); code: github.com/tranluan/CRA. The number of
    autoencoders and the rate of hidden cells are those of the authors.

    Deviations from the authors' code: their code only completes images. In altuna, encoders and classifier
    are trained at the same time, with the target features as constants. The autoencoders are fully connected,
    as in MMIN, and trained together from the start. In their code, autoencoders are added one by one and then
    fine-tuned. The distance is computed over hidden cells (theirs: over all cells), and the features of
    visible cells are kept as they are.

    Args:
        model: A classifier with a head ``cra``.
        weight: Weight of the distance between reconstructed and hidden features, :math:`\lambda`.
        drop: Probability of hiding a cell.
    """

    head = "cra"

    def __init__(self, model: MultimodalClassifier, *, weight: float = 1.0, drop: float = 0.3) -> None:
        super().__init__(model, weight=weight, drop=drop)
