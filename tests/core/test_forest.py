"""Fitted estimators as tensors: scikit-learn's own numbers, missing and extreme cells, damaged values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import pool as reference
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch.export import Dim

from altuna.core.estimators import MAX_DEPTH, Forest, Logistic
from altuna.training.estimators import (
    fit_extra_trees,
    fit_logistic,
    forest_of,
    set_coefficients,
)


def draw(rows=300, size=5, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    vectors = rng.normal(size=(rows, size)) + labels[:, None] * np.linspace(0, 1, size)
    return vectors.astype(np.float32), labels


def uniform(classes=4):
    return torch.full((classes,), 1 / classes)


SHAPES = {
    "one tree": {"n_estimators": 1},
    "stumps": {"n_estimators": 7, "max_depth": 1},
    "large leaves": {"n_estimators": 5, "min_samples_leaf": 20},
    "pure leaves": {"n_estimators": 60},
}


@pytest.mark.parametrize("kind", [ExtraTreesClassifier, RandomForestClassifier])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_forest_says_what_scikit_learn_says(shape, kind):
    vectors, labels = draw()
    fitted = kind(random_state=0, **SHAPES[shape]).fit(vectors, labels)
    forest = forest_of(fitted, 4)
    cells, _ = draw(seed=1)
    cells = np.concatenate([cells, vectors])  # training cells lie near thresholds
    # And cells at the thresholds, which are float64 there and float32 here.
    at = fitted.estimators_[0].tree_.threshold[:50].astype(np.float32)
    cells[: len(at)] = at[:, None]
    wanted = fitted.predict_proba(cells)
    np.testing.assert_allclose(forest.probabilities(torch.from_numpy(cells)), wanted, atol=1e-6)
    parts = (forest.roots, forest.feature, forest.threshold, forest.right, forest.value.double())
    for row in range(0, 300, 60):
        slow = reference.forest(*(part.numpy() for part in parts), cells[row])
        np.testing.assert_allclose(slow, wanted[row], atol=1e-6)
    assert not forest.mistake()


def test_single_nodes_of_one_class():
    vectors, _ = draw(20)
    fitted = ExtraTreesClassifier(3, random_state=0).fit(vectors, np.full(20, 2))
    forest = forest_of(fitted, 4)
    assert forest.shape() == {"inputs": 5, "trees": 3, "nodes": 3, "depth": 0}
    got = forest.probabilities(torch.from_numpy(vectors))
    assert torch.equal(got, torch.tensor([0.0, 0, 1, 0]).expand(20, 4))
    assert not forest.mistake()


@pytest.mark.parametrize("classes", [2, 4])
def test_a_logistic_regression_says_what_scikit_learn_says(classes):
    vectors, labels = draw(classes=classes)
    model = fit_logistic(vectors, labels, uniform(classes), seed=0, strength=0.3)
    inputs = (vectors - vectors.mean(0)) / vectors.std(0)
    fitted = LogisticRegression(C=0.3, max_iter=1000).fit(inputs.clip(-10, 10), labels)
    wanted = fitted.predict_proba(inputs)
    np.testing.assert_allclose(model.probabilities(torch.from_numpy(vectors)), wanted, atol=1e-4)
    set_coefficients(model, fitted)
    got = torch.nn.functional.linear(torch.from_numpy(inputs), model.weight, model.bias).softmax(1)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert not model.mistake()


FITS = {"extra_trees": fit_extra_trees, "logistic": fit_logistic}
both = pytest.mark.parametrize("fit", FITS.values(), ids=FITS)


@both
def test_an_absent_class_has_the_probability_of_one_more_row(fit):
    vectors, labels = draw(classes=4)
    keep = labels != 1
    prior = torch.tensor([0.2, 0.1, 0.3, 0.4])
    model = fit(vectors[keep], labels[keep], prior, seed=0)
    said = model(torch.from_numpy(vectors))
    assert said.isfinite().all()
    wanted = torch.full((300,), 0.1 / (1 + int(keep.sum())))
    torch.testing.assert_close(said[:, 1].exp(), wanted)
    torch.testing.assert_close(said.exp().sum(1), torch.ones(300))


@both
def test_missing_extreme_and_constant_numbers(fit):
    vectors, labels = draw()
    vectors[::3, 0] = np.nan
    vectors[:, 1] = 1e7
    vectors[:, 2] = np.nan
    model = fit(vectors, labels, uniform(), seed=0)
    mean = float(np.nanmean(vectors[:, 0]))
    assert model.mean[0] == pytest.approx(mean, abs=1e-6)
    cells = torch.from_numpy(vectors[:9])
    assert model(cells).isfinite().all()
    filled = cells.clone()
    filled[filled.isnan()] = 0
    filled[::3, 0] = model.mean[0]
    assert torch.equal(model(cells), model(filled))
    # A column without a value, or with one value, does not count, whatever it is later.
    if fit is fit_logistic:
        assert torch.equal(model(cells), model(cells + torch.tensor([0, 0, 0, 0, 0.0])))
        assert not model.weight[:, 1:3].abs().max() > 1e-6
    extreme = torch.tensor([[torch.inf, -torch.inf, 3e38, -3e38, torch.nan]])
    assert model(extreme).isfinite().all()


@both
def test_the_seed_decides(fit):
    vectors, labels = draw()
    one, same, other = (fit(vectors, labels, uniform(), seed=seed) for seed in (1, 1, 2))
    cells = torch.from_numpy(vectors)
    assert torch.equal(one(cells), same(cells))
    assert fit is fit_logistic or not torch.equal(one(cells), other(cells))


@both
def test_is_a_graph_of_any_batch(fit):
    vectors, labels = draw()
    model = fit(vectors, labels, uniform(), seed=0)
    cells = torch.from_numpy(vectors)
    graph = torch.export.export(model, (cells[:2],), dynamic_shapes=({0: Dim("batch")},)).module()
    for part in (cells, cells[:1]):
        torch.testing.assert_close(graph(part), model(part))


def put(name, index, value):
    def spoil(model):
        model.get_buffer(name)[index] = value

    return spoil


SPOILT = {
    "a child behind the last node": put("right", 0, 10**6),
    "a child before its parent": put("right", 1, 0),
    "a negative child": put("right", 0, -1),
    "the last node as inner node": put("threshold", -1, 0.0),
    "a leaf that leads on": put("threshold", -1, 3e38),
    "a root behind the last node": put("roots", 0, 10**6),
    "a negative root": put("roots", 0, -5),
    "a feature that is not there": put("feature", 0, 5),
    "a negative feature": put("feature", 0, -1),
    "no probability": put("value", 0, 2.0),
    "no prior": put("prior", 0, 0.0),
    "no rows": put("rows", (), 0.0),
    "too flat": lambda model: setattr(model, "depth", model.depth - 1),
}


@pytest.mark.parametrize("how", SPOILT)
def test_damaged_trees_are_noticed(how):
    vectors, labels = draw()
    forest = fit_extra_trees(vectors, labels, uniform(), seed=0)
    assert not forest.mistake()
    SPOILT[how](forest)
    assert forest.mistake()


def test_damaged_logistic_regressions_are_noticed():
    vectors, labels = draw()
    model = fit_logistic(vectors, labels, uniform(), seed=0)
    model.scale[1] = 0
    assert model.mistake() == "scale must be more than 0"


def test_trees_deeper_than_allowed():
    with pytest.raises(ValueError, match=f"{MAX_DEPTH} deep at most, got 65"):
        Forest(1, 2, trees=1, nodes=1, depth=65)


def test_a_new_estimator_knows_only_equal_probabilities():
    for model in (Forest(2, 4, trees=3, nodes=3, depth=0), Logistic(2, 4)):
        torch.testing.assert_close(model(torch.randn(5, 2)).exp(), torch.full((5, 4), 0.25))
