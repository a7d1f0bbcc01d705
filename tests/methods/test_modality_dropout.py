"""Modality dropout against float64; what is dropped; that it makes modalities dispensable."""

from __future__ import annotations

import pytest
import torch
from methods.driver import CLASSES, SIZES, batch_of, converged, covered, gradients, method_of, step
from references import joint
from references.imagination import thinned

from altuna import Batch

NAMES = tuple(SIZES)


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("modalities", [2, 3])
def test_agrees_with_reference(modalities, keep):
    names = NAMES[:modalities]
    method, batch = method_of("modality_dropout", names, p=0.6), covered(keep, names)
    cells = joint.samples(batch.inputs, batch.rows, 8, names)
    torch.manual_seed(1)
    lots = torch.rand(modalities, 8).tolist()
    left, labels, p = thinned(cells, lots, 0.6), batch.labels.tolist(), joint.arrays(method.model)
    assert sum(map(len, left)) < sum(map(len, cells))
    torch.manual_seed(1)
    loss = method.loss(next(iter(method.turns(batch))), batch)
    assert loss.item() == pytest.approx(joint.loss("concat", p, left, labels, modalities), rel=1e-5)
    torch.manual_seed(1)
    got = {n.removeprefix("model."): g for n, g in gradients(method, batch).items()}
    joint.assert_same(got, joint.gradient(lambda q: joint.loss("concat", q, left, labels, modalities), p))


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_each_cell_is_dropped_at_the_rate_but_the_last(rate):
    torch.manual_seed(0)
    batch = batch_of(0, 9000, NAMES)
    left = batch.drop_cells(rate)
    kept = torch.stack([torch.isin(torch.arange(9000), left.rows[m]) for m in NAMES])
    assert kept.any(0).all()
    share = 1 - rate + rate**3 / 3  # which of three stays is drawn uniformly
    torch.testing.assert_close(kept.float().mean(1), torch.full((3,), share), rtol=0, atol=0.02)
    for m in NAMES:
        assert torch.equal(left.inputs[m], batch.inputs[m][left.rows[m]])


def test_absent_cells_stay_absent_and_samples_keep_something():
    torch.manual_seed(0)
    batch = covered(0.6, NAMES, size=32)
    for _ in range(20):
        left = batch.drop_cells(0.8)
        assert torch.cat([*left.rows.values()]).unique().tolist() == [*range(32)]
        for m, rows in left.rows.items():
            assert torch.isin(rows, batch.rows[m]).all()


def test_what_is_dropped_is_not_encoded():
    method, batch, seen = method_of("modality_dropout", NAMES, p=0.5), batch_of(0, 64, NAMES), []
    for encoder in method.model.encoders:
        encoder.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    turn = next(iter(method.turns(batch)))
    method.loss(turn, batch)
    assert seen == [len(turn.features[m]) for m in NAMES]
    assert max(seen) < 50


def test_a_modality_that_loses_all_is_not_trained():
    method, batch = method_of("modality_dropout", p=1.0), batch_of(0, 1)
    (turn,) = step(method, batch, torch.optim.SGD(method.parameters(), 0.1))
    assert len(turn.modalities) == 1


def test_without_dropping_it_is_joint_training():
    batch = batch_of(0, modalities=NAMES)
    want, got = (
        gradients(method_of(n, NAMES, **o), batch)
        for n, o in (("concat", {}), ("modality_dropout", {"p": 0.0}))
    )
    assert all(torch.equal(got[n], g) for n, g in want.items())


def right_without_the_easy_one(name):
    """Accuracy of one modality alone, after joint training beside another that says the same louder."""
    method = method_of(name)
    optimizer = torch.optim.SGD(method.parameters(), 0.1)

    def batch(seed):
        g = torch.Generator().manual_seed(seed)
        labels = torch.randint(CLASSES, (64,), generator=g)
        inputs = {m: torch.randn(64, SIZES[m], generator=g) for m in ("sound", "picture")}
        for m, size in (("sound", 6.0), ("picture", 1.5)):
            inputs[m] += size * torch.eye(CLASSES, SIZES[m])[labels]
        return Batch(inputs, dict.fromkeys(inputs, torch.arange(64)), labels, torch.arange(64))

    for seed in range(40):
        step(method, batch(seed), optimizer)
    test = batch(999)
    z = method.model({"picture": test.inputs["picture"]}).logits
    return (z.argmax(1) == test.labels).float().mean().item()


def test_no_modality_is_relied_on():
    assert right_without_the_easy_one("modality_dropout") > right_without_the_easy_one("concat") + 0.1


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_refuses_options(p):
    with pytest.raises(ValueError, match=f"p must be between 0 and 1, got {p}"):
        method_of("modality_dropout", p=p)


def test_learns_what_two_modalities_tell():
    assert converged("modality_dropout") > 0.95
