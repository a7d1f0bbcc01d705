"""Balanced multimodal learning: overcoming the greedy nature of learning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.heads import ConcatHead
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn


class Greedy(JointMethod):
    r"""Measure how fast each modality is learnt; if the speeds differ, train the slowest modality alone.

    The method measures a conditional learning speed :math:`s_m` for each modality m. To compute the speed,
    the method sums the relative size of the gradients of m over all steps t, and divides this sum by the mean
    sum of the other modalities:

    .. math:: s_m = \log_{10} \frac{\sum_t \mu_m}{\text{mean}_{v \ne m} \sum_t \mu_v}, \qquad
        \mu_m = \frac{\|g_m\|^2}{\|\theta_m\|^2}

    ``theta_m`` are the weights of modality m: the weights of encoder m, and the columns of the head that
    multiply ``h_m``. ``g_m`` are the gradients of these weights.

    A regular step has the loss ``CE(z, y)``. If ``max s - min s > epsilon`` after a regular step, the method
    takes ``window`` re-balancing steps on the slowest modality m. In a re-balancing step, running means
    :math:`\bar h_v` replace the features of the other modalities v. The weights of the other modalities get
    no gradient, so only modality m improves the joint logits:

    .. math:: L = CE(z(h_m, \bar h_{v \ne m}), y)

    Source: Wu, Jastrzebski, Cho, Geras, ICML 2022, arXiv 2202.05306.

    Deviations:

    - altuna combines modalities only in a late joint head, and replaces features by running means. The paper
      combines modalities inside the encoders, by MMTM layers, and replaces the gates of these layers by
      running means.
    - altuna compares the learning speeds of the modalities with each other. The paper compares the learning
      speed of MMTM layers with the learning speed of the encoder that contains them.
    - altuna's speeds include the re-balancing steps, in which only one modality is trained. The speeds in the
      authors' code do not include these steps.
    - With more than two modalities, altuna compares each modality with the mean of the other modalities.
    - In altuna's re-balancing steps, the columns of the head that belong to other modalities get no gradient.
      However, momentum and weight decay still change these columns.
    - altuna takes a regular step if no row of the batch has modality m.

    Args:
        model: A classifier with the ``concat`` head.
        epsilon: The method re-balances if the difference between the highest and the lowest speed is above
            this value.
        window: Number of re-balancing steps in a row. After these steps the speeds are compared again.
        start: Number of epochs before the first re-balancing.
    """

    moved: Tensor
    slowest: Tensor
    left: Tensor
    met: Tensor

    def __init__(
        self, model: MultimodalClassifier, *, epsilon: float = 0.01, window: int = 5, start: int = 1
    ) -> None:
        super().__init__(model)
        for name, value in {"epsilon": epsilon, "window": window, "start": start}.items():
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if not isinstance(model.head, ConcatHead):
            raise ValueError(f"greedy needs a concat head, got {type(model.head).__name__}")
        self._head = (model.head,)  # in a tuple, so that it is not registered twice
        self.epsilon, self.window, self.start = epsilon, window, start
        self.register_buffer("moved", torch.zeros(len(model.modalities)))
        self.register_buffer("slowest", torch.tensor(0))
        self.register_buffer("left", torch.tensor(0))
        self.register_buffer("met", torch.zeros(len(model.modalities)))
        for i, size in enumerate(model.head.sizes):
            self.register_buffer(f"mean{i}", torch.zeros(size))

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        self._forward(turn, batch)
        assert turn.joint is not None
        slowest = self.model.modalities[int(self.slowest)]
        self._balancing = bool(self.left > 0) and slowest in batch.inputs
        for m in turn.modalities:
            i = self.model.modalities.index(m)
            self.met[i] += 1
            self.get_buffer(f"mean{i}").lerp_(turn.features[m].detach().mean(0).float(), 1 / self.met[i])
        if not self._balancing:
            return cross_entropy(turn.joint, batch.labels)
        return cross_entropy(self._alone(slowest, turn.features[slowest]), batch.labels_of(slowest))

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        self.moved += torch.stack([self._movement(i) for i in range(len(self.moved))])
        speed = speeds(self.moved)
        difference = speed.max() - speed.min()
        if turn.wants_log:
            turn.log["speed_difference"] = difference
        if self._balancing:
            self.left -= 1
        elif self.clock.epoch >= self.start and difference > self.epsilon:
            self.slowest.copy_(speed.argmin())
            self.left.fill_(self.window)

    def _alone(self, modality: str, features: Tensor) -> Tensor:
        """Return joint logits [n, C] of one modality, with the means of the others as constants."""
        rows = torch.arange(len(features), device=features.device)
        mine = self.model.joint({modality: features}, {modality: rows}, len(rows))
        with torch.no_grad():
            means = [self.get_buffer(f"mean{i}").to(features) for i in range(len(self.moved))]
            together = {m: h.expand(len(rows), -1) for m, h in zip(self.model.modalities, means, strict=True)}
            together[modality] = features
            context = self.model.joint(together, dict.fromkeys(together, rows), len(rows)) - mine
        return mine + context

    def _movement(self, i: int) -> Tensor:
        """Return the squared norm of the gradient of what belongs to a modality, over that of its weights."""
        own = self._encoder_parameters(self.model.modalities[i])
        head, sizes = self._head[0].linear.weight, list(self._head[0].sizes)
        assert head.grad is not None
        gradients = [p.grad for p in own if p.grad is not None] + [torch.split(head.grad, sizes, 1)[i]]
        return _squared(gradients) / _squared([*own, torch.split(head, sizes, 1)[i]])


def _squared(tensors: list[Tensor]) -> Tensor:
    return torch.stack([t.detach().square().sum() for t in tensors]).sum()


def speeds(moved: Tensor) -> Tensor:
    r"""Return the conditional learning speeds [M], from the sums over steps of :math:`\mu_m` [M].

    Example:
        >>> speeds(torch.tensor([1.0, 10.0]))
        tensor([-1.,  1.])
    """
    moved = moved.clamp_min(1e-30)
    others = (1 - torch.eye(len(moved)).to(moved)) @ moved / (len(moved) - 1)
    return torch.log10(moved / others)
