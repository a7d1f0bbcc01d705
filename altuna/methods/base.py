"""The method contract: four things that a method defines, for the one training loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch
from altuna.core.model import MultimodalClassifier
from altuna.options import nearest

ExpertForm = Literal["off", "detached", "turn", "apart"]  # see altuna.methods.parts.joint_turn


@dataclass
class Clock:
    """The progress of training: batch ``batch`` of ``batches`` in epoch ``epoch`` of ``epochs``, from 0.

    Example:
        >>> Clock(epoch=2, epochs=10, batch=0, batches=5)
        Clock(epoch=2, epochs=10, batch=0, batches=5)
    """

    epoch: int = 0
    epochs: int = 1
    batch: int = 0
    batches: int = 1


@dataclass
class Turn:
    """One optimizer step of a batch.

    Args:
        modalities: The modalities whose encoders the turn trains. This can be empty.
        kind: Distinguishes turns of the same modalities, such as ``teacher``; empty for ordinary turns.
        features: Features [n_m, d] of the turn's forward pass, stored by ``Method.loss`` for hooks that run
            later.
        logits: Unimodal logits [n_m, C], stored in the same way.
        joint: Joint logits [B, C], stored in the same way, if the head computes joint logits.
        gradients: If ``Method.loss`` returned several losses: the name of each loss to its gradients. The
            loop sets them before ``modify_gradients``, where every parameter's ``grad`` is their sum.
        log: Metrics to log beside the loss.
        wants_log: Whether the loop logs these metrics. The loop logs only some batches.

    Example:
        >>> Turn(("audio", "image"), kind="joint").name
        'joint:audio+image'
    """

    modalities: tuple[str, ...]
    kind: str = ""
    features: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    joint: Tensor | None = None
    gradients: dict[str, dict[nn.Parameter, Tensor]] = field(default_factory=dict)
    log: dict[str, Tensor] = field(default_factory=dict)
    wants_log: bool = False

    @property
    def name(self) -> str:
        """The turn's name in logs: its kind, if any, and its modalities joined by a plus."""
        return ":".join(filter(None, (self.kind, "+".join(self.modalities))))


class Method(nn.Module):
    """A training method. A subclass defines four things and never iterates, calls backward or steps.

    1. ``turns``: the ordered turns of a batch;
    2. ``loss``: the loss of a turn;
    3. ``modify_gradients``: how gradients are changed between backward and step;
    4. ``after_step``, ``after_epoch``: what happens after a step, and after an epoch.

    The defaults are unimodal turns: one per modality in the batch, with the cross-entropy of its logits.
    Keep state in buffers and modules, so that it is saved, resumed and moved between devices with the method.
    A public function that is not one of these hooks raises a TypeError, so a misspelled hook is noticed.

    ``head`` is the name of the head that the method trains (see ``altuna.core.heads``), ``min_modalities``
    the smallest number of modalities that it can train, ``expert`` the form of the joint expert that its
    model needs.

    Example:
        >>> import torch
        >>> class Halved(Method):
        ...     '''Train with half the loss.'''
        ...
        ...     def loss(self, turn, batch):
        ...         return super().loss(turn, batch) / 2
        >>> encoders = {"audio": nn.Linear(3, 4), "image": nn.Linear(5, 4)}
        >>> method = Halved(MultimodalClassifier(encoders, num_classes=2))
        >>> rows = torch.arange(6)
        >>> inputs = {"audio": torch.randn(6, 3), "image": torch.randn(6, 5)}
        >>> batch = Batch(inputs, dict.fromkeys(inputs, rows), labels=rows % 2, indices=rows)
        >>> [turn.name for turn in method.turns(batch)]
        ['audio', 'image']
        >>> method.loss(Turn(("audio",)), batch).shape
        torch.Size([])
    """

    head: ClassVar[str] = "shared"
    expert: ClassVar[ExpertForm] = "off"
    min_modalities: ClassVar[int] = 1

    def __init__(self, model: MultimodalClassifier) -> None:
        super().__init__()
        if len(model.modalities) < self.min_modalities:
            raise ValueError(
                f"needs {self.min_modalities} modalities or more, the data have {len(model.modalities)}"
            )
        self.model = model
        self.clock = Clock()

    def __init_subclass__(cls) -> None:
        """Refuse a public function that the loop would never call."""
        hooks = [n for n in vars(Method) if not n.startswith("_") and callable(getattr(Method, n))]
        for name in vars(cls):
            if callable(getattr(cls, name)) and not name.startswith("_") and name not in hooks:
                raise TypeError(f"{cls.__name__}.{name} is not a hook{nearest(name, hooks)}")

    @classmethod
    def select(cls, modalities: Sequence[str], **options: object) -> tuple[str, ...]:
        """Return those modalities of the data that the method uses."""
        return tuple(modalities)

    def turns(self, batch: Batch) -> Iterable[Turn]:
        """Yield the batch's turns in order."""
        for modality in self.model.modalities:
            if modality in batch.inputs:
                yield Turn((modality,))

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Run the turn's forward pass and return its loss (a scalar), or a dict of several losses.

        The optimizer step uses the gradient of the sum of these losses. Return several losses to get the
        gradient of each loss separately.
        """
        self._forward(turn, batch)
        (modality,) = turn.modalities
        return cross_entropy(turn.logits[modality], batch.labels_of(modality))

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        """Change gradients in place, between backward and step."""

    def after_step(self, turn: Turn, batch: Batch) -> None:
        """Do something after the optimizer step of a turn."""

    def after_epoch(self) -> None:
        """Do something after the last turn of an epoch."""

    def _forward(self, turn: Turn, batch: Batch) -> None:
        """Set a turn's features, unimodal logits and, with a joint head, joint logits."""
        model = self.model
        for m in turn.modalities:
            turn.features[m] = model.encode(m, batch.inputs[m])
            turn.logits[m] = model.classify(m, turn.features[m])
        if model.head.is_joint:
            turn.joint = model.joint(turn.features, batch.rows, len(batch))

    def _encoder_parameters(self, modality: str) -> list[nn.Parameter]:
        """Return the trained parameters of a modality's encoder and its adapter."""
        number = self.model.modalities.index(modality)
        both = nn.ModuleList([self.model.encoders[number], self.model.adapters[number]])
        return [p for p in both.parameters() if p.requires_grad]


class JointMethod(Method):
    """Train all encoders jointly by the cross-entropy of the joint logits. Base of most methods.

    .. math:: L = CE(z, y)

    Example:
        >>> import torch
        >>> encoders = {"audio": nn.Linear(3, 4), "image": nn.Linear(5, 4)}
        >>> method = JointMethod(MultimodalClassifier(encoders, num_classes=2, head="concat"))
        >>> rows = torch.arange(6)
        >>> inputs = {"audio": torch.randn(6, 3), "image": torch.randn(6, 5)}
        >>> batch = Batch(inputs, dict.fromkeys(inputs, rows), labels=rows % 2, indices=rows)
        >>> [turn.name for turn in method.turns(batch)]
        ['audio+image']
    """

    head = "concat"
    min_modalities = 2

    def turns(self, batch: Batch) -> Iterable[Turn]:
        yield Turn(tuple(m for m in self.model.modalities if m in batch.inputs))

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        self._forward(turn, batch)
        assert turn.joint is not None
        return cross_entropy(turn.joint, batch.labels)

    def _joint(self, turn: Turn, batch: Batch, modalities: Sequence[str]) -> Tensor:
        """Return the joint logits [B, C] of some modalities of a turn, as if the others were missing."""
        features = {m: turn.features[m] for m in modalities}
        return self.model.joint(features, {m: batch.rows[m] for m in modalities}, len(batch))
