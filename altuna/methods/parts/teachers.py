"""Unimodal teachers, trained in the first epochs of a run, and joint training with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.collectives import Input, encoded
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import Clock, JointMethod, Turn

KIND = "teacher"


class Teachers(nn.Module):
    """Unimodal teachers: a copy of every encoder with its own linear head, trained alone and then frozen.

    A method with teachers yields their ``turns`` as long as ``training_at`` is true, returns their ``loss``
    for turns of kind ``teacher``, and later uses their ``answers``. Once the teachers' epochs are over they
    stay over, even if a budget allows more epochs than expected. ``ended`` is the first epoch after them
    (-1 before).

    Args:
        model: The model whose encoders are copied, with their initial weights.
        share: Fraction of all epochs in which the teachers are trained; at least one epoch, and at least
            one is left for the student.

    Example:
        >>> model = MultimodalClassifier({"audio": nn.Linear(3, 4), "image": nn.Linear(5, 4)}, num_classes=2)
        >>> teachers = Teachers(model, share=0.3)
        >>> [teachers.training_at(Clock(epoch=epoch, epochs=10)) for epoch in (0, 2, 3)]
        [True, True, False]
        >>> features, logits = teachers.answers("audio", torch.randn(6, 3))
        >>> features.shape, logits.shape
        (torch.Size([6, 4]), torch.Size([6, 2]))
    """

    ended: Tensor

    def __init__(self, model: MultimodalClassifier, share: float) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"teachers, their share of the epochs, must be between 0 and 1, got {share}")
        self.share, self.modalities = share, model.modalities
        self.encoders = nn.ModuleList(
            nn.Sequential(copy.deepcopy(e), copy.deepcopy(a))
            for e, a in zip(model.encoders, model.adapters, strict=True)
        )
        self.heads = nn.ModuleList(nn.Linear(size, model.num_classes) for size in model.head.sizes)
        self.register_buffer("ended", torch.tensor(-1))

    def training_at(self, clock: Clock) -> bool:
        """Return whether the teachers are trained in this epoch."""
        until = min(max(1, round(self.share * clock.epochs)), clock.epochs - 1)
        if self.ended < 0 and clock.epoch >= until:
            self.ended.fill_(clock.epoch)
        return bool(self.ended < 0)

    def turns(self, batch: Batch) -> Iterable[Turn]:
        """Yield one turn per modality in the batch, which trains the teacher of that modality."""
        for modality in self.modalities:
            if modality in batch.inputs:
                yield Turn((modality,), kind=KIND)

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        """Return the cross-entropy of the teacher of a turn."""
        (modality,) = turn.modalities
        self.train()
        return cross_entropy(self._run(modality, batch.inputs[modality])[1], batch.labels_of(modality))

    @torch.no_grad()
    def answers(self, modality: str, inputs: Input) -> tuple[Tensor, Tensor]:
        """Return a frozen teacher's features [n, d] and logits [n, C], in eval mode and without gradient."""
        self.eval()
        return self._run(modality, inputs)

    def _run(self, modality: str, inputs: Input) -> tuple[Tensor, Tensor]:
        number = self.modalities.index(modality)
        features = encoded(self.encoders[number], inputs)
        return features, self.heads[number](features)


class Taught(JointMethod):
    """Joint training with unimodal teachers: first the teachers are trained, then a student learns from them.

    Args:
        model: A classifier with a joint head, the student.
        teachers: Fraction of the epochs in which the teachers are trained, between 0 and 1.

    Example:
        >>> class Hinted(Taught):
        ...     '''Follow the teachers' features.'''
        ...
        ...     def _distillation(self, turn, batch):
        ...         hints = {m: self.teachers.answers(m, batch.inputs[m])[0] for m in turn.modalities}
        ...         return sum((turn.features[m] - hint).square().mean() for m, hint in hints.items())
        >>> encoders = {"audio": nn.Linear(3, 4), "image": nn.Linear(5, 4)}
        >>> model = MultimodalClassifier(encoders, num_classes=2, head="concat")
        >>> Hinted(model, teachers=0.5).teachers.share
        0.5
    """

    def __init__(self, model: MultimodalClassifier, *, teachers: float = 0.3) -> None:
        super().__init__(model)
        self.teachers = Teachers(model, teachers)

    def turns(self, batch: Batch) -> Iterable[Turn]:
        taught = self.teachers.training_at(self.clock)
        return self.teachers.turns(batch) if taught else super().turns(batch)

    def loss(self, turn: Turn, batch: Batch) -> Tensor:
        if turn.kind == KIND:
            return self.teachers.loss(turn, batch)
        loss = super().loss(turn, batch)
        assert isinstance(loss, Tensor)
        return loss + self._distillation(turn, batch)

    def _distillation(self, turn: Turn, batch: Batch) -> Tensor:
        """Return the term that is added to the student's loss."""
        raise NotImplementedError
