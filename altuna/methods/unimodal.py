"""One modality alone."""

from __future__ import annotations

from collections.abc import Sequence

from altuna.core.model import MultimodalClassifier
from altuna.errors import UserError
from altuna.methods.base import Method


class Unimodal(Method):
    """Train one modality alone and ignore all other modalities.

    Training and evaluation leave out the samples that lack the modality. In the loss, h are the features of
    the modality:

    .. math:: L = CE(W h_m + b, y)

    Args:
        model: The classifier to train.
        modality: Name of the modality to train. The default (None) is the first modality of the data.
    """

    head = "separate"

    def __init__(self, model: MultimodalClassifier, *, modality: str | None = None) -> None:
        super().__init__(model)
        if modality is not None and model.modalities != (modality,):
            raise ValueError(f"the model has {', '.join(model.modalities)}, not {modality!r} alone")

    @classmethod
    def select(cls, modalities: Sequence[str], **options: object) -> tuple[str, ...]:
        modality = options.get("modality") or modalities[0]
        if modality not in modalities:
            known = ", ".join(modalities)
            raise UserError(f"method.modality: no modality {modality!r}; the data have {known}")
        return (str(modality),)
