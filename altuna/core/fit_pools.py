"""How much each expert of a modality counts: the temperatures and weights of pools, on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import torch
from torch import Tensor

from altuna.core.calibration import MIN_ROWS
from altuna.core.evidence import choose_weights
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features
from altuna.core.pool import Pool
from altuna.core.softmax import log_softmax
from altuna.core.temperature import fit_temperature


@torch.no_grad()
def fit_pools(
    parts: Sequence[tuple[MultimodalClassifier, Features]], groups: Tensor | None = None
) -> list[tuple[MultimodalClassifier, Features]]:
    """Fit the pool of each modality, on the samples that have it, and drop estimators of weight 0.

    Each expert, the head and every estimator, is calibrated by a temperature of its own. Then the weights are
    chosen by ``choose_weights``. Their targets are 1 / S for each of the S experts of the subset that, so
    weighted, has the least validation loss, and 0 for the others: experts with the same input are not
    independent, and one that is much worse than the others must not count where validation has few rows.
    With fewer than ``MIN_ROWS`` rows the head stays alone. ``calibrate`` follows, for the modalities and
    their fusion.

    Args:
        parts: Each classifier, one or one for each fold, and the features of samples that it was not trained
            on, on its device. The pools of all have the same temperatures and weights. A modality without a
            pool in one of them loses those of the others.
        groups: The number of the group of each of all samples [N], see ``choose_weights``.

    Returns:
        The parts, without the estimates of dropped estimators.

    Example:
        >>> from altuna.core.estimators import Logistic
        >>> model = MultimodalClassifier({"a": torch.nn.Linear(2, 4)}, num_classes=2)
        >>> model.set_pool("a", Pool({"logistic": Logistic(inputs=2, classes=2)}))
        >>> cells, labels = torch.tensor([[-2.0, 0.0], [2.0, 0.0]] * 50), torch.tensor([0, 1] * 50)
        >>> model.pool("a").members["logistic"].weight[1, 0] = 1.0  # it tells the classes apart
        >>> model.head.linear.weight.data.zero_().sum()  # the head does not
        tensor(0.)
        >>> features = Features({"a": model.encode_all("a", cells)}, {"a": torch.arange(100)}, labels)
        >>> [(_, left)] = fit_pools([(model, features)])
        >>> left.of["a"].shape, [round(weight) for weight in model.pool("a").weights.tolist()]
        (torch.Size([100, 6]), [0, 1])
    """
    for m in parts[0][0].modalities:
        pools = [model.pool(m) for model, _ in parts]
        if all(pools):
            _fit_together(m, parts, groups)
        kept = [_kept(pool) if all(pools) else [] for pool in pools]
        parts = [
            (model, _without(model, features, m, some))
            for (model, features), some in zip(parts, kept, strict=True)
        ]
        for (model, _), pool, some in zip(parts, pools, kept, strict=True):
            model.set_pool(m, pool.only(some) if pool and some else None)
    return [*parts]


def pool_facts(model: MultimodalClassifier) -> dict[str, dict[str, dict[str, float]]]:
    """Return the temperature and weight of each expert (``Pool.facts``) of the modalities that have a pool.

    Example:
        >>> model = MultimodalClassifier({"a": torch.nn.Linear(2, 4)}, num_classes=2)
        >>> model.set_pool("a", Pool({"logistic": torch.nn.Identity()}))
        >>> pool_facts(model)["a"]["network"]
        {'temperature': 1.0, 'weight': 1.0}
    """
    return {m: pool.facts() for m in model.modalities if (pool := model.pool(m))}


def _kept(pool: Pool | None) -> list[int]:
    """Return the numbers of the estimators that have a weight."""
    return [i for i in range(pool.size) if pool.weights[1 + i] > 0] if pool else []


def _without(model: MultimodalClassifier, features: Features, modality: str, kept: list[int]) -> Features:
    """Return features with only the estimates of some of a modality's estimators."""
    pool = model.pool(modality)
    if pool is None or modality not in features.of:
        return features
    before = features.of[modality]
    own = before.shape[1] - pool.size * model.num_classes
    beside, estimates = before[:, :own], before[:, own:]
    left = estimates.view(len(before), pool.size, model.num_classes)[:, kept].flatten(1)
    return features._replace(of=features.of | {modality: torch.cat([beside, left], 1)})


def _fit_together(
    modality: str, parts: Sequence[tuple[MultimodalClassifier, Features]], groups: Tensor | None
) -> None:
    """Fit the pools that a modality has in all models to the samples of all parts that have it."""
    said, labels, rows, start = [], [], [], 0
    for model, features in parts:
        pool = model.pool(modality)
        if pool and modality in features.of:
            part, mine = model.split(modality, features.of[modality]), features.rows[modality]
            assert part.estimates is not None
            said.append(pool.opinions(model.classify(modality, part.own), part.estimates))
            labels.append(features.labels[mine])
            rows.append(mine + start)
        start += len(features.labels)
    if sum(map(len, labels)) < MIN_ROWS:  # nothing shows that estimators are of use
        return
    prior = torch.stack([model.prior for model, _ in parts]).mean(0)
    of_rows = groups[torch.cat(rows)] if groups is not None else None
    for model, _ in parts:
        if pool := model.pool(modality):
            _fit(pool, torch.cat(said, 1), torch.cat(labels), prior, of_rows)


def _fit(pool: Pool, said: Tensor, labels: Tensor, prior: Tensor, groups: Tensor | None) -> None:
    """Fit a pool to what its experts say [1 + E, n, C]."""
    for i, logits in enumerate(said):
        pool.temperatures[i] = fit_temperature(logits, labels, 1, prior)
    log_prior = prior.log().double()
    scaled = (log_softmax(said.double()) - log_prior) / pool.temperatures.double().view(-1, 1, 1)
    evidence = log_softmax(log_prior + scaled) - log_prior
    target = _best_subset(evidence, labels, log_prior)
    pool.weights.copy_(choose_weights(evidence, labels, log_prior, groups, target))


def _best_subset(evidence: Tensor, labels: Tensor, log_prior: Tensor) -> Tensor:
    """Return equal weights [E], of sum 1, of the subset of experts with the least loss; 0 for the others."""
    experts, found = range(len(evidence)), []
    for subset in chain.from_iterable(combinations(experts, size + 1) for size in experts):
        weights = torch.zeros(len(evidence), dtype=evidence.dtype)
        weights[[*subset]] = 1 / len(subset)
        fused = log_softmax(log_prior + evidence[[*subset]].mean(0))
        found.append((-float(fused.gather(1, labels.unsqueeze(1)).mean()), weights))
    _, best = min(found, key=lambda one: one[0])  # of equal ones the first: the head, if it is among them
    return best
