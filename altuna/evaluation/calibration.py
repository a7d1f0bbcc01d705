"""Temperature scaling (Guo et al., 2017, arXiv 1706.04599), per modality and after fusion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice

import torch
from torch import Tensor

from altuna.model import MultimodalClassifier, Outputs

LOWEST, HIGHEST = 0.05, 1e4
MAX_SUBSETS = 32
LEAST_ROWS = 20  # from which a modality has a temperature of its own


def fit_temperature(logits: Tensor, labels: Tensor, surprise: float = 0.0) -> float:
    r"""Return the temperature that minimises the cross-entropy of ``logits / T``.

    In :math:`\beta = 1 / T` the loss is convex with derivative
    :math:`\mathrm{mean}(E_{softmax(\beta z)}[z] - z_y)`, so bisection on its sign is exact and
    deterministic. T is kept in [0.05, 10000]: perfect validation predictions would ask for 0.

    Args:
        logits: [N, C]; 1 is returned when N = 0.
        labels: [N] class numbers.
        surprise: Rows' worth of samples whose label was a toss-up, added to the N (label smoothing by
            ``surprise / (N + surprise)``).
    """
    if not len(logits):
        return 1.0
    z = logits.detach().double().cpu()
    z = z - z.amax(1, keepdim=True)
    smoothing = surprise / (len(z) + surprise)
    target = (1 - smoothing) * z.gather(1, labels.cpu().unsqueeze(1)).mean() + smoothing * z.mean()
    low, high = torch.tensor(LOWEST).log().item(), torch.tensor(HIGHEST).log().item()
    for _ in range(60):
        middle = (low + high) / 2
        expected = ((z / torch.tensor(middle).exp()).softmax(1) * z).sum(1).mean()
        # Overconfident at this T: the logit it expects is above the true class's.
        low, high = (middle, high) if expected > target else (low, middle)
    return float(torch.tensor((low + high) / 2).exp())


@torch.no_grad()
def calibrate(model: MultimodalClassifier, outputs: Outputs, labels: Tensor) -> None:
    """Fit the model's temperatures on validation outputs: one a modality, one a number of modalities present.

    A modality's temperature sees the rows that have it, a joint expert's those that have all. Modalities
    that ``too_few`` rows have share one, fitted on what every modality says of every row. The
    temperature for predictions that rest on k modalities is fitted on what fusing subsets of k modalities
    gives on these rows; for joint fusion, whose logits are known for the present modalities only, on the
    rows with exactly k (on all where there is none).

    One toss-up is added to the rows: N validation samples without a mistake do not prove that the chance of
    one is far below 1 / N, and without it they would ask for boundless confidence.
    """
    for i, mine in enumerate(outputs.present):
        model.temperatures[i] = fit_temperature(outputs.logits[i, mine], labels[mine], surprise=1)
    if few := too_few(outputs.present):
        everything = labels.expand_as(outputs.present)[outputs.present]
        model.temperatures[few] = fit_temperature(outputs.logits[outputs.present], everything, surprise=1)
    if model.head.is_expert:
        assert outputs.joint is not None
        whole = outputs.present.all(0)
        model.joint_temperature.fill_(fit_temperature(outputs.joint[whole], labels[whole], surprise=1))
    views = _joint_views if model.fusion == "joint" else _subset_views
    for k in range(1, len(model.modalities) + 1):
        logits, targets = [], []
        for rows, present in views(outputs, k):
            joint = outputs.joint[rows] if outputs.joint is not None else None
            some = Outputs(outputs.logits[:, rows], present[:, rows], joint)
            logits.append(model.fused(some, model.fusion).logits)
            targets.append(labels[rows])
        if logits:
            model.confidence_temperatures[k - 1] = fit_temperature(
                torch.cat(logits), torch.cat(targets), surprise=1
            )


def too_few(present: Tensor) -> list[int]:
    """Return the modalities of [M, N] bool that fewer than ``LEAST_ROWS`` rows have; of one modality none."""
    return [] if len(present) == 1 else [i for i, mine in enumerate(present) if int(mine.sum()) < LEAST_ROWS]


def _subset_views(outputs: Outputs, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows [N] bool that have k certain modalities, and presence [M, N] of these alone."""
    for subset in islice(combinations(range(len(outputs.present)), k), MAX_SUBSETS):
        present = torch.zeros_like(outputs.present)
        present[list(subset)] = True
        rows = outputs.present[list(subset)].all(0)
        if rows.any():
            yield rows, present


def _joint_views(outputs: Outputs, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows [N] bool that have exactly k modalities, or all, and the presence [M, N] as it is."""
    rows = outputs.present.sum(0) == k
    yield (rows if rows.any() else torch.ones_like(rows)), outputs.present
