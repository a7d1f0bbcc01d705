"""QMF against float64, and that confidences come to rank samples as their losses did."""

import dataclasses

import pytest
import torch
from methods.agreement import arrays_of, assert_agrees, batch_for, cases, loss_of, names, parameters_of
from methods.driver import batch_of, converged, method_of, sgd, step
from references import qmf as reference

from altuna.methods.qmf import confidence, disorder


@cases
def test_agrees_with_reference(modalities, keep):
    method = method_of("qmf", names(modalities), ranking=0.7)
    first, second = (batch_for(modalities, keep, seed) for seed in (3, 4))
    second = dataclasses.replace(second, indices=second.indices + 4)  # half of them met before
    loss_of(method, first)
    history = reference.recorded(parameters_of(method), arrays_of(first), {})
    assert_agrees(method, second, lambda *args: reference.loss(*args, history, 0.7))


def test_nothing_is_asked_of_confidences_in_order():
    losses = torch.tensor([0.0, 0.3, 1.0])
    ordered = torch.tensor([5.0, 4.0, 3.0])
    assert disorder(ordered, losses) == 0
    torch.testing.assert_close(disorder(ordered + 7, losses), disorder(ordered, losses))
    # 1 - 0 = 1 apart in the wrong order: |gap| + gap of confidences, on both sides of the pair
    torch.testing.assert_close(
        disorder(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])), torch.tensor(2.0)
    )


def disorder_after(ranking):
    """How far from the order of their losses the confidences are, after training on a fixed batch."""
    method, batch = method_of("qmf", ranking=ranking), batch_of(0, 24)
    optimizer = sgd(method)
    for _ in range(150):
        step(method, batch, optimizer)
    turn = next(iter(method.turns(batch)))
    method.loss(turn, batch)
    losses = method.memory.all() - method.memory.all().amin(0)
    losses /= losses.amax(0)
    return sum(disorder(confidence(z), losses[:, i]).item() for i, z in enumerate(turn.logits.values()))


@pytest.mark.slow
def test_ranking_acts():
    assert disorder_after(30.0) < 0.5 * disorder_after(0.0)


def test_losses_of_a_modality_are_remembered_where_it_is_present():
    method, batch = method_of("qmf"), batch_of(3, keep=0.6)
    turn = next(iter(method.turns(batch)))
    once = method.loss(turn, batch)
    known = method.memory.read(batch.indices) >= 0
    for number, m in enumerate(method.model.modalities):
        assert known[:, number].nonzero().flatten().tolist() == batch.rows[m].tolist()
    other = method_of("qmf", seed=1)
    other.load_state_dict(method.state_dict())
    torch.testing.assert_close(loss_of(other, batch), loss_of(method, batch))
    assert once.isfinite()


def test_a_batch_of_one_sample_is_finite():
    assert loss_of(method_of("qmf"), batch_of(0, 1)).isfinite()


def test_option_is_checked():
    with pytest.raises(ValueError, match="ranking must not be negative, got -1"):
        method_of("qmf", ranking=-1)


def test_learns_what_two_modalities_tell():
    assert converged("qmf") > 0.95
