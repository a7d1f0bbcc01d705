"""What encoders and heads return for a batch, and the fused prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from altuna.core.batch import presence


class Features(NamedTuple):
    """Features of N labelled samples, encoded once and then evaluated on any subset of the modalities.

    ``of`` has the features [n_m, d_m] of each modality, ``rows`` the numbers [n_m] (ascending) of the
    samples that have it, and ``labels`` [N] the class numbers.

    Example:
        >>> of = {"audio": torch.zeros(2, 4), "image": torch.zeros(1, 4)}
        >>> rows = {"audio": torch.tensor([0, 1]), "image": torch.tensor([1])}
        >>> features = Features(of, rows, labels=torch.tensor([3, 0]))
        >>> features.present(["audio", "image"])
        tensor([[ True,  True],
                [False,  True]])
    """

    of: dict[str, Tensor]
    rows: dict[str, Tensor]
    labels: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Concatenate the features of several batches."""
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
        """Return which samples have each of the modalities, [M, N] bool."""
        return presence(self.rows, modalities, len(self.labels))

    def restricted(self, modalities: Sequence[str], present: Tensor) -> tuple[Features, Tensor]:
        """Return the features of the cells ``present`` [M, N], and the numbers [n] of samples with any."""
        present = present & self.present(modalities)
        kept = present.any(0)
        place = kept.cumsum(0) - 1
        of, rows = {}, {}
        for m, mine in zip(modalities, present, strict=True):
            if mine.any():
                stays = mine[self.rows[m]]
                of[m], rows[m] = self.of[m][stays], place[self.rows[m][stays]]
        return Features(of, rows, self.labels[kept]), kept.nonzero().flatten()


class Parts(NamedTuple):
    """What ``MultimodalClassifier.encode_all`` returns of a modality, taken apart.

    ``own`` [n, d] is what the head sees, and ``seen`` what the joint expert sees. ``estimates`` [n, E C] are
    the log-probabilities by the modality's E fitted estimators, side by side; None without any.

    Example:
        >>> features = torch.zeros(5, 7)
        >>> Parts(own=features[:, :4], seen=features[:, :4], estimates=features[:, 4:]).estimates.shape
        torch.Size([5, 3])
    """

    own: Tensor
    seen: Tensor
    estimates: Tensor | None


class Outputs(NamedTuple):
    """Unimodal and joint logits of B samples, before fusion.

    ``logits`` [M, B, C] are 0 where a modality is absent; ``present`` is [M, B] bool; ``joint`` [B, C] are
    the joint logits, or None if the head has none.

    Example:
        >>> outputs = Outputs(torch.zeros(2, 5, 3), torch.ones(2, 5, dtype=torch.bool), joint=None)
        >>> [part.logits.shape[1] for part in outputs.split(2)]
        [2, 2, 1]
    """

    logits: Tensor
    present: Tensor
    joint: Tensor | None

    def cpu(self) -> Outputs:
        """Copy the outputs to the CPU."""
        joint = None if self.joint is None else self.joint.cpu()
        return Outputs(self.logits.cpu(), self.present.cpu(), joint)

    def split(self, size: int) -> Iterator[Outputs]:
        """Yield the outputs of ``size`` samples at a time; the last part may be smaller."""
        for start in range(0, self.logits.shape[1], size):
            rows = slice(start, start + size)
            joint = None if self.joint is None else self.joint[rows]
            yield Outputs(self.logits[:, rows], self.present[:, rows], joint)


def concatenate(parts: Sequence[tuple[Outputs, Tensor]]) -> tuple[Outputs, Tensor]:
    """Concatenate the outputs and labels of several batches.

    Example:
        >>> outputs = Outputs(torch.zeros(2, 5, 3), torch.ones(2, 5, dtype=torch.bool), joint=None)
        >>> outputs, labels = concatenate([(outputs, torch.zeros(5))] * 2)
        >>> outputs.logits.shape, labels.shape
        (torch.Size([2, 10, 3]), torch.Size([10]))
    """
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

    ``logits`` and ``probabilities`` are [B, C]. ``weights`` [M, B] are the fusion weights of the
    modalities, which sum to 1 for each sample (the weight of a joint head is not included).
    ``unimodal_logits`` are [M, B, C], and ``present`` is [M, B] bool.

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
