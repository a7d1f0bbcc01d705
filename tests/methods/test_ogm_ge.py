"""OGM-GE against float64, and that its noise is as large as the gradient."""

from __future__ import annotations

import pytest
import torch
from methods.driver import SIZES, batch_of, converged, covered, gradients, method_of
from references import joint
from references import ogm_ge as reference

from altuna.methods.ogm_ge import enhanced

NAMES = tuple(SIZES)


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("alpha", [0.1, 0.8])
def test_agrees_with_reference(modalities, keep, alpha):
    method = method_of("ogm_ge", NAMES[:modalities], alpha=alpha)
    batch = covered(keep, NAMES[:modalities])
    p = joint.arrays(method.model)
    torch.manual_seed(5)
    noise = {
        f"encoders.{i}.{n}": torch.randn_like(v).double().numpy()
        for i, e in enumerate(method.model.encoders)
        for n, v in e.named_parameters()
    }
    cells = joint.samples(batch.inputs, batch.rows, len(batch), method.model.modalities)
    want = reference.gradients(p, cells, batch.labels.tolist(), modalities, alpha, noise)
    torch.manual_seed(5)
    got = {n.removeprefix("model."): g for n, g in gradients(method, batch).items()}
    joint.assert_same(got, want)


def test_noise_has_no_mean_and_the_gradients_spread():
    g = torch.Generator().manual_seed(0)
    gradient, factor = 3 + 2 * torch.randn(40, 5, generator=g), torch.tensor(0.3)
    torch.manual_seed(0)
    draws = torch.stack([enhanced(gradient, factor) for _ in range(2000)])
    torch.testing.assert_close(draws.mean(0), factor * gradient, rtol=0, atol=0.2)
    torch.testing.assert_close(draws.std(0), gradient.std().expand(40, 5), rtol=0.1, atol=0)
    assert torch.equal(enhanced(torch.tensor([2.0]), factor), torch.tensor([0.6]))


def test_noise_for_every_encoder_in_its_epochs_and_none_for_the_head():
    method, plain, batch = method_of("ogm_ge", modulation_ends=0), method_of("concat"), batch_of(0)
    want, got = gradients(plain, batch), gradients(method, batch)
    assert {n for n in want if not torch.equal(got[n], want[n])} == {n for n in want if "encoders" in n}
    for name in (n for n in want if "encoders" in n):
        assert (got[name] - want[name]).norm() > 0.3 * want[name].std() * want[name].numel() ** 0.5
    method.clock.epoch = 1
    assert all(torch.equal(g, want[n]) for n, g in gradients(method, batch).items())


def test_a_batch_with_one_modality_is_left_alone():
    batch = batch_of(0, modalities=("sound",))
    want, got = (gradients(method_of(name), batch) for name in ("concat", "ogm_ge"))
    assert all(torch.equal(g, want[n]) for n, g in got.items())


def test_same_seed_same_noise():
    method, batch, drawn = method_of("ogm_ge"), batch_of(0), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(gradients(method, batch)["model.encoders.0.weight"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_refuses_a_negative_alpha():
    with pytest.raises(ValueError, match="alpha must not be negative, got -1"):
        method_of("ogm_ge", alpha=-1)


def test_learns_what_two_modalities_tell():
    assert converged("ogm_ge") > 0.95
