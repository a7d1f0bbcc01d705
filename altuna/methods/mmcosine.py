"""MMCosine: joint training on a sum of cosines."""

from __future__ import annotations

from altuna.methods.base import JointMethod


class MMCosine(JointMethod):
    r"""Train jointly; the logits are sums of cosine similarities between features and class weights.

    A cosine does not depend on the norms of features and weights, and the head has no bias. Therefore no
    modality can dominate by larger features or weights.

    Source: Xu, Feng, Zhang, Hu, ICASSP 2023, arXiv 2303.05338.

    .. math:: z = s \sum_m \frac{W_m h_m}{\|W_m\| \|h_m\|}, \quad L = CE(z, y)

    ``W_m`` has one row per class, and the norm is computed for each row. The scale s is 10, in training and
    in prediction.

    Deviations: altuna allows any number of modalities. A modality that a sample lacks adds nothing to the
    logits of this sample.
    """

    head = "cosine"
