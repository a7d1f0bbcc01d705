"""MMPareto: joint and unimodal gradients that do not work against each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


def pareto_gradient(joint: Tensor, unimodal: Tensor, gamma: float) -> Tensor:
    """Return an encoder's gradient [P] for the step, from the gradients [P] of its joint and unimodal loss.

    If they conflict (negative cosine), the weights, which sum to 1, are those of the shortest convex
    combination, which has the same positive inner product with both gradients. If its length is 0, the
    result is 0.

    Example:
        >>> joint, unimodal = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
        >>> mixed = pareto_gradient(joint, unimodal, gamma=1.0)
        >>> bool(mixed @ joint > 0), bool(mixed @ unimodal > 0)  # a step helps both, though they conflict
        (True, True)
    """
    difference = joint - unimodal
    shortest = -(unimodal @ difference) / (difference @ difference)
    weight = torch.where(joint @ unimodal >= 0, 0.5, shortest)
    mixed: Tensor = 2 * (weight * joint + (1 - weight) * unimodal)
    stretch: Tensor = (joint + unimodal).norm() / mixed.norm().clamp_min(1e-12)
    return gamma * stretch.clamp_min(1) * mixed


class MMPareto(JointMethod):
    r"""Train on joint and unimodal losses; if their gradients conflict, step in a direction that lowers both.

    In addition to the joint classifier, each modality has its own classifier. For encoder m, ``g`` is the
    gradient of the joint loss, and ``u`` is the gradient of the unimodal loss of m. MMPareto computes a
    weighted sum h of the two gradients, and replaces the gradient of encoder m by the second expression:

    .. math:: h = 2 (w_0 g + w_1 u), \qquad \gamma \max(1, \lVert g + u \rVert / \lVert h \rVert)\, h

    If the two gradients do not conflict (:math:`\cos(g, u) \ge 0`), both weights are 1/2. If the two
    gradients conflict, MMPareto chooses the weights with :math:`w_0 + w_1 = 1` for which the vector
    :math:`w_0 g + w_1 u` is shortest. A small step along this shortest vector lowers the joint loss and the
    unimodal loss. :math:`\gamma` is the option ``gamma``. The gradients of the classifiers are not changed.

    Source: Wei, Hu, ICML 2024, arXiv 2405.17730.

    Deviations: altuna joins the gradients of all weights of an encoder into one vector, and computes the
    lengths and the angle of such vectors. The authors' code treats each parameter tensor separately. A
    modality that is missing from the batch has no unimodal loss.

    The authors use SGD. AdamW and other optimizers that normalise the size of gradients cancel the factor
    gamma. To use gamma, set ``--optimizer sgd``.

    Args:
        model: A classifier with a joint head and unimodal classifiers.
        gamma: Factor :math:`\gamma` of the encoders' gradients. The authors use 1.5.
    """

    head = "multitask"

    def __init__(self, model: MultimodalClassifier, *, gamma: float = 1.5) -> None:
        super().__init__(model)
        if not gamma > 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = gamma

    def loss(self, turn: Turn, batch: Batch) -> dict[str, Tensor]:
        joint = super().loss(turn, batch)
        assert isinstance(joint, Tensor)
        own = {f"unimodal {m}": cross_entropy(z, batch.labels_of(m)) for m, z in turn.logits.items()}
        return {"joint": joint, **own}

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        for m in turn.modalities:
            parameters = [p for p in self._encoder_parameters(m) if p.grad is not None]
            if not parameters:  # a frozen encoder
                continue
            joint, unimodal = (
                torch.cat([turn.gradients[name].get(p, torch.zeros_like(p)).flatten() for p in parameters])
                for name in ("joint", f"unimodal {m}")
            )
            combined = pareto_gradient(joint, unimodal, self.gamma)
            parts = torch.split(combined, [p.numel() for p in parameters])
            for p, part in zip(parameters, parts, strict=True):
                p.grad = part.view_as(p)
