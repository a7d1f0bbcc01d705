"""Fitted estimators as modules of plain tensors: an ensemble of decision trees, and logistic regression.

They are fitted by scikit-learn (``altuna.training.estimators``), but need none of it to predict: they are
saved with the weights of a model, move between devices, and are exported with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

MAX_VALUE = 1e37  # of a cell; larger ones are clamped, so that differences of float32 numbers are finite
MAX_DEPTH = 64  # of a tree
LEAF = torch.finfo(torch.float32).min  # threshold of a leaf, below every cell


class Estimator(nn.Module):
    r"""Base of the estimators, from vectors [n, d] to log-probabilities [n, C].

    A missing number (NaN) becomes ``mean`` [d], that of the training rows. Probabilities are smoothed with
    the class prior, as if one more training row had been drawn from it: of N ``rows``,
    :math:`(N p + \pi) / (N + 1)`. So none is 0, not even that of a class which no training row has.

    Args:
        inputs: d.
        classes: C.

    Example:
        >>> model = Logistic(inputs=2, classes=4)
        >>> model(torch.zeros(1, 2)).exp().tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    mean: Tensor
    prior: Tensor
    rows: Tensor

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.inputs, self.classes = inputs, classes
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("prior", torch.full((classes,), 1 / classes))
        self.register_buffer("rows", torch.ones(()))

    def shape(self) -> dict[str, int]:
        """Return the arguments, besides ``classes``, that build an estimator of the same shape."""
        return {"inputs": self.inputs}

    def forward(self, vectors: Tensor) -> Tensor:
        """Return log-probabilities [n, C] of vectors [n, d]."""
        p = self.probabilities(self.complete(vectors))
        return ((self.rows * p + self.prior) / (self.rows + 1)).log()

    def complete(self, vectors: Tensor) -> Tensor:
        """Return vectors [n, d] without missing or extreme numbers."""
        known = torch.where(vectors.isnan(), self.mean, vectors)
        return known.to(self.mean.dtype).clamp(-MAX_VALUE, MAX_VALUE)

    def probabilities(self, known: Tensor) -> Tensor:
        """Return probabilities [n, C] from complete vectors [n, d]."""
        raise NotImplementedError

    def mistake(self) -> str:
        """Return what is wrong with values that were loaded from a file; empty if nothing is."""
        if not (self.prior > 0).all():
            return "prior must be more than 0"
        return "" if (self.rows >= 1).all() else "rows must be at least 1"


class Forest(Estimator):
    """An ensemble of decision trees: the mean of the probabilities in the leaves that a vector falls into.

    The N nodes of all trees stand in one list. A vector x at the inner node i goes to node i + 1 if
    ``x[feature[i]] <= threshold[i]``, else to ``right[i]``. A leaf has itself as ``right``, and a threshold
    below every number, so that all vectors reach their leaves in ``depth`` equal rounds, without a branch.

    Args:
        inputs: d.
        classes: C.
        trees: T.
        nodes: N.
        depth: Number of inner nodes on the longest way to a leaf.

    Raises:
        ValueError: The trees would be deeper than ``MAX_DEPTH``.

    Example:
        >>> stump = Forest(inputs=1, classes=2, trees=1, nodes=3, depth=1)
        >>> stump.threshold[0], stump.right[0] = 0.5, 2  # node 0; 1 and 2 are leaves
        >>> stump.value[1:] = torch.eye(2)
        >>> stump.probabilities(torch.tensor([[0.5], [0.6]])).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, inputs: int, classes: int, *, trees: int, nodes: int, depth: int) -> None:
        super().__init__(inputs, classes)
        if depth > MAX_DEPTH:
            raise ValueError(f"a tree may be {MAX_DEPTH} deep at most, got {depth}")
        self.depth = depth
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.full((nodes,), LEAF))
        self.register_buffer("right", torch.arange(nodes, dtype=torch.int32))
        self.register_buffer("value", torch.full((nodes, classes), 1 / classes))

    def shape(self) -> dict[str, int]:
        sizes = {"trees": len(self.roots), "nodes": len(self.feature), "depth": self.depth}
        return super().shape() | sizes

    def probabilities(self, known: Tensor) -> Tensor:
        rows, trees = known.shape[0], self.roots.shape[0]
        node, cells = self.roots.repeat(rows), known.flatten()
        start = torch.arange(rows, device=known.device) * self.inputs
        first = start.unsqueeze(1).expand(rows, trees).flatten()  # the first cell of each node's vector
        # By index_select, which takes a third of the time of indexing by brackets.
        for _ in range(self.depth):
            cell = cells.index_select(0, first + self.feature.index_select(0, node))
            above = cell > self.threshold.index_select(0, node)
            node = torch.where(above, self.right.index_select(0, node), node + 1)
        # Not by value[node].mean(1), which needs T times the memory.
        leaves = node.view(rows, trees).long()  # int32 is not supported by ONNX here
        return nn.functional.embedding_bag(leaves, self.value, mode="mean")

    def mistake(self) -> str:
        nodes = len(self.feature)
        index = torch.arange(nodes, device=self.right.device)
        leaf = (self.right == index) & (self.threshold == LEAF)
        inner = (self.right > index + 1) & (self.right < nodes)
        if not (leaf | inner).all() or not ((self.roots >= 0) & (self.roots < nodes)).all():
            return "right and roots must be numbers of nodes, those of a tree in order"
        if not ((self.feature >= 0) & (self.feature < self.inputs)).all():
            return f"feature must be from 0 to {self.inputs - 1}"
        if not (self.value >= 0).all() or not (self.value <= 1).all():
            return "value must be probabilities"
        reached = self.roots.long()
        for _ in range(self.depth):
            branching = reached[~leaf[reached]]
            reached = torch.unique(torch.cat([branching + 1, self.right[branching].long()]))
        return super().mistake() if leaf[reached].all() else f"has trees deeper than {self.depth}"


class Logistic(Estimator):
    """Multinomial logistic regression on standardised numbers: ``softmax(W (x - shift) / scale + b)``.

    Args:
        inputs: d.
        classes: C.

    Example:
        >>> model = Logistic(inputs=1, classes=2)
        >>> model.weight[1] = 1.0
        >>> model.probabilities(torch.tensor([[0.0], [2.0]]))
        tensor([[0.5000, 0.5000],
                [0.1192, 0.8808]])
    """

    LIMIT = 10.0  # standard deviations, beyond which numbers are clipped

    shift: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes)
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("weight", torch.zeros(classes, inputs))
        self.register_buffer("bias", torch.zeros(classes))

    def standardised(self, known: Tensor) -> Tensor:
        """Return standardised, clipped numbers [n, d] from complete vectors [n, d]."""
        return ((known - self.shift) / self.scale).clamp(-self.LIMIT, self.LIMIT)

    def probabilities(self, known: Tensor) -> Tensor:
        return nn.functional.linear(self.standardised(known), self.weight, self.bias).softmax(1)

    def mistake(self) -> str:
        return super().mistake() or ("" if (self.scale > 0).all() else "scale must be more than 0")


class MeanEstimator(nn.Module):
    """The means of the log-probabilities of several estimators, those of folds.

    Example:
        >>> model = MeanEstimator([Logistic(inputs=2, classes=4) for _ in range(3)])
        >>> model(torch.zeros(1, 2)).exp().tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return log-probabilities [n, C] of vectors [n, d]."""
        return torch.stack([member(vectors) for member in self.members]).mean(0).log_softmax(1)


ESTIMATORS: dict[str, Callable[..., Estimator]] = {"extra_trees": Forest, "logistic": Logistic}
