"""Re-learning: purity, clusters and re-initialisation, against float64 and for what they promise."""

import copy

import numpy as np
import pytest
import torch
from methods.driver import CLASSES, batch_of, converged, gradients, method_of, sgd, step
from references import late
from references import relearning as reference

from altuna.core.batch import stable_uniform
from altuna.methods.parts.clustering import clusters, purity, scaled

TWO, THREE = ("sound", "picture"), ("sound", "picture", "words")


@pytest.mark.parametrize("keep", [1.0, 0.8], ids=["complete", "missing"])
@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_agrees_with_float64(modalities, keep):
    weights = []
    for seed in range(3):
        method = method_of("relearning", modalities, seed, strength=2.0, held=0.3)
        start = late.copied(method.model)
        method.clock.epochs, method.clock.epoch = 10, 3
        batch = batch_of(seed, 24, modalities, keep)
        for m, x in batch.inputs.items():
            x[:, :3] += 6 * torch.eye(3)[batch.rows[m] % 3]  # groups to be found, unlike the classes
        step(method, batch, sgd(method, 0.1))
        method.after_epoch()
        end = late.copied(method.model)
        inputs, rows, labels = late.arrays(batch)
        lot = batch.indices.numpy() * 2654435761 % 2**32 / 2**32
        next(iter(method.turns(batch)))  # the next epoch's first batch
        for i, m in enumerate(modalities):
            mine, h = lot[rows[m]], end.features(m, inputs[m])
            held, trained = mine < 0.3, (mine >= 0.3) & (mine < 0.6)
            y = labels[rows[m]]
            weight = reference.weight((h[trained], y[trained]), (h[held], y[held]), CLASSES, 2.0)
            weights.append(weight)
            for k, found in enumerate((method.model.encoders[i].weight, method.model.encoders[i].bias)):
                want = weight * start.encoders[m][k] + (1 - weight) * end.encoders[m][k]
                close(found, want)
        assert not method.weights.any()
    assert max(weights) > 0.1


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_loss_is_of_the_trained_rows(modalities):
    method = method_of("relearning", modalities, held=0.3)
    batch = batch_of(0, 24, modalities, 0.7)
    found = gradients(method, batch)["model.head.linear.bias"]
    trained = batch.indices.numpy() * 2654435761 % 2**32 / 2**32 >= 0.3
    model, (inputs, rows, labels) = late.copied(method.model), late.arrays(batch)
    z = model.joint({m: model.features(m, x) for m, x in inputs.items()}, rows, 24)
    dz = (late.probabilities(z) - np.eye(CLASSES)[labels])[trained].mean(0)
    close(found, dz)


def close(found, want):
    np.testing.assert_allclose(found.detach(), want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_clusters_are_the_closest_and_purity_is_the_share_of_majorities():
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        x, y = torch.randn(8, 3, generator=g), torch.randint(3, (8,), generator=g)
        close(scaled(x), want := reference.scaled(x.double().numpy()))
        torch.manual_seed(seed)
        cluster = clusters(scaled(x), 3, starts=100).numpy()
        best, least = reference.best_clusters(want, 3)
        spread = sum(((want[cluster == k] - want[cluster == k].mean(0)) ** 2).sum() for k in set(cluster))
        assert spread == pytest.approx(least, rel=1e-5)
        assert purity(torch.from_numpy(best), y).item() == pytest.approx(reference.purity(best, y.numpy()))
    assert purity(torch.tensor([2, 2, 0, 0]), torch.tensor([1, 1, 0, 0])) == 1
    assert purity(torch.tensor([0, 0, 0, 0]), torch.tensor([1, 1, 0, 2])) == 0.5
    assert scaled(torch.ones(3, 2)).tolist() == [[0, 0]] * 3
    assert clusters(torch.randn(2, 3), 5).shape == (2,)


def test_held_out_rows_are_the_same_every_time_and_spread_evenly():
    for n in (50, 1000):
        lot = stable_uniform(torch.arange(n))
        assert ((lot >= 0) & (lot < 1)).all()
        for part in lot.split(n // 5):
            assert (part < 0.1).sum().item() == pytest.approx(len(part) / 10, abs=1)
    indices = torch.tensor([7, 3])
    assert torch.equal(stable_uniform(indices), stable_uniform(torch.arange(10))[indices])


def test_held_out_rows_never_train():
    results = []
    for shift in (0.0, 100.0):
        method = method_of("relearning", held=0.3)
        optimizer = sgd(method)
        for i in range(4):
            batch = batch_of(i, 24)
            for x in batch.inputs.values():
                x[stable_uniform(batch.indices) < 0.3] += shift
            step(method, batch, optimizer)
        results.append(copy.deepcopy(method.model.state_dict()))
    assert all(torch.equal(v, results[1][k]) for k, v in results[0].items())


def overfitted(strength):
    """Distance of the encoders from their start, where the training rows alone are easy to tell apart."""
    method = method_of("relearning", strength=strength, held=0.3)
    before = copy.deepcopy(method.model.encoders)
    method.clock.epochs, method.clock.epoch = 10, 3
    optimizer = sgd(method, 0.5)
    for i in range(60):
        batch = batch_of(0, 24)
        trained = stable_uniform(batch.indices) >= 0.3
        for x in batch.inputs.values():
            x[trained, :CLASSES] += 3 * torch.eye(CLASSES)[batch.labels][trained]
        method.clock.batch = i
        step(method, batch, optimizer)
        if i < 59:
            for collected in method._features.values():
                collected.parts.clear()
    method.after_epoch()
    method.clock.batch = 0
    next(iter(method.turns(batch)))
    pairs = zip(before.parameters(), method.model.encoders.parameters(), strict=True)
    return sum((a - b).norm().item() for a, b in pairs)


def test_encoders_that_overfit_go_back():
    assert overfitted(3.0) < 0.7 * overfitted(0.0)


def test_when_it_diagnoses():
    method = method_of("relearning")
    for epochs, expected in ((50, [19, 39]), (15, [5, 11]), (1, []), (6, [1, 3])):
        method.clock.epochs, when = epochs, []
        for method.clock.epoch in range(epochs):
            when += [method.clock.epoch] * method._diagnoses()
        assert when == expected


def test_weights_wait_for_the_next_epoch_and_are_saved():
    method, other = method_of("relearning", held=0.3), method_of("relearning", seed=9, held=0.3)
    method.clock.epochs, method.clock.epoch = 10, 3
    step(method, batch_of(0, 24), sgd(method))
    method.after_epoch()
    method.weights.fill_(0.5)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for m in (method, other):
        next(iter(m.turns(batch_of(1, 24))))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in method.state_dict().items())


def test_a_frozen_encoder_has_nothing_to_learn_again():
    method = method_of("relearning")
    for p in method.model.encoders[0].parameters():
        p.requires_grad_(False)
    frozen = type(method)(method.model)
    frozen.weights.fill_(1.0)
    next(iter(frozen.turns(batch_of(0))))
    assert frozen.initial0.numel() == 0


def test_bad_options_are_named():
    for options in ({"strength": -1.0}, {"every": 0.0}, {"times": -1}, {"held": 0.6}):
        with pytest.raises(ValueError, match=next(iter(options))):
            method_of("relearning", **options)


def test_learns_what_two_modalities_tell():
    assert converged("relearning") > 0.95
