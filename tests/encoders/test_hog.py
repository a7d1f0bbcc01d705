"""Histograms of gradients and colours: against float64, their properties, and the branch beside a network."""

import numpy as np
import pytest
import torch
from encoders.test_build import READERS_OF, cells_of
from export.test_graphs import same_graph
from references import hog as reference

from altuna.data.readers import READERS
from altuna.encoders import build
from altuna.encoders.hog import HOG
from altuna.errors import UserError


def pictures(n=2, side=24, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_float64():
    x = pictures()
    found, blocks = HOG(24, 24)(x), 36 * 4
    for picture, one in zip(x, found, strict=True):
        np.testing.assert_allclose(one[:blocks], reference.gradients(picture), atol=2e-3)
        np.testing.assert_allclose(one[blocks : blocks + 64], reference.colours(picture), atol=1e-5)


def test_means_and_deviations_of_regions():
    x = pictures(side=24)
    found = HOG(24, 24)(x)[:, -6 * 36 :].view(2, 2, 3, 6, 6)
    region = x[1, 2, 4:8, 8:12]
    torch.testing.assert_close(found[1, 0, 2, 1, 2], region.mean())
    torch.testing.assert_close(found[1, 1, 2, 1, 2], region.std(correction=0), atol=1e-4, rtol=1e-4)


def test_brightness_changes_colours_but_hardly_gradients():
    x = pictures(side=32)
    change = (HOG(32, 32)(x) - HOG(32, 32)(x / 2)).abs()
    blocks = 36 * 9
    assert change[:, :blocks].max() < 0.01
    assert change[:, blocks:].max() > 0.1


def test_a_picture_of_one_colour_is_finite():
    assert HOG(16, 16)(torch.zeros(1, 3, 16, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "has_branch", "size"),
    [
        ({}, True, 256),
        ({"width": 16}, False, 128),
        ({"width": 16, "hog": True}, True, 256),
        ({"hog": False}, False, 256),
    ],
)
def test_small_pictures_have_the_branch_by_default(options, has_branch, size):
    encoder = build("m", READERS["image"](size=48), **options)
    assert (encoder.network.branch is not None) == has_branch
    assert encoder.out_features == size == encoder.eval()(cells_of(READERS["image"](size=48), 2)).shape[1]


def test_large_pictures_clips_and_sounds_have_none():
    assert build("m", READERS["image"](size=96)).network.branch is None
    assert build("m", READERS_OF["video"]).network.network.branch is None
    assert build("m", READERS_OF["audio"]).network.branch is None
    with pytest.raises(UserError, match="hog is for pictures"):
        build("m", READERS_OF["audio"], hog=True)
    with pytest.raises(UserError, match="at least 16 pixels, got 8 x 8"):
        build("m", READERS["image"](size=8), hog=True)


def test_the_branch_sees_the_colours_of_the_file():
    """The front end standardises pixels; the histograms are those of the picture itself."""
    encoder = build("m", READERS["image"](size=32), transforms={})
    cells = cells_of(READERS["image"](size=32), 3)
    seen = []
    encoder.network.branch.hog.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    encoder.eval()(cells)
    torch.testing.assert_close(seen[0], cells.movedim(-1, 1) / 255, atol=1e-5, rtol=0)


def test_a_single_row_can_be_trained():
    encoder = build("m", READERS["image"](size=32), transforms={})
    features = encoder.train()(cells_of(READERS["image"](size=32), 1))
    features.sum().backward()
    assert encoder.network.branch.layers[1].weight.grad.isfinite().all()


@pytest.mark.slow
def test_is_a_graph():
    same_graph(READERS["image"](size=32), "resnet18", {"width": 4, "hog": True})
