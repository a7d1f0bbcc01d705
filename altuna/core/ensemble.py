"""Several classifiers as one, which averages their logits, and what they say of samples held out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from altuna.core.heads import Head, JointExpert
from altuna.core.model import MultimodalClassifier
from altuna.core.modules import are_features, stored
from altuna.core.outputs import Features, Outputs, concatenate
from altuna.core.pool import Pool


def ensemble(members: Sequence[MultimodalClassifier]) -> MultimodalClassifier:
    """Return a classifier whose logits, unimodal and joint, are the means of those of the members.

    To average logits is to average log-probabilities: the class probabilities are the normalised geometric
    means (logarithmic opinion pool; Genest and Zidek, Statistical Science 1986). The features of a modality
    are those of all members, side by side.

    Args:
        members: Classifiers that differ only in their weights, which they share with the result. A frozen
            network (``altuna.encoders.Encoder.fixed``) is taken from the first member; the others lose it.
            The class prior is the mean of theirs, and ``calibrate`` has to fit the rest.

    Example:
        >>> members = [MultimodalClassifier({"audio": nn.Linear(3, 4)}, num_classes=2) for _ in range(5)]
        >>> model, x = ensemble(members), torch.randn(6, 3)
        >>> mean = torch.stack([m.classify("audio", m.encode("audio", x)) for m in members]).mean(0)
        >>> torch.allclose(model.classify("audio", model.encode("audio", x)), mean, atol=1e-6)
        True
    """
    first = members[0]
    if len(members) == 1:
        return first
    model = copy.copy(first)
    model._modules, model._buffers = {}, {}
    model.encoders = nn.ModuleList(
        _SideBySide([m.encoders[i] for m in members], [m.adapters[i] for m in members])
        for i in range(len(first.modalities))
    )
    model.adapters = nn.ModuleList(nn.Identity() for _ in first.modalities)
    model.head = _MeanHead([m.head for m in members])
    model.pools = nn.ModuleDict({i: Pool.joined([_pool(m, i) for m in members]) for i in first.pools})
    model.expert_encoders = nn.ModuleDict()
    model.expert = _MeanExpert([m.expert for m in members if m.expert]) if first.expert else None
    for i in first.expert_encoders:
        own = [m.expert_encoders[i] for m in members]
        model.expert_encoders[i] = _SideBySide(own, [nn.Identity() for _ in own])
    for name, _ in first.named_buffers(recurse=False):
        values = [m.get_buffer(name) for m in members]
        side_by_side = name in first.mean_names  # the others are of classes or modalities
        model.register_buffer(name, torch.cat(values) if side_by_side else torch.stack(values).mean(0))
    return model


class HeldOut:
    """Samples that were encoded once, each by a classifier that was not trained on it.

    Args:
        parts: Each classifier, and the features of its samples. They are taken in this order.

    Example:
        >>> model = MultimodalClassifier({"audio": nn.Linear(3, 4)}, num_classes=2)
        >>> rows = torch.arange(5)
        >>> features = Features({"audio": torch.randn(5, 4)}, {"audio": rows}, labels=rows % 2)
        >>> outputs, labels = HeldOut([(model, features), (model, features)]).outputs()
        >>> outputs.logits.shape, labels.shape
        (torch.Size([1, 10, 2]), torch.Size([10]))
    """

    def __init__(self, parts: Sequence[tuple[MultimodalClassifier, Features]]) -> None:
        self.parts = parts

    @torch.inference_mode()
    def outputs(self, present: Tensor | None = None) -> tuple[Outputs, Tensor]:
        """Return outputs and labels, with only the cells ``present`` [M, N]; samples without any are out."""
        found, end = [], 0
        for model, features in self.parts:
            start, end = end, end + len(features.labels)
            if present is not None:
                features, _ = features.restricted(model.modalities, present[:, start:end])
            if len(features.labels):
                outputs = model.outputs_of(features.of, features.rows, len(features.labels))
                found.append((outputs, features.labels))
        return concatenate(found)


class _SideBySide(nn.Module):
    """The features [n, sum of d_k] of a modality by the encoders of several members."""

    def __init__(self, encoders: Sequence[nn.Module], adapters: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoders, self.adapters = nn.ModuleList(encoders), nn.ModuleList(adapters)
        self.fixed = bool(getattr(encoders[0], "fixed", False))
        if self.fixed:  # the others get the features of the first one's network
            for encoder in encoders[1:]:
                encoder.front_end, encoder.network = nn.Identity(), nn.Identity()

    def stored(self, cells: Tensor) -> Tensor:
        """Return what the first member's encoder stores of cells, see ``altuna.core.modules.stored``."""
        return stored(self.encoders[0], cells)

    def forward(self, cells: Tensor) -> Tensor:
        first: Any = self.encoders[0]
        if self.fixed and not are_features(cells):
            cells = first.features(cells)
        pairs = zip(self.encoders, self.adapters, strict=True)
        return torch.cat([adapter(encoder(cells)) for encoder, adapter in pairs], 1)


class _MeanHead(Head):
    """The means of the logits of several heads."""

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__(_summed(members), members[0].num_classes)
        self.members = nn.ModuleList(members)
        self.is_joint, self.joint_only = members[0].is_joint, members[0].joint_only  # type: ignore[misc]

    def forward(self, i: int, features: Tensor) -> Tensor:
        return _mean(member(i, own[i]) for member, own in _each(self.members, {i: features}))

    def joint(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        return _mean(member.joint(own, rows, size) for member, own in _each(self.members, features))


class _MeanExpert(JointExpert):
    """The means of the logits of several joint experts."""

    def __init__(self, members: Sequence[JointExpert]) -> None:
        nn.Module.__init__(self)
        self.sizes, self.members = _summed(members), nn.ModuleList(members)

    def forward(self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int) -> Tensor:
        return _mean(member(own, rows, size) for member, own in _each(self.members, features))


def _pool(model: MultimodalClassifier, number: str) -> Pool:
    pool = model.pools[number]
    assert isinstance(pool, Pool)
    return pool


def _summed(members: Sequence[Head] | Sequence[JointExpert]) -> tuple[int, ...]:
    """Return the number of features of each modality in all members together."""
    return tuple(map(sum, zip(*(member.sizes for member in members), strict=True)))


def _each(members: Any, features: dict[int, Tensor]) -> Iterator[tuple[Any, dict[int, Tensor]]]:
    """Yield each member with its own part of features [n, sum of d_k] by modality."""
    sizes = {i: [member.sizes[i] for member in members] for i in features}
    parts = {i: torch.split(f, sizes[i], 1) for i, f in features.items()}
    for number, member in enumerate(members):
        yield member, {i: own[number] for i, own in parts.items()}


def _mean(logits: Iterable[Tensor]) -> Tensor:
    return torch.stack([*logits]).mean(0)
