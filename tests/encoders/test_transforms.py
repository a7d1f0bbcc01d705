"""Random transforms: what they change, only in training, and the same under a seed."""

import numpy as np
import pytest
import torch

from altuna.encoders import TRANSFORMS
from altuna.encoders.transforms import (
    ColorJitter,
    Flip,
    RandomAffine,
    RandomResizedCrop,
    SpecAugment,
    TokenDropout,
    VectorNoise,
    WaveformNoise,
)

CELLS = {
    "image": torch.randint(0, 256, (6, 20, 24, 3), dtype=torch.uint8),
    "video": torch.randint(0, 256, (6, 2, 20, 24, 3), dtype=torch.uint8),
    "image_list": torch.randint(0, 256, (6, 2, 20, 24, 3), dtype=torch.uint8),
    "audio": torch.randint(-30000, 30000, (6, 400), dtype=torch.int16),
    "text": torch.randint(1, 99, (6, 30), dtype=torch.int32),
    "series": torch.randn(6, 20, 3),
    "vector": torch.randn(6, 5),
    "tabular": torch.randn(6, 5),
}
INPUTS = {
    "image": torch.randn(6, 3, 20, 24),
    "video": torch.randn(6, 2, 3, 20, 24),
    "image_list": torch.randn(6, 2, 3, 20, 24),
    "audio": torch.randn(6, 1, 16, 30),
    "series": torch.cat([torch.randn(6, 3, 20), torch.ones(6, 1, 20)], 1),
    "vector": torch.randn(6, 5),
    "tabular": torch.randn(6, 5),
}
ALL = [(kind, name) for kind, table in TRANSFORMS.items() for name in table]


def given(kind, name):
    transform = TRANSFORMS[kind][name]()
    return transform, (CELLS if transform.stage == "cell" else INPUTS)[kind]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_acts_in_training_alone(kind, name):
    transform, x = given(kind, name)
    before = x.clone()
    torch.manual_seed(0)
    changed = transform.train()(x)
    assert changed.shape == x.shape
    assert not torch.equal(changed.float(), x.float())
    assert torch.equal(transform.eval()(x), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_is_deterministic_under_a_seed(kind, name):
    transform, x = given(kind, name)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(transform(x).nan_to_num())  # NaN is the padding of series
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_sample_has_its_own_draw(kind, name):
    transform, x = given(kind, name)
    same = x[:1].expand(64, *x.shape[1:]).contiguous()
    changed = transform(same).float().flatten(1)
    assert len(torch.unique(changed, dim=0)) > (1 if name == "flip" else 30)


@pytest.mark.parametrize("transform", [RandomResizedCrop(), Flip(), ColorJitter()])
def test_the_frames_of_a_clip_change_alike(transform):
    frame = CELLS["image"][:, None]
    changed = transform(frame.expand(-1, 3, -1, -1, -1).contiguous())
    # The mean brightness of colour jitter is of the clip, which here is that of its frame.
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_affine_moves_the_frames_of_a_clip_alike():
    frames = INPUTS["image"][:, None].expand(-1, 3, -1, -1, -1)
    changed = RandomAffine()(frames)
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_a_crop_is_a_part_of_the_picture():
    """On a ramp whose value is its place, a crop's values say where it was cut and how wide."""
    ramp = torch.arange(0, 240, 2, dtype=torch.uint8).view(1, 1, 120, 1).expand(200, 120, 120, 3).contiguous()
    torch.manual_seed(0)
    cut = RandomResizedCrop(60, scale=0.25, ratio=1.0)(ramp).float()
    assert cut.shape == (200, 60, 60, 3)
    left, right = cut[:, 0, 0, 0], cut[:, 0, -1, 0]
    width = (right - left) / 240
    assert width.min() > 0.45
    assert width.max() > 0.9
    assert (width**2).mean().item() == pytest.approx(0.625, abs=0.05)  # uniform from 0.25 to 1
    assert left.min() < 5
    assert right.max() > 230
    assert (cut[:, 0] - cut[:, -1]).abs().max() <= 1  # rows are alike: nothing turned


def test_a_crop_without_freedom_is_the_whole():
    x = CELLS["image"]
    assert torch.equal(RandomResizedCrop(scale=1.0, ratio=1.0)(x), x)


def test_in_eval_mode_the_whole_picture_has_the_crops_size():
    crop = RandomResizedCrop(10).eval()
    assert crop.shape((2, 20, 24, 3)) == (2, 10, 10, 3)
    assert crop(CELLS["video"]).shape == (6, 2, 10, 10, 3)
    grey = torch.full((1, 20, 24, 3), 77, dtype=torch.uint8)
    assert (crop(grey) == 77).all()


def test_flip():
    x = CELLS["image"]
    changed = Flip()(x)
    for before, after in zip(x, changed, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(1))


@pytest.mark.parametrize("which", range(3))
def test_color_jitter_by_its_definition(which):
    x = CELLS["image"][:1]
    strengths = [0.0, 0.0, 0.0]
    strengths[which] = 0.5
    torch.manual_seed(3)
    changed = ColorJitter(*strengths)(x)[0].double().numpy()
    torch.manual_seed(3)
    factor = [float(0.5 + torch.rand(1)) for _ in range(3)][which]
    pixels = x[0].double().numpy()
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    expected = {
        0: pixels * factor,
        1: grey.mean() + factor * (pixels - grey.mean()),
        2: grey[..., None] + factor * (pixels - grey[..., None]),
    }[which]
    np.testing.assert_allclose(changed, expected.clip(0, 255), atol=1e-2)


def test_noise_has_the_loudness_stated():
    wave = (8000 * torch.sin(torch.arange(16000) / 10)).to(torch.int16).expand(200, -1)
    noise = WaveformNoise(snr=10)(wave) - wave
    ratio = 20 * torch.log10(wave.float().std() / noise.std(dim=1))
    assert ratio.min() > 9.5
    assert ratio.max() < 40.5
    assert ratio.mean().item() == pytest.approx(25, abs=2)
    assert (WaveformNoise()(torch.zeros(2, 100, dtype=torch.int16)) == 0).all()


def test_token_dropout_keeps_the_first_and_the_share():
    tokens = torch.full((500, 40), 7)
    kept = TokenDropout(0.3)(tokens)
    assert (kept[:, 0] == 7).all()
    assert (kept[:, 1:] == 7).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert set(kept.unique().tolist()) == {0, 7}


def test_vector_noise_has_its_deviation():
    assert VectorNoise(0.5)(torch.zeros(1000, 10)).std().item() == pytest.approx(0.5, abs=0.02)


def test_spec_augment_hides_one_band_and_one_stretch():
    x = torch.rand(50, 1, 20, 40) + 1
    x[:, :, 0, 0] = 0  # the lowest value is what stands for silence
    for before, after in zip(x, SpecAugment(0.3, 0.3)(x), strict=True):
        hidden = (after[0] == 0) & (before[0] != 0)
        rows = hidden[:, 1:].all(1)
        columns = hidden[1:].all(0)
        assert torch.equal(hidden[1:, 1:], (rows[:, None] | columns)[1:, 1:])
        for line, most in ((rows, 0.3 * 20), (columns, 0.3 * 40)):
            at = line.nonzero().flatten()
            assert len(at) <= most + 1
            assert len(at) < 2 or at[-1] - at[0] == len(at) - 1  # in one piece


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (RandomResizedCrop, {"size": 0}),
        (RandomResizedCrop, {"scale": 2.0}),
        (RandomResizedCrop, {"ratio": 0.0}),
        (ColorJitter, {"contrast": -3.0}),
        (RandomAffine, {"scale": -1.0}),
        (SpecAugment, {"time": 1.5}),
        (TokenDropout, {"share": 1.5}),
        (VectorNoise, {"std": float("nan")}),
        (WaveformNoise, {"snr": -100.0}),
    ],
)
def test_absurd_options(make, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be a number from"):
        make(**options)
