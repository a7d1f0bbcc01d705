"""MMCosine: joint training on a sum of cosines."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class MMCosine(JointMethod):
    r"""Train all encoders jointly on the sum of scaled cosine similarities of features and class weights.

    Without norms and biases, no modality can dominate by larger features or weights. Source: Xu, Feng,
    Zhang, Hu, ICASSP 2023, arXiv 2303.05338.

    .. math:: z = s \sum_m \frac{W_m h_m}{\|W_m\| \|h_m\|}, \quad L = CE(z, y)

    The norm of ``W_m`` is taken for each class. The scale s is 10. It is part of the head and is used for
    prediction too.

    Deviations: there can be any number of modalities. A missing modality adds nothing to the sum of the
    sample.
    """

    head = "cosine"
