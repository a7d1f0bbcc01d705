"""Fit estimators on the vectors of a training's modalities, as experts beside their heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altuna.core.estimators import LEAF, MAX_DEPTH, MAX_VALUE, Estimator, Forest, Logistic
from altuna.core.model import MultimodalClassifier
from altuna.core.pool import Pool
from altuna.data.dataset import MultimodalDataset
from altuna.training.config import FitConfig
from altuna.training.option_types import estimators_of

TREES = 200
LEAF_ROWS = 2  # training rows of a leaf, at least
MAX_LEAVES = 4_000  # of a tree, about: with more training rows, leaves have more of them
MAX_ROWS = 200_000  # training rows that estimators are fitted on
STRENGTH = 1.0  # inverse of the L2 penalty of a logistic regression


def estimator_remarks(dataset: MultimodalDataset, config: FitConfig, fusion: str) -> list[str]:
    """Return what is worth knowing of the option ``estimators`` before the training.

    Args:
        dataset: Training samples.
        config: The options.
        fusion: The model's fusion rule.
    """
    if not estimators_of(config.estimators):
        return []
    found = []
    if left := [m for m in dataset.arrays if m not in vector_modalities(dataset)]:
        names = ", ".join(map(repr, left))
        found.append(f"estimators={config.estimators}: not for {names}, whose cells are not vectors")
    if fusion == "joint":
        found.append(f"estimators={config.estimators}: the fusion rule 'joint' does not use them")
    return found


def vector_modalities(dataset: MultimodalDataset) -> list[str]:
    """Return the modalities whose cells are vectors: of numbers, or stored features of frozen encoders."""
    return [m for m, a in dataset.arrays.items() if len(a.shape) == 2 and a.dtype.kind == "f"]


def fit_estimators(
    model: MultimodalClassifier, dataset: MultimodalDataset, names: Sequence[str], seed: int
) -> None:
    """Give each modality of vectors a pool of estimators, fitted on the samples that have it.

    The weights of the pools are fitted later, by ``altuna.core.fit_pools``, on other samples. A modality
    whose samples are all of one class has nothing to learn from, and gets no estimators.

    Args:
        model: Its pools are set. Its class prior smooths the estimators' probabilities.
        dataset: Training samples.
        names: Names of estimators, among ``FITS``.
        seed: Random seed.
    """
    for i, m in enumerate(vector_modalities(dataset) if names else []):
        position = dataset.position[m]
        rows = np.flatnonzero(position >= 0)
        if len(rows) > MAX_ROWS:
            rows = np.sort(np.random.default_rng([seed, i]).choice(rows, MAX_ROWS, replace=False))
        labels = dataset.labels[rows]
        if len(np.unique(labels)) < 2:
            continue
        vectors = dataset.arrays[m].take(position[rows], 0)
        draws = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
        fitted = {
            name: fit(vectors, labels, model.prior, draws) for name, fit in FITS.items() if name in names
        }
        model.set_pool(m, Pool(fitted).to(model.prior.device))


def fit_extra_trees(
    vectors: NDArray[Any],
    labels: NDArray[np.int64],
    prior: Tensor,
    seed: int,
    *,
    trees: int = TREES,
    leaf_rows: int = LEAF_ROWS,
) -> Forest:
    """Fit extremely randomised trees (Geurts et al., 2006).

    Args:
        vectors: Training vectors [n, d]; NaN is a missing number.
        labels: Class numbers [n], of two classes at least.
        prior: Class prior [C].
        seed: Random seed.
        trees: Number of trees.
        leaf_rows: Training rows of a leaf, at least; more where a tree would have over ``MAX_LEAVES`` leaves.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # takes a second

    start = _prepared(Logistic(vectors.shape[1], len(prior)), vectors, prior)
    fitted = ExtraTreesClassifier(
        trees,
        min_samples_leaf=max(leaf_rows, len(labels) // MAX_LEAVES),
        max_depth=MAX_DEPTH,
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    ).fit(_complete(start, vectors), labels)
    return _prepared(forest_of(fitted, len(prior)), vectors, prior)


def fit_logistic(
    vectors: NDArray[Any],
    labels: NDArray[np.int64],
    prior: Tensor,
    seed: int,
    *,
    strength: float = STRENGTH,
) -> Logistic:
    """Fit a logistic regression on standardised numbers; the arguments are those of ``fit_extra_trees``.

    ``strength`` is the inverse of the L2 penalty.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second

    made = _prepared(Logistic(vectors.shape[1], len(prior)), vectors, prior)
    known = torch.from_numpy(_complete(made, vectors)).double()
    made.shift.copy_(known.mean(0))
    deviation = known.std(0, correction=0)
    # A constant number is 0 everywhere, its deviation nothing but rounding.
    constant = deviation <= 1e-6 * known.abs().amax(0)
    made.scale.copy_(torch.where(constant, 1, deviation).clamp_min(1 / MAX_VALUE))
    inputs = made.standardised(known.float()).double().numpy()
    fitted = LogisticRegression(C=strength, max_iter=1000, random_state=seed).fit(inputs, labels)
    set_coefficients(made, fitted)
    return made


def forest_of(fitted: Any, classes: int) -> Forest:
    """Return scikit-learn's fitted ensemble of decision trees as tensors.

    Args:
        fitted: An ``ExtraTreesClassifier`` or ``RandomForestClassifier``, fitted on class numbers.
        classes: C, at least those that it knows.
    """
    trees = [one.tree_ for one in fitted.estimators_]
    counts = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *counts[:-1]])
    depth = max(tree.max_depth for tree in trees)
    made = Forest(fitted.n_features_in_, classes, trees=len(trees), nodes=sum(counts), depth=depth)
    made.roots.copy_(torch.from_numpy(roots))
    for root, count, tree in zip(roots, counts, trees, strict=True):
        own = slice(int(root), int(root + count))
        index = np.arange(count)
        leaf = tree.children_left < 0
        assert (leaf | (tree.children_left == index + 1)).all()  # depth first
        made.right[own] = torch.from_numpy(root + np.where(leaf, index, tree.children_right))
        made.feature[own] = torch.from_numpy(np.where(leaf, 0, tree.feature))
        made.threshold[own] = torch.from_numpy(np.where(leaf, LEAF, _rounded_down(tree.threshold)))
        value = tree.value[:, 0]
        shares = torch.zeros(int(count), classes)
        shares[:, torch.from_numpy(fitted.classes_)] = torch.from_numpy(
            value / value.sum(1, keepdims=True)
        ).float()
        made.value[own] = shares
    return made


def set_coefficients(made: Logistic, fitted: Any) -> None:
    """Copy the coefficients of scikit-learn's ``LogisticRegression``, fitted on class numbers."""
    weight, bias = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(weight) == 1:  # of two classes, only the second has coefficients
        weight, bias = torch.cat([0 * weight, weight]), torch.cat([0 * bias, bias])
    made.bias.fill_(ABSENT)
    made.weight.zero_()
    made.weight[fitted.classes_], made.bias[fitted.classes_] = weight.float(), bias.float()


ABSENT = -1e4  # logit of a class that no training row has
FITS: Mapping[str, Callable[[NDArray[Any], NDArray[np.int64], Tensor, int], Estimator]] = {
    "extra_trees": fit_extra_trees,
    "logistic": fit_logistic,
}


E = TypeVar("E", bound=Estimator)


def _prepared(made: E, vectors: NDArray[Any], prior: Tensor) -> E:
    """Return an estimator with what all of them have of the training vectors."""
    known = np.isfinite(vectors)
    total = np.where(known, vectors, 0).sum(0, dtype=np.float64)
    made.mean.copy_(torch.from_numpy(total / np.maximum(1, known.sum(0))).clamp(-MAX_VALUE, MAX_VALUE))
    made.prior.copy_(prior.detach())
    made.rows.fill_(len(vectors))
    return made


def _complete(made: Estimator, vectors: NDArray[Any]) -> NDArray[np.float32]:
    complete: NDArray[np.float32] = made.complete(torch.from_numpy(vectors)).numpy()
    return complete


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 numbers that are not above: float32 cells then go the same way."""
    rounded = thresholds.astype(np.float32)
    down = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, down, rounded)
