"""OGM against float64, and that it ogm_coefficients what is ahead."""

from __future__ import annotations

import copy

import pytest
import torch
from methods.driver import SIZES, batch_of, converged, covered, gradients, method_of, sgd, step
from references import joint
from references import ogm as reference
from torch import nn

from altuna.methods.parts.scores import modulated_parameters, ogm_coefficients, scores

NAMES = tuple(SIZES)


def leading(method, factor=8.0):
    """The method, its first modality told apart from the others by larger weights of its columns."""
    with torch.no_grad():
        method.model.head.linear.weight[:, : method.model.head.sizes[0]] *= factor
    return method


def taught(batch, method, modality="sound"):
    """The batch with the labels that a modality's own logits give, so that it is ahead."""
    model = method.model
    with torch.no_grad():
        z = model.classify(modality, model.encode(modality, batch.inputs[modality]))
    batch.labels[batch.rows[modality]] = z.argmax(1)
    return batch


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("modalities", [2, 3])
def test_agrees_with_reference(modalities, keep, alpha):
    method = method_of("ogm", NAMES[:modalities], alpha=alpha)
    batch = taught(covered(keep, NAMES[:modalities]), method)
    p = joint.arrays(method.model)
    cells = joint.samples(batch.inputs, batch.rows, len(batch), method.model.modalities)
    want = reference.gradients(p, cells, batch.labels.tolist(), modalities, alpha)
    got = {n.removeprefix("model."): g for n, g in gradients(method, batch).items()}
    joint.assert_same(got, want)
    slowed = reference.coefficients(p, cells, batch.labels.tolist(), modalities, alpha)
    assert (min(slowed.values()) < 1) == (alpha > 0)


def test_a_batch_with_one_modality_is_not_modulated():
    method, plain = method_of("ogm"), method_of("concat")
    batch = batch_of(0)
    del batch.inputs["picture"], batch.rows["picture"]
    for name, gradient in gradients(plain, batch).items():
        assert torch.equal(gradients(method, batch)[name], gradient)


def test_only_what_is_ahead_is_braked_the_more_the_further():
    labels = {m: torch.zeros(5, dtype=torch.long) for m in NAMES}

    def factors(*heights, alpha=0.5):
        z = {m: torch.zeros(5, 3) for m in NAMES[: len(heights)]}
        for m, height in zip(z, heights, strict=True):
            z[m][:, 0] = height
        return [f.item() for f in ogm_coefficients(z, labels, alpha).values()]

    assert factors(1.0, 1.0, 1.0) == [1, 1, 1]
    near, far = factors(1.0, 0.5), factors(3.0, 0.5)
    assert 0 < far[0] < near[0] < 1
    assert near[1] == far[1] == 1
    assert factors(0.5, 3.0) == far[::-1]
    assert factors(3.0, 0.5, alpha=0.0) == [1, 1]
    high, middle, low = factors(3.0, 1.5, 0.0)
    assert high < middle <= 1 == low


def test_scores_are_means_so_that_missing_rows_do_not_count_as_wrong():
    z = {"sound": torch.zeros(2, 3), "picture": torch.zeros(9, 3)}
    labels = {m: torch.zeros(len(v), dtype=torch.long) for m, v in z.items()}
    assert [s.item() for s in scores(z, labels).values()] == pytest.approx([1 / 3, 1 / 3])


def test_modulates_in_its_epochs_only_and_never_the_head():
    method = leading(method_of("ogm", modulation_starts=2, modulation_ends=3))
    plain = leading(method_of("concat"))
    batch = taught(batch_of(0), method)
    want = gradients(plain, batch)
    for method.clock.epoch in range(6):
        got = gradients(method, batch)
        changed = {n for n in want if not torch.equal(got[n], want[n])}
        active = method.clock.epoch in (2, 3)
        assert changed == ({"model.encoders.0.weight", "model.encoders.0.bias"} if active else set())
    for name in ("weight", "bias"):
        method.clock.epoch = 2
        got = gradients(method, batch)[f"model.encoders.0.{name}"]
        assert got.norm() < 0.5 * want[f"model.encoders.0.{name}"].norm()


def test_convolutions_of_a_cnn_everything_of_others():
    cnn = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Linear(8, 4))
    assert [id(p) for p in modulated_parameters(cnn)] == [id(cnn[0].weight), id(cnn[2].weight)]
    transformer = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.TransformerEncoderLayer(8, 2, 64))
    assert len(modulated_parameters(transformer)) == len([*transformer.parameters()])
    assert modulated_parameters(nn.Flatten()) == []


def test_the_weaker_modality_learns_more_than_without():
    """Steps of the leading encoder are shorter, so the other one is left with more to explain."""
    moved = {}
    for alpha in (0.0, 0.8):
        method = leading(method_of("ogm", alpha=alpha), 3.0)
        batch = taught(batch_of(0, 64), method)
        before = copy.deepcopy(method.model.encoders)
        optimizer = sgd(method, 0.5)
        for _ in range(15):
            step(method, batch, optimizer)
        moved[alpha] = [
            (new.weight - old.weight).norm().item()
            for new, old in zip(method.model.encoders, before, strict=True)
        ]
    assert moved[0.8][0] < 0.5 * moved[0.0][0]
    assert moved[0.8][1] > moved[0.0][1]


def test_refuses_a_negative_alpha():
    with pytest.raises(ValueError, match="alpha must not be negative, got -1"):
        method_of("ogm", alpha=-1)


def test_learns_what_two_modalities_tell():
    assert converged("ogm") > 0.95
