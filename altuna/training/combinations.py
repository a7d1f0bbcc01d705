"""Notice a label that only several modalities together tell: unimodal turns cannot learn it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altuna.core.model import MultimodalClassifier
from altuna.data.dataset import MultimodalDataset
from altuna.training.estimators import fit_extra_trees, vector_modalities

TREES = 50
MAX_ROWS = 5_000  # training rows that the trees are fitted on
MIN_ROWS = 50  # validation rows; fewer tell little
ERRORS, POINTS = 2.0, 0.03  # the gain in accuracy that is worth a warning: standard errors, and share of rows


def combination_warning(
    model: MultimodalClassifier,
    train: MultimodalDataset,
    val: MultimodalDataset,
    accuracy: float,
    seed: int = 0,
) -> str | None:
    r"""Return a warning if trees on several modalities together are far more accurate on validation.

    Three predictions are compared: that of the model; of trees on the vectors of all modalities together; and
    of trees on each modality alone, fused as in naive Bayes, :math:`\log\pi + \sum_m (\log p_m - \log\pi)`.
    If only the trees on all modalities are accurate, the label depends on a combination, which no sum of
    unimodal predictions can express. Modalities without vectors are not looked at. A model with a joint head
    or a joint expert needs no warning.

    Args:
        model: Its modalities and class prior.
        train: Training samples.
        val: Validation samples.
        accuracy: That of the fused prediction on validation.
        seed: Random seed of the trees.

    Example:
        >>> x = np.random.default_rng(0).choice([-1.0, 1.0], size=(2, 200, 1)).astype(np.float32)
        >>> rows = dict.fromkeys(("motion", "mode"), np.arange(200))
        >>> samples = MultimodalDataset(dict(zip(rows, x)), rows, (x[0, :, 0] == x[1, :, 0]).astype(np.int64))
        >>> encoders = {name: torch.nn.Linear(1, 4) for name in rows}
        >>> model = MultimodalClassifier(encoders, num_classes=2)
        >>> combination_warning(model, samples, samples, accuracy=0.5)[:55]
        "Decision trees on 'motion' and 'mode' together are 100."
    """
    names = [m for m in vector_modalities(train) if m in val.arrays]
    if model.is_joint or len(names) < 2 or len(val) < MIN_ROWS:
        return None
    rows = np.arange(len(train))
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
    labels, truth = train.labels[rows], torch.from_numpy(val.labels)
    if len(np.unique(labels)) < 2:
        return None
    prior = model.prior.cpu()

    def scores(some: Sequence[str]) -> Tensor:
        trees = fit_extra_trees(_joined(train, some, rows), labels, prior, seed, trees=TREES)
        found: Tensor = trees(torch.from_numpy(_joined(val, some, np.arange(len(val)))))
        return found

    together = scores(names).argmax(1) == truth
    alone = prior.log() + sum(scores([name]) - prior.log() for name in names)
    best = max(accuracy, (alone.argmax(1) == truth).float().mean().item())
    share = together.float().mean().item()
    error = math.sqrt(share * (1 - share) / len(val) + best * (1 - best) / len(val))
    if share - best <= max(POINTS, ERRORS * error):
        return None
    listed = f"{', '.join(map(repr, names[:-1]))} and {names[-1]!r}"
    return (
        f"Decision trees on {listed} together are {100 * share:.1f} % accurate on val, the model "
        f"{100 * accuracy:.1f} %. The label seems to depend on a combination of modalities, which unimodal "
        "turns cannot learn. Try --joint-expert apart, or put these columns into one modality."
    )


def _joined(dataset: MultimodalDataset, names: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the vectors of several modalities side by side; NaN where a sample lacks one."""
    parts = []
    for name in names:
        array, position = dataset.arrays[name], dataset.position[name][rows]
        part = np.full((len(rows), array.shape[1]), np.nan, np.float32)
        part[position >= 0] = array.take(position[position >= 0], 0)
        parts.append(part)
    return np.concatenate(parts, axis=1)
