"""MMCosine: joint training on a sum of cosines."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class MMCosine(JointMethod):
    r"""Train all encoders at once on the sum of scaled cosines between features and class weights.

    Without norms and biases no modality can outweigh another by larger features or weights.
    Source: Xu, Feng, Zhang, Hu, ICASSP 2023, arXiv 2303.05338.

    .. math:: z = s \sum_m \frac{W_m h_m}{\|W_m\| \|h_m\|}, \quad L = CE(z, y)

    with the norm of ``W_m`` taken class by class. The scale s belongs to the head, which predicts with it
    too: 10.

    Deviations: any number of modalities; an absent one adds nothing to its sample's sum.
    """

    head = "cosine"
