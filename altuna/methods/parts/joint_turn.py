"""A turn of the joint expert after the turns of any method that trains unimodal logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from altuna.core.batch import Batch, presence
from altuna.core.heads import HEADS
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import ExpertForm, Method, Turn

KIND = "joint"


class JointTurn(Method):
    r"""To be inherited beside a method: train the model's joint expert in one more turn per batch.

    The turn uses the samples that have all modalities, and is left out if the batch has none. The expert is a
    small network on the features of all modalities. The forms of ``expert`` differ in what it may change:

    - ``detached``: only the expert. It learns from the features that the turns before it computed (as the
      multimodal head of DGL does, Wei, Luo, Luo, ICCV 2025, arXiv 2507.10213);
    - ``turn``: the expert and all encoders, which compute their features anew (as in ``mla_joint``);
    - ``apart``: the expert and encoders of its own (I2M2, Madaan et al., NeurIPS 2024, arXiv 2405.17613). A
      modality for which it has none, because the model's encoder is frozen, is treated as in ``detached``.

    .. math:: L = CE(V_2\, \mathrm{relu}(V_1 [h_1, \ldots, h_M] + v_1) + v_2, y)

    Only ``turn`` changes the unimodal experts. The others leave each of their weights as it is without.

    Args:
        model: A classifier with a joint expert.
        options: Those of the method that is inherited beside.

    Raises:
        ValueError: The model has no joint expert.

    Example:
        >>> from torch import nn
        >>> class MyMethod(JointTurn, Method):
        ...     expert = "detached"
        >>> encoders = {"audio": nn.Linear(3, 4), "image": nn.Linear(5, 4)}
        >>> method = MyMethod(MultimodalClassifier(encoders, num_classes=2, expert={}))
        >>> rows = torch.arange(6)
        >>> inputs = {"audio": torch.randn(6, 3), "image": torch.randn(6, 5)}
        >>> batch = Batch(inputs, dict.fromkeys(inputs, rows), labels=rows % 2, indices=rows)
        >>> [turn.name for turn in method.turns(batch)]
        ['audio', 'image', 'joint']
    """

    min_modalities = 2

    def __init__(self, model: MultimodalClassifier, **options: Any) -> None:
        super().__init__(model, **options)
        if model.expert is None:
            raise ValueError("needs a model with a joint expert: give it expert={}")
        self._computed: dict[str, Tensor] = {}  # detached features of the batch's turns so far

    def turns(self, batch: Batch) -> Iterable[Turn]:
        self._computed.clear()
        yield from super().turns(batch)
        if self._complete(batch).any():
            yield Turn(() if self.expert == "detached" else self.model.modalities, kind=KIND)

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        if turn.kind != KIND:
            loss = super().loss(turn, batch)
            self._computed |= {m: f.detach() for m, f in turn.features.items()}
            return loss
        turn.features = {m: self._seen(m, batch) for m in self.model.modalities}
        turn.joint = self.model.ask_expert(turn.features, batch.rows, len(batch))
        complete = self._complete(batch)
        return cross_entropy(turn.joint[complete], batch.labels[complete])

    def modify_gradients(self, turn: Turn, batch: Batch) -> None:
        if turn.kind != KIND:
            super().modify_gradients(turn, batch)

    def after_step(self, turn: Turn, batch: Batch) -> None:
        if turn.kind != KIND:
            super().after_step(turn, batch)

    def _seen(self, modality: str, batch: Batch) -> Tensor:
        """Return the features [n, d] that the expert sees of a modality."""
        inputs = batch.inputs[modality]
        if self.expert == "turn":
            return self.model.encode(modality, inputs)
        if self.expert == "apart":
            own = self.model.encode_for_expert(modality, inputs)
            if own is not None:
                return own
        computed = self._computed.get(modality)
        if computed is None or len(computed) != len(batch.rows[modality]):
            with torch.no_grad():  # the method had no turn with all rows of this modality
                computed = self.model.encode(modality, inputs)
        return computed

    def _complete(self, batch: Batch) -> Tensor:
        """Return which samples [B] have all modalities."""
        return presence(batch.rows, self.model.modalities, len(batch)).all(0)


def with_expert(kind: type[Method], form: ExpertForm) -> type[Method]:
    """Return a method that also trains a joint expert of this form; the method itself for ``off``.

    Raises:
        ValueError: The method has a joint expert or joint logits of its own.

    Example:
        >>> from altuna.methods.late_fusion import LateFusion
        >>> with_expert(LateFusion, "turn").expert
        'turn'
    """
    if form == "off":
        return kind
    if kind.expert != "off":
        raise ValueError("it has a joint expert of its own")
    if HEADS[kind.head].is_joint:
        raise ValueError(f"its head {kind.head!r} has joint logits already")
    return type(kind.__name__, (JointTurn, kind), {"expert": form, "__doc__": kind.__doc__})
