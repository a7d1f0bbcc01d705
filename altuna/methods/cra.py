"""CRA: a cascade of residual autoencoders completes missing features."""

from __future__ import annotations

from altuna.core.model import MultimodalClassifier
from altuna.methods.parts.imagination import Imagining


class CRA(Imagining):
    r"""Reconstruct features of missing modalities from available modalities, and classify all features.

    The input :math:`x_1` of the method is the concatenation of all features, with zeros for missing
    modalities. A cascade of three residual autoencoders reconstructs the missing features. Autoencoder k has
    an encoder :math:`E_k` and a decoder :math:`D_k`, and adds its output to its input:

    .. math::
        x_{k+1} = x_k + D_k(E_k(x_k)), \qquad
        L = CE(W [\hat h_1, \ldots, \hat h_M] + b, y)
        + \lambda \, \mathrm{mean}_{i, m \in H_i} (\hat h_{i,m} - sg(h_{i,m}))^2

    During training, some cells are hidden at random. A cell is hidden with probability ``drop``, but one cell
    of each sample always stays visible. The other symbols are:

    - :math:`H_i` is the set of hidden modalities of sample i.
    - :math:`\hat h_m` are the completed features: :math:`h_m` if modality m is visible, and otherwise the
      part of :math:`x_4` that belongs to m.
    - sg means that no gradient is computed (stop-gradient).

    At test time, CRA reconstructs the features of all missing modalities. Any subset of the modalities can be
    missing.

    Source: Tran, Liu, Zhou, Jin, CVPR 2017 (no arXiv version); code: github.com/tranluan/CRA. The number of
    autoencoders and the default of ``drop`` are the authors' values.

    Deviations from the authors' code:

    - altuna completes features of any modality. The authors' code completes images.
    - altuna trains encoders, autoencoders and classifier together. The target features are constants.
    - altuna's autoencoders consist of fully connected layers, as in MMIN.
    - altuna trains all autoencoders from the start. The authors' code adds one autoencoder after another, and
      then fine-tunes all of them.
    - altuna computes the distance over hidden cells only. The authors' code computes the distance over all
      cells.
    - altuna does not change the features of visible cells.

    Args:
        model: A classifier with a head ``cra``.
        weight: Weight :math:`\lambda` of the distance between reconstructed and hidden features.
        drop: Probability of hiding a cell.
    """

    head = "cra"

    def __init__(self, model: MultimodalClassifier, *, weight: float = 1.0, drop: float = 0.3) -> None:
        super().__init__(model, weight=weight, drop=drop)
