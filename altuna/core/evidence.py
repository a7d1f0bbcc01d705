"""How much of each expert's evidence counts: the weights of the fusion rule ``evidence``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Precisions of the Gaussian prior that draws weights to their targets; inf: they are equal to them.
STRENGTHS = (10.0, 30.0, 100.0, 300.0, math.inf)
FOLDS = 5
MAX_ROWS = 10_000  # validation rows on which weights are fitted
STEPS = 50  # of Newton's method, of which some ten are enough


def choose_weights(
    evidence: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    groups: Tensor | None = None,
    target: Tensor | None = None,
) -> Tensor:
    r"""Return the weights [E] in [0, 1] that validation data support, the targets where they do not tell.

    An expert's evidence is what it says beyond the prior, :math:`e_m = \log p_m - \log\pi`. Experts that are
    independent given the class have weight 1 (naive Bayes). Of two that say the same, each deserves half. The
    weights maximise the likelihood of the labels under :math:`\log\pi + \sum_m a_m e_m`, less
    :math:`\frac{s}{2} \sum_m (a_m - t_m)^2`. The strength s is the largest of ``STRENGTHS`` whose loss on
    held-out folds exceeds the least one by at most the standard error of this difference (Breiman et al.,
    1984, the one-standard-error rule, by paired differences).

    Args:
        evidence: [E, N, C] of calibrated experts, zeros where a sample lacks one.
        labels: Class numbers [N].
        log_prior: Logarithm of the class prior [C].
        groups: The number of each sample's group [N]. Samples of one group are held out together, if there
            are ``FOLDS`` groups or more: fewer cannot tell how different groups are.
        target: The targets t of the weights [E]; 1 when None.

    Example:
        >>> import torch
        >>> draws = torch.Generator().manual_seed(0)
        >>> z = 2 * torch.randn(2000, 3, generator=draws, dtype=torch.float64)
        >>> labels = torch.multinomial(z.softmax(1), 1, generator=draws).flatten()
        >>> uniform = torch.full((3,), 1 / 3, dtype=torch.float64).log()
        >>> twice = (z.log_softmax(1) - uniform).expand(2, -1, -1)  # one expert, given twice
        >>> round(float(choose_weights(twice, labels, uniform).sum()), 1)
        1.0
    """
    target = torch.ones(len(evidence), dtype=torch.float64) if target is None else target
    rows = torch.arange(0, len(labels), max(1, -(-len(labels) // MAX_ROWS)))
    e, y, log_prior = evidence.cpu()[:, rows].double(), labels.cpu()[rows], log_prior.cpu().double()
    number = fold_numbers(len(y), groups.cpu()[rows] if groups is not None else None)
    fold = number % FOLDS
    if len(e) == 1 or len({*fold.tolist()}) < FOLDS:
        return target
    losses = torch.zeros(len(STRENGTHS), len(y), dtype=torch.float64)
    for one in range(FOLDS):
        out = fold == one
        weights = target
        for i, strength in reversed([*enumerate(STRENGTHS)]):  # each starts from the one before
            weights = fit_weights(e[:, ~out], y[~out], log_prior, strength, target, weights)
            losses[i, out] = -_log_likelihood(e[:, out], y[out], log_prior, weights)
    return fit_weights(e, y, log_prior, STRENGTHS[choose_strength(losses, number)], target)


def fold_numbers(rows: int, groups: Tensor | None) -> Tensor:
    """Return the number [N] of each row's group, or of each row where there are fewer than ``FOLDS`` groups.

    The remainders of the numbers by ``FOLDS`` are the folds.

    Example:
        >>> import torch
        >>> fold_numbers(6, torch.tensor([7, 7, 8, 9, 10, 11])).tolist(), fold_numbers(2, None).tolist()
        ([0, 0, 1, 2, 3, 4], [0, 1])
    """
    if groups is not None and len(torch.unique(groups)) >= FOLDS:
        number: Tensor = torch.unique(groups, return_inverse=True)[1]
        return number
    return torch.arange(rows)


def choose_strength(losses: Tensor, number: Tensor) -> int:
    """Return the last of K strengths whose held-out loss exceeds the least by at most its standard error.

    Args:
        losses: Of each row, held out [K, N].
        number: The number of each row's group [N], see ``fold_numbers``.

    Example:
        >>> import torch
        >>> losses = torch.tensor([[1.0, 2.0, 3.0], [1.1, 1.9, 3.05], [9.0, 9.0, 9.0]])
        >>> choose_strength(losses, torch.arange(3))
        1
    """
    excess = losses - losses[losses.sum(1).argmin()]
    error = _standard_error(excess, number)
    return max(i for i in range(len(losses)) if excess[i].mean() <= error[i])


def fit_weights(
    evidence: Tensor,
    labels: Tensor,
    log_prior: Tensor,
    strength: float,
    target: Tensor,
    start: Tensor | None = None,
) -> Tensor:
    """Return the weights [E] in [0, 1] of one strength, see ``choose_weights``, by projected Newton steps.

    The loss is convex and its Hessian known, so that a few steps reach the minimum, always the same one.

    Example:
        >>> import torch
        >>> right = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> evidence = torch.stack([right, -right])  # of an expert that is right, and of one that is wrong
        >>> log_prior = torch.tensor([0.5, 0.5]).log()
        >>> fit_weights(evidence, torch.tensor([0, 1]), log_prior, strength=0.1, target=torch.ones(2))
        tensor([1., 0.])
    """
    if math.isinf(strength):
        return target
    weights = target if start is None else start
    loss = _loss(evidence, labels, log_prior, strength, target, weights)
    for _ in range(STEPS):
        gradient, hessian = _derivatives(evidence, labels, log_prior, strength, target, weights)
        held = ((weights <= 0) & (gradient > 0)) | ((weights >= 1) & (gradient < 0))
        free = (~held).nonzero().flatten()
        if not len(free) or gradient[free].abs().max() < 1e-7 * len(labels):
            break
        step = torch.zeros_like(weights)
        step[free] = torch.linalg.solve(hessian[free][:, free], gradient[free])
        for halving in range(30):
            new = (weights - step / 2**halving).clamp(0, 1)
            lower = _loss(evidence, labels, log_prior, strength, target, new)
            if lower < loss:
                break
        else:
            break
        weights, loss = new, lower
    return weights


def _fused(evidence: Tensor, log_prior: Tensor, weights: Tensor) -> Tensor:
    """Return fused log-probabilities [N, C]."""
    return (log_prior + (weights @ evidence.flatten(1)).view(evidence.shape[1:])).log_softmax(1)


def _log_likelihood(evidence: Tensor, labels: Tensor, log_prior: Tensor, weights: Tensor) -> Tensor:
    """Return the log-probability of each label [N]."""
    return _fused(evidence, log_prior, weights).gather(1, labels.unsqueeze(1)).squeeze(1)


def _loss(
    evidence: Tensor, labels: Tensor, log_prior: Tensor, strength: float, target: Tensor, weights: Tensor
) -> Tensor:
    likelihood = _log_likelihood(evidence, labels, log_prior, weights).sum()
    return strength / 2 * (weights - target).square().sum() - likelihood


def _derivatives(
    evidence: Tensor, labels: Tensor, log_prior: Tensor, strength: float, target: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return gradient [E] and Hessian [E, E] of the loss."""
    p = _fused(evidence, log_prior, weights).exp()
    expected = (p * evidence).sum(-1)  # [E, N]
    own = evidence[:, torch.arange(len(labels)), labels]
    gradient = (expected - own).sum(1) + strength * (weights - target)
    moments = (p * evidence).flatten(1) @ evidence.flatten(1).T
    return gradient, moments - expected @ expected.T + strength * torch.eye(len(weights), dtype=p.dtype)


def _standard_error(values: Tensor, groups: Tensor) -> Tensor:
    """Return the standard error of means over N values [K, N], of which those of a group go together."""
    count = int(groups.max()) + 1
    sums = values.new_zeros(len(values), count).index_add_(1, groups, values - values.mean(1, keepdim=True))
    return sums.square().sum(1).mul(count / max(1, count - 1)).sqrt() / values.shape[1]
