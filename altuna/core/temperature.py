"""The calibration of one expert: a temperature (Guo et al., 2017, arXiv 1706.04599), and a class bias."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from altuna.core.evidence import FOLDS, choose_strength, fold_numbers
from altuna.core.softmax import log_softmax

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 1e4
# Precisions of the Gaussian prior of a bias; inf: there is none.
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, math.inf)
MAX_ROWS = 5_000  # rows on which a bias is fitted
MAX_CLASSES = 100  # with more there is no bias: of each of them, validation has few rows
STEPS = 50  # of Newton's method, of which some ten are enough


def fit_temperature(
    logits: Tensor, labels: Tensor, pseudo_count: float = 0.0, prior: Tensor | None = None
) -> float:
    r"""Return the temperature that minimises the cross-entropy of calibrated logits.

    These are :math:`\log\pi + \beta e` with :math:`\beta = 1 / T`, the class prior :math:`\pi`, and what the
    logits say beyond it, :math:`e = \log\mathrm{softmax}(z) - \log\pi`; with a uniform prior they are
    :math:`z / T`. In :math:`\beta` the loss is convex with derivative
    :math:`\mathrm{mean}(E_{softmax}[e] - e_y)`, whose zero is found by Newton's method within a bracket. T is
    kept in [0.05, 10000]: perfect validation predictions would ask for 0, useless ones for infinity.

    Args:
        logits: [N, C]; 1 is returned when N = 0.
        labels: [N] class numbers.
        pseudo_count: As if so many more rows had been seen, average ones whose label is drawn from the prior.
        prior: Class prior [C]; uniform when None.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[8.0, 0.0]] * 10)  # sure of class 0, right in 7 of 10
        >>> round(fit_temperature(logits, torch.tensor([0] * 7 + [1] * 3)), 2)
        9.44
    """
    if not len(logits):
        return 1.0
    z = log_softmax(logits.detach().cpu().double())  # some devices have no float64
    pi = torch.full_like(z[0], 1 / z.shape[1]) if prior is None else prior.detach().cpu().double()
    log_prior = (pi / pi.sum()).log()
    beyond = z - log_prior
    beyond = beyond - beyond.amax(1, keepdim=True)
    smoothing = pseudo_count / (len(z) + pseudo_count)
    own = beyond.gather(1, labels.cpu().unsqueeze(1)).mean()
    target = (1 - smoothing) * own + smoothing * (beyond @ log_prior.exp()).mean()
    # By the logarithm of beta, which ranges over five orders of magnitude.
    low, high = -math.log(MAX_TEMPERATURE), -math.log(MIN_TEMPERATURE)
    if not (beyond != 0).any():
        return 1.0  # the same for all temperatures
    at = 0.0
    for _ in range(60):
        beta = math.exp(at)
        p = (log_prior + beta * beyond).softmax(1)
        expected = (p * beyond).sum(1)
        slope = float(expected.mean() - target)  # above 0: overconfident at this beta
        curvature = float(((p * beyond.square()).sum(1) - expected.square()).mean())
        low, high = (low, at) if slope > 0 else (at, high)
        step = slope / (beta * curvature) if curvature > 0 else math.inf
        new = at - step
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - at) < 1e-12 or high - low < 1e-12:
            break
        at = new
    return math.exp(-at)


def fit_temperature_and_bias(
    logits: Tensor, labels: Tensor, prior: Tensor, groups: Tensor | None = None
) -> tuple[float, Tensor]:
    r"""Return the temperature T and the class bias b [C] of calibrated logits, with a pseudo-count of 1.

    These are :math:`\log\pi + \beta e + b` with the terms of ``fit_temperature`` (vector scaling, Guo et al.,
    2017, with one scale). A temperature alone cannot calibrate an expert whose logits do not start from the
    prior. Those of a head that was hardly trained are nearly equal: then e is mostly :math:`-\log\pi`, and
    with a small T, which such logits need, frequent classes could never be predicted.

    The loss has the penalty :math:`\frac{s}{2} |b|^2`. Its strength s is chosen by cross-validation as in
    ``altuna.core.evidence.choose_weights``; infinity, a bias of 0, is among the choices. In the place of
    :math:`\pi`, the fit has the frequencies of the labels: classes that validation has more often than
    training are no fault of the expert, and would be counted once for each modality. The bias is 0 where the
    rows are of a few groups: what the rows of a group have in common is no fault of the expert either.

    Args:
        logits: [N, C].
        labels: Class numbers [N].
        prior: Class prior [C].
        groups: The number of each row's group [N].

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(900) % 3
        >>> honest = 2 * torch.eye(3)[labels] + torch.randn(900, 3, generator=draws)
        >>> tilted = honest + torch.tensor([4.0, 0.0, 0.0])  # always for the first class
        >>> _, bias = fit_temperature_and_bias(tilted, labels, torch.full((3,), 1 / 3))
        >>> bool(bias[0] < bias[1] - 3)
        True
    """
    temperature = fit_temperature(logits, labels, 1, prior)
    bias = torch.zeros(len(prior), dtype=torch.float64)
    few_groups = groups is not None and 1 < len(torch.unique(groups)) < FOLDS
    if few_groups or len(labels) < FOLDS or not 1 < len(prior) <= MAX_CLASSES:
        return temperature, bias
    rows = torch.arange(0, len(labels), max(1, -(-len(labels) // MAX_ROWS)))
    y, number = (
        labels.cpu()[rows],
        fold_numbers(len(rows), groups.cpu()[rows] if groups is not None else None),
    )
    pi = prior.detach().cpu().double()
    beyond = log_softmax(logits.detach().cpu()[rows].double()) - (pi / pi.sum()).log()
    seen = torch.bincount(y, minlength=len(pi)) + pi / pi.sum()
    strength = _choose(beyond, y, seen / seen.sum(), number)
    if math.isinf(strength):
        return temperature, bias
    found = _fit(beyond, y, seen / seen.sum(), strength, _without_bias(beyond, y, seen / seen.sum()))
    return 1 / float(found[0]), found[1:]


def _choose(beyond: Tensor, labels: Tensor, prior: Tensor, number: Tensor) -> float:
    """Return the strength that rows support, see ``fold_numbers`` for their ``number`` [N]."""
    fold = number % FOLDS
    losses = torch.zeros(len(STRENGTHS), len(labels), dtype=torch.float64)
    for out in (fold == one for one in range(FOLDS)):
        scaling = _without_bias(beyond[~out], labels[~out], prior)
        for i, strength in reversed([*enumerate(STRENGTHS)]):  # each starts from the one before
            scaling = _fit(beyond[~out], labels[~out], prior, strength, scaling)
            losses[i, out] = -_scaled(beyond[out], prior, scaling).gather(1, labels[out, None]).squeeze(1)
    return STRENGTHS[choose_strength(losses, number)]


def _without_bias(beyond: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """Return the scale, the inverse of the temperature, and a bias of 0 [1 + C]."""
    scale = 1 / fit_temperature(beyond + prior.log(), labels, 1, prior)
    return torch.cat([prior.new_tensor([scale]), torch.zeros_like(prior)])


def _fit(beyond: Tensor, labels: Tensor, prior: Tensor, strength: float, start: Tensor) -> Tensor:
    """Return the scale and the bias [1 + C] of one strength, by projected Newton steps."""
    if math.isinf(strength):
        return start
    targets = torch.nn.functional.one_hot(labels, len(prior)) + prior / len(labels)
    scaling, loss = start, _loss(beyond, targets, prior, strength, start)
    for _ in range(STEPS):
        gradient, hessian = _derivatives(beyond, targets, prior, strength, scaling)
        held = torch.zeros_like(scaling, dtype=torch.bool)
        held[0] = (
            _bounded(scaling - gradient)[0] == scaling[0]
        )  # at a bound, which the gradient points across
        free = (~held).nonzero().flatten()
        if gradient[free].abs().max() < 1e-7 * len(labels):
            break
        step = torch.zeros_like(scaling)
        step[free] = torch.linalg.solve(hessian[free][:, free], gradient[free])
        for halving in range(30):
            new = _bounded(scaling - step / 2**halving)
            lower = _loss(beyond, targets, prior, strength, new)
            if lower < loss:
                break
        else:
            break
        scaling, loss = new, lower
    return scaling


def _bounded(scaling: Tensor) -> Tensor:
    """Return a scaling whose temperature is within bounds."""
    return torch.cat([scaling[:1].clamp(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE), scaling[1:]])


def _scaled(beyond: Tensor, prior: Tensor, scaling: Tensor) -> Tensor:
    """Return calibrated log-probabilities [N, C]."""
    return log_softmax(prior.log() + scaling[0] * beyond + scaling[1:])


def _loss(beyond: Tensor, targets: Tensor, prior: Tensor, strength: float, scaling: Tensor) -> Tensor:
    penalty = strength / 2 * scaling[1:].square().sum()
    return penalty - (targets * _scaled(beyond, prior, scaling)).sum()


def _derivatives(
    beyond: Tensor, targets: Tensor, prior: Tensor, strength: float, scaling: Tensor
) -> tuple[Tensor, Tensor]:
    """Return gradient [1 + C] and Hessian [1 + C, 1 + C] of the loss."""
    mass = 1 + 1 / len(targets)  # of a row of targets
    p = _scaled(beyond, prior, scaling).exp()
    error = mass * p - targets
    gradient = torch.cat([(error * beyond).sum().view(1), error.sum(0) + strength * scaling[1:]])
    deviation = p * (beyond - (p * beyond).sum(1, keepdim=True))
    mixed = torch.cat([(deviation * beyond).sum().view(1), deviation.sum(0)])
    hessian = torch.zeros(len(scaling), len(scaling), dtype=p.dtype)
    hessian[1:, 1:] = mass * (p.sum(0).diag() - p.T @ p) + strength * torch.eye(len(prior), dtype=p.dtype)
    hessian[0] = hessian[:, 0] = mass * mixed
    return gradient, hessian
