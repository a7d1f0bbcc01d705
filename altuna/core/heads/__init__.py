"""Classification heads: from each modality's features to its logits, and to joint logits if any.

``HEADS`` has every head by its name.

Example:
    >>> HEADS["concat"](sizes=[4, 8], num_classes=3).is_joint
    True
"""

from __future__ import annotations

from altuna.core.heads.base import Head
from altuna.core.heads.conditioned import ConditionedHead, FiLMHead, GatedHead
from altuna.core.heads.expert import JointExpert
from altuna.core.heads.imagining import CascadeHead, CRAHead, Imagined, MMINHead
from altuna.core.heads.linear import (
    ConcatHead,
    ConfidenceHead,
    CosineHead,
    MultitaskHead,
    SeparateHeads,
    SharedHead,
    SumHead,
)

HEADS: dict[str, type[Head]] = {
    "shared": SharedHead,
    "separate": SeparateHeads,
    "concat": ConcatHead,
    "multitask": MultitaskHead,
    "sum": SumHead,
    "confidence": ConfidenceHead,
    "cosine": CosineHead,
    "film": FiLMHead,
    "gated": GatedHead,
    "cra": CRAHead,
    "mmin": MMINHead,
}

__all__ = [
    "HEADS",
    "CRAHead",
    "CascadeHead",
    "ConcatHead",
    "ConditionedHead",
    "ConfidenceHead",
    "CosineHead",
    "FiLMHead",
    "GatedHead",
    "Head",
    "Imagined",
    "JointExpert",
    "MMINHead",
    "MultitaskHead",
    "SeparateHeads",
    "SharedHead",
    "SumHead",
]
