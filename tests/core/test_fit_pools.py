"""The pooled opinion of a modality's experts: against float64, what it promises, and how it is fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import pool as reference
from torch import nn

from altuna import MultimodalClassifier
from altuna.core.calibration import calibrate
from altuna.core.estimators import Logistic
from altuna.core.fit_pools import fit_pools
from altuna.core.heads import HEADS
from altuna.core.outputs import Features
from altuna.core.pool import Pool


class Teller(nn.Module):
    """Says the logarithm of the softmax of some of the numbers."""

    def __init__(self, columns, factor=1.0):
        super().__init__()
        self.columns, self.factor = columns, factor

    def forward(self, vectors):
        return (vectors[:, self.columns] * self.factor).log_softmax(1)


def test_agrees_with_the_reference():
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(8, 4, generator=g)
    vectors = 3 * torch.randn(8, 8, generator=g)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4])
    pool = Pool({"a": Teller([0, 1, 2, 3]), "b": Teller([4, 5, 6, 7])})
    pool.temperatures.copy_(torch.tensor([1.7, 0.4, 3.0]))
    pool.weights.copy_(torch.tensor([0.9, 0.2, 0.5]))
    got = pool(logits, pool.estimates(vectors), prior).log_softmax(1)
    experts = [logits.numpy(), vectors[:, :4].numpy(), vectors[:, 4:].numpy()]
    wanted = reference.pooled(experts, [1.7, 0.4, 3.0], [0.9, 0.2, 0.5], prior.tolist())
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_estimators_of_weight_0_change_nothing():
    logits, prior = torch.randn(6, 3), torch.tensor([0.5, 0.3, 0.2])
    pool = Pool({"a": Teller([0, 1, 2], factor=100.0)})
    got = pool(logits, pool.estimates(torch.randn(6, 3)), prior)
    torch.testing.assert_close(got.softmax(1), logits.softmax(1))


def test_an_estimator_that_only_knows_the_prior_changes_nothing():
    logits, prior = torch.randn(6, 3), torch.tensor([0.5, 0.3, 0.2])
    pool = Pool({"a": nn.Identity()})
    pool.weights.fill_(1)
    got = pool(logits, prior.log().expand(6, 3), prior)
    torch.testing.assert_close(got.softmax(1), logits.softmax(1))


def model_of(head="separate", **pools):
    torch.manual_seed(0)
    model = MultimodalClassifier({m: nn.Linear(3, 4) for m in "ab"}, 3, head=head)
    for m, pool in pools.items():
        model.set_pool(m, pool)
    return model.eval()


def told(labels, strength, seed, classes=3):
    """Log-odds of experts that are right the more often the stronger they are."""
    noise = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(seed))
    return strength * torch.eye(classes)[labels] + noise


@pytest.mark.parametrize("head", HEADS)
def test_a_modality_without_a_pool_is_as_before(head):
    """Also in a model whose other modality has one, from every subset."""
    before = model_of(head)
    after = model_of(head, a=Pool({"x": Teller([0, 1, 2])}))
    after.pools["0"].weights.copy_(torch.tensor([0.0, 1.0]))
    cells = {m: torch.randn(5, 3) for m in "ab"}
    for given in ("a", "b", "ab"):
        some = {m: cells[m] for m in given}
        one, two = before(some), after(some)
        assert torch.equal(one.unimodal_logits[1], two.unimodal_logits[1])
        if "a" in given:
            torch.testing.assert_close(two.unimodal_logits[0].softmax(1), cells["a"].softmax(1))
    assert after.widths == (before.widths[0] + 3, before.widths[1])


def test_comes_after_the_features_of_the_joint_expert():
    torch.manual_seed(0)
    encoders = {m: nn.Linear(3, 4) for m in "ab"}
    model = MultimodalClassifier(encoders, 3, head="separate", expert={"a": nn.Linear(3, 5)}).eval()
    cells = {m: torch.randn(6, 3) for m in "ab"}
    wanted = model.outputs(cells, dict.fromkeys("ab", torch.arange(6)), 6)
    pool = Pool({"x": Teller([0, 1, 2])})
    model.set_pool("a", pool)
    model.set_pool("b", Pool({"x": Teller([0, 1, 2])}))
    assert model.widths == (4 + 5 + 3, 4 + 3)
    got = model.outputs(cells, dict.fromkeys("ab", torch.arange(6)), 6)
    torch.testing.assert_close(got.joint, wanted.joint)
    torch.testing.assert_close(got.logits.softmax(-1), wanted.logits.softmax(-1))  # their weights are 0
    part = model.split("a", model.encode_all("a", cells["a"]))
    assert [p.shape[1] for p in part] == [4, 5, 3]
    assert torch.equal(part.estimates, pool.estimates(cells["a"]))


def features_of(model, cells, labels, rows=None):
    rows = rows or {m: torch.arange(len(labels)) for m in cells}
    with torch.no_grad():
        return Features({m: model.encode_all(m, x) for m, x in cells.items()}, rows, labels)


def test_useful_estimators_are_kept_and_useless_ones_dropped():
    labels = torch.arange(600) % 3
    cells = torch.cat([told(labels, 2.0, 1), torch.randn(600, 3)], 1)
    torch.manual_seed(0)
    model = MultimodalClassifier({m: nn.Linear(6, 4) for m in "ab"}, 3)
    model.set_pool("a", Pool({"good": Teller([0, 1, 2]), "noise": Teller([3, 4, 5])}))
    model.set_pool("b", Pool({"noise": Teller([3, 4, 5], 10.0)}))
    with torch.no_grad():
        model.head.linear.weight.zero_()
        model.head.linear.weight[:, :3] = torch.eye(3)
        model.encoders[1].weight.zero_()
        model.encoders[1].weight[:3, :3] = torch.eye(3)  # the head of b knows all that there is
        model.encoders[1].bias.zero_()
    features = features_of(model, dict.fromkeys("ab", cells), labels)
    [(_, left)] = fit_pools([(model, features)])
    assert model.pool("a").names == ("good",)
    assert model.pool("b") is None
    assert model.widths == (4 + 3, 4)
    assert left.of["a"].shape == (600, 7)
    assert torch.equal(left.of["a"], model.encode_all("a", cells))
    assert torch.equal(left.of["b"], model.encode_all("b", cells))
    assert model.pool("a").facts()["good"]["weight"] > 0.9
    outputs = model.outputs_of(left.of, left.rows, 600)
    calibrate(model, outputs, labels, left)
    assert abs(model.temperatures[0] - 1) < 0.1  # the pool is calibrated already


def test_two_experts_of_the_same_kind_share():
    """Both have seen the truth through noise of their own: together they are better."""
    labels = torch.arange(900) % 3
    cells = torch.cat([told(labels, 2.0, 1), told(labels, 2.0, 2)], 1)
    torch.manual_seed(0)
    model = MultimodalClassifier({"a": nn.Linear(6, 3)}, 3)
    with torch.no_grad():
        model.encoders[0].weight.copy_(torch.eye(6)[:3])
        model.encoders[0].bias.zero_()
        model.head.linear.weight.copy_(torch.eye(3))
        model.head.linear.bias.zero_()
    model.set_pool("a", Pool({"other": Teller([3, 4, 5])}))
    features = features_of(model, {"a": cells}, labels)
    alone = model.outputs_of(features.of, features.rows, 900).logits[0].argmax(1)
    [(_, left)] = fit_pools([(model, features)])
    weights = model.pool("a").weights
    assert (weights > 0.4).all()
    together = model.outputs_of(left.of, left.rows, 900).logits[0].argmax(1)
    assert (together == labels).float().mean() > (alone == labels).float().mean() + 0.05


@pytest.mark.parametrize("rows", [0, 19])
def test_with_few_validation_rows_the_head_is_alone(rows):
    labels = torch.arange(60) % 3
    model = model_of(a=Pool({"good": Teller([0, 1, 2], 5.0)}))
    cells = {"a": told(labels[:rows], 3.0, 0), "b": torch.randn(60, 3)}
    features = features_of(model, cells, labels, {"a": torch.arange(rows), "b": torch.arange(60)})
    if not rows:
        del features.of["a"], features.rows["a"]
    [(_, left)] = fit_pools([(model, features)])
    assert model.pool("a") is None
    assert "a" not in left.of or left.of["a"].shape == (rows, 4)


def test_only_the_rows_that_have_the_modality_count():
    labels = torch.arange(300) % 3
    cells = told(labels, 2.0, 0)
    mine = torch.arange(0, 300, 2)
    fitted = []
    for rows, of_all in ((mine, labels), (torch.arange(150), labels[mine])):
        model = model_of(a=Pool({"good": Teller([0, 1, 2])}))
        features = features_of(model, {"a": cells[mine]}, of_all, {"a": rows})
        groups = torch.zeros(len(of_all), dtype=torch.int64)
        groups[rows] = torch.arange(150) // 3
        fit_pools([(model, features)], groups)
        fitted.append(model.pool("a").facts())
    assert fitted[0] == fitted[1]


def test_values_that_no_fit_makes():
    pool = Pool({"log": Logistic(2, 3)})
    assert not pool.mistake()
    pool.members["log"].scale[0] = -1
    assert pool.mistake() == "log: scale must be more than 0"
    pool.weights[1] = -0.1
    assert pool.mistake().startswith("temperatures must be")
