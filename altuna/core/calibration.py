"""Temperature scaling (Guo et al., 2017, arXiv 1706.04599), per modality and after fusion."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs
from altuna.core.subsets import some_subsets

LOWEST, HIGHEST = 0.05, 1e4
LEAST_ROWS = 20  # from which a modality has a temperature of its own


def fit_temperature(logits: Tensor, labels: Tensor, toss_ups: float = 0.0) -> float:
    r"""Return the temperature that minimises the cross-entropy of ``logits / T``.

    In :math:`\beta = 1 / T` the loss is convex with derivative
    :math:`\mathrm{mean}(E_{softmax(\beta z)}[z] - z_y)`, so bisection on its sign is exact and
    deterministic. T is kept in [0.05, 10000]: perfect validation predictions would ask for 0.

    Args:
        logits: [N, C]; 1 is returned when N = 0.
        labels: [N] class numbers.
        toss_ups: Rows' worth of samples whose label was a toss-up, added to the N (label smoothing by
            ``toss_ups / (N + toss_ups)``).
    """
    if not len(logits):
        return 1.0
    z = logits.detach().cpu().double()  # some devices have no float64
    z = z - z.amax(1, keepdim=True)
    smoothing = toss_ups / (len(z) + toss_ups)
    target = (1 - smoothing) * z.gather(1, labels.cpu().unsqueeze(1)).mean() + smoothing * z.mean()
    low, high = torch.tensor(LOWEST).log().item(), torch.tensor(HIGHEST).log().item()
    for _ in range(60):
        middle = (low + high) / 2
        expected = ((z / torch.tensor(middle).exp()).softmax(1) * z).sum(1).mean()
        # Overconfident at this T: the logit it expects is above the true class's.
        low, high = (middle, high) if expected > target else (low, middle)
    return float(torch.tensor((low + high) / 2).exp())


@torch.no_grad()
def calibrate(
    model: MultimodalClassifier, outputs: Outputs, labels: Tensor, features: Features | None = None
) -> None:
    """Fit the model's temperatures on validation outputs: one a modality, one a number of modalities present.

    A modality's temperature sees the rows that have it, a joint expert's those that have all. Modalities
    that ``too_few`` rows have share one, fitted on what every modality says of every row. The
    temperature for predictions that rest on k modalities is fitted on what fusing subsets of k modalities
    gives on these rows; for joint fusion, on the rows with exactly k or, where there is none, on what the
    head makes of subsets of their ``features``.

    One toss-up is added to the rows: N validation samples without a mistake do not prove that the chance of
    one is far below 1 / N, and without it they would ask for boundless confidence.

    Args:
        model: Its buffers of temperatures are set.
        outputs: What its modalities say of N validation samples.
        labels: [N] class numbers.
        features: Of the same samples; only joint fusion needs them, and is without them calibrated for the
            numbers of modalities that rows have.
    """
    for i, mine in enumerate(outputs.present):
        model.temperatures[i] = fit_temperature(outputs.logits[i, mine], labels[mine], toss_ups=1)
    if few := too_few(outputs.present):
        everything = labels.expand_as(outputs.present)[outputs.present]
        model.temperatures[few] = fit_temperature(outputs.logits[outputs.present], everything, toss_ups=1)
    if model.head.is_expert:
        assert outputs.joint is not None
        whole = outputs.present.all(0)
        model.joint_temperature.fill_(fit_temperature(outputs.joint[whole], labels[whole], toss_ups=1))
    for k in range(1, len(model.modalities) + 1):
        views = [*_views(model, outputs, labels, features, k)]
        if views:
            logits = torch.cat([model.fused(some, model.fusion).logits for some, _ in views])
            targets = torch.cat([mine for _, mine in views])
            model.confidence_temperatures[k - 1] = fit_temperature(logits, targets, toss_ups=1)


def too_few(present: Tensor) -> list[int]:
    """Return the modalities of [M, N] bool that fewer than ``LEAST_ROWS`` rows have; of one modality none."""
    return [] if len(present) == 1 else [i for i, mine in enumerate(present) if int(mine.sum()) < LEAST_ROWS]


def _views(
    model: MultimodalClassifier, outputs: Outputs, labels: Tensor, features: Features | None, k: int
) -> Iterator[tuple[Outputs, Tensor]]:
    """Yield outputs that rest on k modalities, and their labels."""
    joint = model.fusion == "joint"
    if joint and (rows := outputs.present.sum(0) == k).any():
        yield _at(outputs, rows, outputs.present), labels[rows]
        return
    for subset in some_subsets(len(outputs.present), k):
        rows = outputs.present[list(subset)].all(0)
        if not rows.any():
            continue
        present = torch.zeros_like(outputs.present)
        present[list(subset)] = rows
        if not joint:
            yield _at(outputs, rows, present), labels[rows]
        elif features is not None:
            some, _ = features.restricted(model.modalities, present)
            yield model.outputs_of(some.of, some.rows, len(some.labels)), some.labels


def _at(outputs: Outputs, rows: Tensor, present: Tensor) -> Outputs:
    """Return the outputs of some rows [N] bool, of the modalities ``present`` [M, N] alone."""
    joint = outputs.joint[rows] if outputs.joint is not None else None
    return Outputs(outputs.logits[:, rows], present[:, rows], joint)
