"""LFM against float64, its schedules, and that it makes the modalities agree."""

import math

import pytest
import torch
from methods.agreement import arrays_of, assert_agrees, assert_same, batch_for, cases, names, parameters_of
from methods.driver import batch_of, converged, gradients, method_of, sgd, step
from references import lfm as reference
from torch.nn.functional import cross_entropy

from altuna import Batch
from altuna.methods.lfm import disagreement


@cases
@pytest.mark.parametrize("epoch", [0, 4])
def test_agrees_with_reference(modalities, keep, epoch):
    method = method_of("lfm", names(modalities))
    method.clock.epoch = epoch
    alpha = 1 - math.exp(-1 / (epoch + 1))
    assert_agrees(method, batch_for(modalities, keep), lambda *args: reference.loss(*args, alpha))


@cases
def test_learned_schedule_agrees_with_reference(modalities, keep):
    method = method_of("lfm", names(modalities), schedule="learned", rate=0.05)
    method.alpha.fill_(0.5)
    batch = batch_for(modalities, keep)
    assert_agrees(method, batch, lambda *args: reference.loss(*args, 0.5))
    gradients(method, batch)
    want = reference.learned(parameters_of(method), arrays_of(batch), 0.5, 0.05)
    assert 0.05 < want < 0.49
    assert_same([method.alpha - 0.5], [want - 0.5])


def test_learned_schedule_ends_at_the_bound_and_is_saved():
    method, batch = method_of("lfm", schedule="learned", rate=10.0), batch_of(0)
    step(method, batch, sgd(method))
    assert method.alpha.item() == pytest.approx(0.05)
    other = method_of("lfm", schedule="learned", seed=1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.alpha, method.alpha)


def test_disagreement_is_a_bounded_symmetric_distance():
    torch.manual_seed(0)
    p, q = torch.randn(2, 20, 3) * 4
    torch.testing.assert_close(disagreement(p, q), disagreement(q, p))
    assert disagreement(p, p).abs() < 1e-6
    sure = torch.eye(3) * 100
    torch.testing.assert_close(disagreement(sure, sure.roll(1, 0)), torch.tensor(math.log(2)))


def disagreement_after(epoch):
    """How far the modalities' predictions are apart, after training in an epoch on random labels."""
    method, batch = method_of("lfm"), batch_of(0, 24)
    method.clock.epoch, optimizer = epoch, sgd(method)
    for _ in range(60):
        step(method, batch, optimizer)
    turn = next(iter(method.turns(batch)))
    method.loss(turn, batch)
    return disagreement(*turn.logits.values()).item()


def test_alignment_acts():
    assert disagreement_after(0) < 0.5 * disagreement_after(10**9)


@pytest.mark.parametrize("schedule", ["heuristic", "learned"])
def test_a_batch_may_lack_a_modality(schedule):
    method = method_of("lfm", schedule=schedule)
    (turn,) = step(method, batch_of(0, modalities=("picture",)), sgd(method))
    assert turn.log["loss"].isfinite()


def test_options_are_checked():
    with pytest.raises(ValueError, match="schedule must be 'heuristic' or 'learned', got 'fast'"):
        method_of("lfm", schedule="fast")
    with pytest.raises(ValueError, match="rate must not be negative, got -1"):
        method_of("lfm", rate=-1)


@pytest.mark.parametrize("schedule", ["heuristic", "learned"])
def test_learns_what_two_modalities_tell(schedule):
    assert converged("lfm", schedule=schedule) > 0.95


def test_a_batch_without_pairs_is_learnt_in_full():
    method, full = method_of("lfm"), batch_of(0)
    half = {"sound": torch.arange(4), "picture": torch.arange(4, 8)}
    batch = Batch({m: full.inputs[m][r] for m, r in half.items()}, half, full.labels, full.indices)
    turn = next(iter(method.turns(batch)))
    torch.testing.assert_close(method.loss(turn, batch), cross_entropy(turn.joint, batch.labels))
