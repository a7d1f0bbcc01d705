"""The projector against a float64 reference, and the properties it promises."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import projector as reference

from altuna import OrthogonalProjector


def batches(seed, dim, count=6, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(1 + i % 4, dim, generator=g).add(0.5) * scale for i in range(count)]


def updated(dim=12, alpha=0.1, seed=0, count=6, scale=1.0):
    projector = OrthogonalProjector(dim, alpha=alpha)
    for features in batches(seed, dim, count, scale):
        projector.update(features)
    return projector


def error(got, want):
    """The largest error as a share of the largest entry."""
    return np.abs(got.double().numpy() - want).max() / np.abs(want).max()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(1, 10),
    count=st.integers(1, 8),
    alpha=st.sampled_from([1e-3, 0.1, 1.0, 10.0]),
    scale=st.sampled_from([0.01, 1.0, 10.0]),
)
def test_agrees_with_reference(seed, dim, count, alpha, scale):
    projector, p = OrthogonalProjector(dim, alpha=alpha), np.eye(dim)
    g = torch.Generator().manual_seed(seed)
    for features in batches(seed, dim, count, scale):
        projector.update(features)
        p = reference.step(p, features.double().numpy().mean(0), alpha)
        grad = torch.randn(3, dim, generator=g)
        # Of the largest entry that P began with, 1: what little is left of it has float32's absolute error.
        assert np.abs(projector.P.double().numpy() - p).max() <= 1e-5
        want = grad.double().numpy() @ p
        assert np.abs(projector.project(grad).double().numpy() - want).max() <= 1e-5 * grad.abs().max().item()


@pytest.mark.parametrize(("dim", "count", "scale"), [(64, 20, 1.0), (200, 50, 1.0), (64, 300, 10.0)])
def test_agrees_with_closed_form(dim, count, scale):
    means = [f.double().numpy().mean(0) for f in batches(3, dim, count, scale)]
    want = reference.closed_form(means, [0.1] * count, dim)
    assert error(updated(dim, 0.1, 3, count, scale).P, want) < 1e-5


def test_alpha_may_change_between_updates():
    projector, means, alphas = OrthogonalProjector(8), [], [0.1, 0.03, 0.01, 2.0]
    for features, alpha in zip(batches(4, 8, 4), alphas, strict=True):
        projector.alpha = alpha
        projector.update(features)
        means.append(features.double().numpy().mean(0))
    assert error(projector.P, reference.closed_form(means, alphas, 8)) < 1e-5


def test_default_alpha_and_identity():
    projector = OrthogonalProjector(5)
    assert projector.alpha == 0.1
    assert torch.equal(projector.P, torch.eye(5))
    grad = torch.randn(2, 5)
    assert torch.equal(projector.project(grad), grad)


@pytest.mark.parametrize("alpha", [1e-4, 0.1, 10.0])
def test_symmetric_with_eigenvalues_in_zero_to_one(alpha):
    p = updated(32, alpha, count=20).P
    torch.testing.assert_close(p, p.T, rtol=0, atol=1e-7)
    eigenvalues = np.linalg.eigvalsh(p.double().numpy())
    assert eigenvalues.min() > 0
    assert eigenvalues.max() <= 1 + 1e-6
    assert eigenvalues.max() > 0.99  # 20 features leave directions of 32 untouched
    assert eigenvalues.min() < 0.5


def test_only_shrinks():
    projector = OrthogonalProjector(6)
    for features in batches(5, 6, 10):
        before = projector.P.double()
        projector.update(features)
        assert np.linalg.eigvalsh((before - projector.P.double()).numpy()).min() > -1e-6


def test_seen_means_are_protected():
    # r' P r <= alpha for every mean seen, however long ago: so |P r| is small where |r| is not.
    projector, seen = OrthogonalProjector(32, alpha=1e-4), batches(6, 32, 10)
    for features in seen:
        projector.update(features)
    step = projector.project(torch.randn(5, 32, generator=torch.Generator().manual_seed(0)))
    for features in seen:
        r = features.mean(0)
        assert r @ projector.P @ r <= 1e-4 + 1e-5
        assert (step @ r).norm() < 1e-3 * step.norm() * r.norm()
    fresh = torch.randn(32, generator=torch.Generator().manual_seed(1))
    assert (step @ fresh).norm() > 0.05 * step.norm() * fresh.norm()


def test_larger_alpha_removes_less():
    r = batches(7, 16, 1)[0]
    left = []
    for alpha in (0.01, 0.1, 1.0, 100.0):
        projector = OrthogonalProjector(16, alpha=alpha)
        projector.update(r)
        left.append((projector.P @ r.mean(0)).norm())
    assert left == sorted(left)
    assert left[-1] > 2 * left[0]


def test_only_the_mean_counts():
    features = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    a, b = OrthogonalProjector(9), OrthogonalProjector(9)
    a.update(features)
    b.update(features.mean(0, keepdim=True))
    torch.testing.assert_close(a.P, b.P)


def test_project_leaves_p_and_its_argument_alone():
    projector = updated()
    before, grad = copy.deepcopy(projector.state_dict()), torch.randn(4, 12)
    kept = grad.clone()
    projected = projector.project(grad)
    assert torch.equal(grad, kept)
    assert not torch.allclose(projected, grad, atol=0.01)
    for name, value in projector.state_dict().items():
        assert torch.equal(value, before[name])


def test_no_rows_no_update():
    projector = updated()
    before = projector.P.clone()
    projector.update(torch.zeros(0, 12))
    assert torch.equal(projector.P, before)


def test_zero_features_change_nothing():
    projector = OrthogonalProjector(4)
    projector.update(torch.zeros(3, 4))
    assert torch.equal(projector.P, torch.eye(4))


def test_no_gradient_flows():
    projector = OrthogonalProjector(4)
    features = torch.randn(3, 4, requires_grad=True)
    projector.update(features)
    assert not projector.P.requires_grad
    assert not projector.project(features).requires_grad
    assert not list(projector.parameters())


@pytest.mark.parametrize(
    "cast",
    [
        lambda m: m.half(),
        lambda m: m.bfloat16(),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.to("cpu", torch.half),
    ],
)
def test_stays_float32_in_half_precision(cast):
    alone, whole = updated(), torch.nn.Sequential(torch.nn.Linear(12, 3), updated())
    want = alone.P.clone()
    assert cast(alone) is alone
    cast(whole)
    assert whole[0].weight.dtype in (torch.half, torch.bfloat16)
    for projector in (alone, whole[1]):
        assert {b.dtype for b in projector.buffers()} == {torch.float32}
        assert torch.equal(projector.P, want)


def test_may_be_double():
    projector = OrthogonalProjector(10).double()
    p = np.eye(10)
    for features in batches(8, 10):
        projector.update(features)
        p = reference.step(p, features.double().numpy().mean(0), 0.1)
    assert projector.P.dtype == torch.float64
    assert error(projector.P, p) < 1e-7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_half_precision_features_and_gradients(dtype):
    projector, exact = OrthogonalProjector(8), OrthogonalProjector(8)
    for features in batches(9, 8):
        projector.update(features.to(dtype))
        exact.update(features.to(dtype).float())
    grad = torch.randn(3, 8).to(dtype)
    assert torch.equal(projector.P, exact.P)
    assert projector.project(grad).dtype == dtype
    assert torch.equal(projector.project(grad), (grad.float() @ exact.P).to(dtype))


def test_autocast_loses_no_precision():
    grad, want, projector = torch.randn(3, 12), updated(), OrthogonalProjector(12)
    with torch.autocast("cpu", torch.bfloat16):
        for features in batches(0, 12):
            projector.update(features)
        got = projector.project(grad)
    assert torch.equal(projector.P, want.P)
    assert torch.equal(got, want.project(grad))


def test_state_dict_round_trip_continues_exactly():
    first, second = updated(), OrthogonalProjector(12)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert "P" in first.state_dict()
    for features in batches(10, 12, 3):
        assert torch.equal(first.P, second.P)
        first.update(features)
        second.update(features)
    assert torch.equal(first.P, second.P)


def test_reset_starts_afresh():
    projector = updated(seed=1)
    projector.reset()
    assert torch.equal(projector.P, torch.eye(12))
    for features in batches(0, 12):
        projector.update(features)
    assert torch.equal(projector.P, updated(seed=0).P)


@pytest.mark.parametrize(
    "look", [lambda p: p.state_dict()["P"], lambda p: (r := p.state_dict()["root"]) @ r.T, lambda p: p.P]
)
@pytest.mark.parametrize("move", [lambda p: p, lambda p: p.half().float(), copy.deepcopy])
def test_the_state_is_always_up_to_date(look, move):
    projector = updated(seed=1)
    projector.reset()
    projector.update(torch.ones(2, 12))
    want = np.eye(12) - np.ones((12, 12)) / 12.1
    assert error(look(move(projector)), want) < 1e-6


def test_a_loaded_state_replaces_what_was_there():
    want, projector = updated(seed=1).state_dict(), OrthogonalProjector(12)
    projector.update(torch.ones(2, 12))
    projector.load_state_dict(want)
    assert torch.equal(projector.project(torch.eye(12)), want["root"] @ want["root"].T)
    assert torch.equal(projector.P, want["P"])


def test_alpha_is_that_of_the_update():
    projector = OrthogonalProjector(3, alpha=1.0)
    projector.update(torch.ones(1, 3))
    projector.alpha = 7.0
    assert error(projector.P, np.eye(3) - np.ones((3, 3)) / 4) < 1e-6


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_refuses_alpha(alpha):
    with pytest.raises(ValueError, match="alpha must be positive"):
        OrthogonalProjector(4, alpha=alpha)


@pytest.mark.parametrize("dim", [0, -3])
def test_refuses_dim(dim):
    with pytest.raises(ValueError, match=f"dim must be at least 1, got {dim}"):
        OrthogonalProjector(dim)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (0, 5), (2, 3, 4)])
def test_refuses_features(shape):
    with pytest.raises(ValueError, match=r"features must be \[N, 4\]"):
        OrthogonalProjector(4).update(torch.zeros(shape))


@pytest.mark.parametrize("alpha", [1e-4, 0.1])
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("dim", [8, 96])
def test_many_updates_with_large_features_stay_sound(dim, scale, alpha):
    g = torch.Generator().manual_seed(0)
    projector, usual = OrthogonalProjector(dim, alpha=alpha), torch.rand(3, dim, generator=g)
    for i in range(3000):
        # Three modalities whose means move a little: what training gives, and the hard case for rounding.
        projector.update((usual[i % 3] + 0.05 * torch.randn(1, dim, generator=g)) * scale)
    assert projector.P.isfinite().all()
    eigenvalues = np.linalg.eigvalsh(projector.P.double().numpy())
    assert eigenvalues.min() >= -1e-5
    assert eigenvalues.max() <= 1 + 1e-5
    for r in usual:
        assert (projector.P @ r).norm() < 1e-2 * r.norm()


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(["reset", "update", "project", "look"]), max_size=12), st.integers(0, 9))
def test_any_order_of_calls(calls, seed):
    """Projections are those of float64, whatever was called before."""
    g = torch.Generator().manual_seed(seed)
    projector, means, grad = OrthogonalProjector(5, alpha=0.5), [], torch.randn(3, 5, generator=g)
    for call in calls:
        if call == "reset":
            projector.reset()
            means.clear()
        elif call == "update":
            features = torch.randn(4, 5, generator=g)
            projector.update(features)
            means.append(features.mean(0))
        else:
            got = projector.project(grad) if call == "project" else grad @ projector.P
            want = np.eye(5)
            for r in (m.double().numpy() for m in means):
                want -= np.outer(want @ r, want @ r) / (0.5 + r @ want @ r)
            assert error(got, grad.double().numpy() @ want) < 1e-5
