"""Temperature scaling (Guo et al., 2017, arXiv 1706.04599), per modality and after fusion."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from altuna.core.fusion import rule_of
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs
from altuna.core.subsets import sample_subsets

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 1e4
MIN_ROWS = 20  # a modality with fewer validation rows has no temperature of its own


def fit_temperature(logits: Tensor, labels: Tensor, pseudo_count: float = 0.0) -> float:
    r"""Return the temperature that minimises the cross-entropy of ``logits / T``.

    In :math:`\beta = 1 / T` the loss is convex with derivative
    :math:`\mathrm{mean}(E_{softmax(\beta z)}[z] - z_y)`, so bisection on its sign is exact and
    deterministic. T is kept in [0.05, 10000]: perfect validation predictions would ask for 0.

    Args:
        logits: [N, C]; 1 is returned when N = 0.
        labels: [N] class numbers.
        pseudo_count: Label smoothing as a pseudo-count: as if so many more rows had been seen, with each
            class equally often (smoothing by ``pseudo_count / (N + pseudo_count)``).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[8.0, 0.0]] * 10)  # sure of class 0, right in 7 of 10
        >>> round(fit_temperature(logits, torch.tensor([0] * 7 + [1] * 3)), 2)
        9.44
    """
    if not len(logits):
        return 1.0
    z = logits.detach().cpu().double()  # some devices have no float64
    z = z - z.amax(1, keepdim=True)
    smoothing = pseudo_count / (len(z) + pseudo_count)
    target = (1 - smoothing) * z.gather(1, labels.cpu().unsqueeze(1)).mean() + smoothing * z.mean()
    low, high = torch.tensor(MIN_TEMPERATURE).log().item(), torch.tensor(MAX_TEMPERATURE).log().item()
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
    """Fit the model's temperatures on validation outputs: per modality and per number of modalities.

    A modality's temperature is fitted on the rows that have it, a joint expert's on those that have all.
    Modalities that fewer than ``MIN_ROWS`` rows have share one, fitted on the logits of all modalities. The
    temperature for predictions from k modalities is fitted on the fused logits of subsets of k modalities;
    for joint fusion, on the rows with exactly k or, where there are none, on the joint logits of subsets of
    their ``features``.

    Every fit has a pseudo-count of 1: N validation samples without a mistake do not show that the probability
    of one is far below 1 / N, and without it they would ask for unlimited confidence.

    Args:
        model: Its buffers of temperatures are set.
        outputs: Its outputs of N validation samples.
        labels: Class numbers [N].
        features: Features of the same samples, needed by joint fusion alone; without them it is calibrated
            only for the numbers of modalities that rows have.

    Example:
        >>> import torch
        >>> from altuna.core.model import MultimodalClassifier
        >>> model = MultimodalClassifier({name: torch.nn.Linear(2, 4) for name in "ab"}, num_classes=2)
        >>> logits = torch.tensor([[8.0, 0.0]] * 30).expand(2, -1, -1)
        >>> present = torch.ones(2, 30, dtype=torch.bool)
        >>> calibrate(model, Outputs(logits, present, joint=None), torch.tensor([0, 0, 1] * 10))
        >>> bool((model.temperatures > 1).all())  # the logits were too sure
        True
    """
    for i, mine in enumerate(outputs.present):
        model.temperatures[i] = fit_temperature(outputs.logits[i, mine], labels[mine], pseudo_count=1)
    if few := modalities_with_few_rows(outputs.present):
        targets = labels.expand_as(outputs.present)[outputs.present]
        model.temperatures[few] = fit_temperature(outputs.logits[outputs.present], targets, pseudo_count=1)
    if model.head.is_expert:
        assert outputs.joint is not None
        complete = outputs.present.all(0)
        temperature = fit_temperature(outputs.joint[complete], labels[complete], pseudo_count=1)
        model.joint_temperature.fill_(temperature)
    rule = rule_of(model.fusion)
    for k in range(1, len(model.modalities) + 1):
        views = [*_views(model, outputs, labels, features, k)]
        if views:
            logits = torch.cat([model.opinions(some).fuse(rule).logits for some, _ in views])
            targets = torch.cat([mine for _, mine in views])
            model.confidence_temperatures[k - 1] = fit_temperature(logits, targets, pseudo_count=1)


def modalities_with_few_rows(present: Tensor) -> list[int]:
    """Return the numbers of the modalities that fewer than ``MIN_ROWS`` rows have; none if there is only one.

    Args:
        present: Which rows have a modality [M, N] bool.

    Example:
        >>> import torch
        >>> modalities_with_few_rows(torch.tensor([[True] * 30, [True] * 5 + [False] * 25]))
        [1]
    """
    return [] if len(present) == 1 else [i for i, mine in enumerate(present) if int(mine.sum()) < MIN_ROWS]


def _views(
    model: MultimodalClassifier, outputs: Outputs, labels: Tensor, features: Features | None, k: int
) -> Iterator[tuple[Outputs, Tensor]]:
    """Yield outputs of samples with k modalities, and their labels."""
    joint = rule_of(model.fusion).joint == "alone"
    if joint and (rows := outputs.present.sum(0) == k).any():
        yield _at(outputs, rows, outputs.present), labels[rows]
        return
    for subset in sample_subsets(len(outputs.present), k):
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
    """Return the outputs of some rows [N] bool, with only the modalities ``present`` [M, N]."""
    joint = outputs.joint[rows] if outputs.joint is not None else None
    return Outputs(outputs.logits[:, rows], present[:, rows], joint)
