"""What encoders and heads return for a batch, and the fused prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from altuna.core.batch import presence


class Features(NamedTuple):
    """Features of N labelled samples, encoded once, to be evaluated with any modalities left out.

    ``of`` and ``rows`` have the features [n_m, d_m] of a modality and the samples [n_m], ascending, that have
    it; ``labels`` is [N].
    """

    of: dict[str, Tensor]
    rows: dict[str, Tensor]
    labels: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return the features of the samples of several batches, one after the other."""
        starts = [*accumulate((len(part.labels) for part in parts), initial=0)]
        of: dict[str, list[Tensor]] = {}
        rows: dict[str, list[Tensor]] = {}
        for start, part in zip(starts, parts, strict=False):
            for m, features in part.of.items():
                of.setdefault(m, []).append(features)
                rows.setdefault(m, []).append(part.rows[m] + start)
        labels = torch.cat([part.labels for part in parts])
        return cls(
            {m: torch.cat(f) for m, f in of.items()}, {m: torch.cat(r) for m, r in rows.items()}, labels
        )

    def present(self, modalities: Sequence[str]) -> Tensor:
        """Return [M, N] bool: which of some modalities each sample has."""
        return presence(self.rows, modalities, len(self.labels))

    def restricted(self, modalities: Sequence[str], present: Tensor) -> tuple[Features, Tensor]:
        """Return the features of the cells ``present`` [M, N], and the samples [n] that still have one."""
        present = present & self.present(modalities)
        kept = present.any(0)
        place = kept.cumsum(0) - 1
        of, rows = {}, {}
        for m, mine in zip(modalities, present, strict=True):
            if mine.any():
                stays = mine[self.rows[m]]
                of[m], rows[m] = self.of[m][stays], place[self.rows[m][stays]]
        return Features(of, rows, self.labels[kept]), kept.nonzero().flatten()


class Outputs(NamedTuple):
    """Unimodal and joint logits of B samples, before fusion.

    ``logits`` [M, B, C] (0 where absent), ``present`` [M, B] bool, and ``joint`` [B, C], the logits of
    a joint head, None where the head has no joint logits.
    """

    logits: Tensor
    present: Tensor
    joint: Tensor | None

    def cpu(self) -> Outputs:
        """Return the outputs in the CPU's memory."""
        joint = None if self.joint is None else self.joint.cpu()
        return Outputs(self.logits.cpu(), self.present.cpu(), joint)

    def split(self, size: int) -> Iterator[Outputs]:
        """Yield the outputs of ``size`` samples at a time; the last ones may be fewer."""
        for start in range(0, self.logits.shape[1], size):
            rows = slice(start, start + size)
            joint = None if self.joint is None else self.joint[rows]
            yield Outputs(self.logits[:, rows], self.present[:, rows], joint)


def concatenate(parts: Sequence[tuple[Outputs, Tensor]]) -> tuple[Outputs, Tensor]:
    """Join the outputs and labels of several batches."""
    joint = [o.joint for o, _ in parts if o.joint is not None]
    return (
        Outputs(
            torch.cat([o.logits for o, _ in parts], dim=1),
            torch.cat([o.present for o, _ in parts], dim=1),
            torch.cat(joint) if joint else None,
        ),
        torch.cat([labels for _, labels in parts]),
    )


class Prediction(NamedTuple):
    """A fused prediction of B samples.

    ``logits`` and ``probabilities`` [B, C]; ``weights`` [M, B], how much each modality counted, each
    column summing to 1 (a joint head's own share is not in them); ``unimodal_logits`` [M, B, C];
    ``present`` [M, B] bool.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from altuna.core.model import MultimodalClassifier
        >>> model = MultimodalClassifier({"image": nn.Linear(8, 4), "text": nn.Linear(5, 4)}, num_classes=3)
        >>> prediction = model({"text": torch.zeros(2, 5)})
        >>> prediction.present.tolist()  # [M, B]
        [[False, False], [True, True]]
    """

    logits: Tensor
    probabilities: Tensor
    weights: Tensor
    unimodal_logits: Tensor
    present: Tensor
