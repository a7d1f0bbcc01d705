"""Encoders of series: padding changes nothing, the order of steps matters, fixed features are as stated."""

import numpy as np
import pytest
import torch

from altuna.data.readers.series import SeriesReader
from altuna.encoders import ENCODERS, TRANSFORMS, build
from altuna.encoders.random_convolutions import KERNELS, LIMIT, WIDTH, RandomConvolutions
from altuna.encoders.series import MaskedNorm, StandardiseSeries, masked_mean

NAMES = [*ENCODERS["series"]]
LENGTHS = (1, 7, 24, 40)


def series(length=40, channels=3, seed=0):
    """Series of ``LENGTHS`` steps, padded with NaN, one number missing within."""
    cells = np.random.default_rng(seed).normal(3, 2, (len(LENGTHS), length, channels)).astype(np.float32)
    for cell, steps in zip(cells, LENGTHS, strict=True):
        cell[steps:] = np.nan
    cells[2, 5, 1] = np.nan
    return cells


def fitted(name, length=40, **options):
    torch.manual_seed(0)
    encoder = build("m", SeriesReader(length, 3), name, **options)
    encoder.fit(series())
    return encoder.eval()


def longer(encoder, name, length):
    """The same encoder for cells that are padded to another length."""
    made = build("m", SeriesReader(length, 3), name, **({"patch": 1} if name == "transformer" else {}))
    state = encoder.state_dict()
    made.load_state_dict(state)
    return made.eval()


def test_the_front_end_standardises_by_channel_and_masks():
    cells = series()
    front = StandardiseSeries(None, (40, 3))
    front.fit(cells)
    found = front(torch.from_numpy(cells)).numpy()
    mean, std = np.nanmean(cells.astype(np.float64), (0, 1)), np.nanstd(cells.astype(np.float64), (0, 1))
    for i, steps in enumerate(LENGTHS):
        wanted = np.nan_to_num((cells[i, :steps] - mean) / std)
        np.testing.assert_allclose(found[i, :3, :steps], wanted.T, atol=1e-5)
        assert found[i, 3].tolist() == [1.0] * steps + [0.0] * (40 - steps)
        assert not found[i, :, steps:].any()


def test_statistics_of_constant_absent_and_absurd_channels():
    cells = np.full((2, 3, 3), np.nan, np.float32)
    cells[:, :2, 0], cells[:, :2, 1] = 5, [[1e20, 1], [2, 3]]
    front = StandardiseSeries(None, (3, 3))
    front.fit(cells)
    found = front(torch.from_numpy(cells))
    assert found.isfinite().all()
    assert not found[:, [0, 2]].any()
    assert front(torch.full((1, 3, 3), torch.nan))[0, 3].tolist() == [1, 0, 0]
    assert not front(torch.full((1, 3, 3), 7.0))[0, 2].any()  # a channel that training never had


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name):
    """Neither that of the batch's longest series nor that of the cells."""
    options = {"patch": 1} if name == "transformer" else {}
    encoder, cells = fitted(name, **options), torch.from_numpy(series())
    wanted = encoder(cells)
    alone = torch.cat([encoder(cells[i : i + 1]) for i in range(len(cells))])
    torch.testing.assert_close(alone, wanted, atol=1e-5, rtol=1e-5)
    if name == "random_convolutions":  # whose dilations depend on the length of the cells
        return
    padded = torch.cat([cells, torch.full((len(cells), 23, 3), torch.nan)], 1)
    torch.testing.assert_close(longer(encoder, name, 63)(padded), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing_even_if_it_is_not_cut_off(name, monkeypatch):
    """As in graphs, which see the whole cells: masks alone keep the padding out."""
    encoder, cells = fitted(name), torch.from_numpy(series()[:3])
    wanted = encoder(cells)
    monkeypatch.setattr("altuna.encoders.series.until_longest", lambda there: there.shape[1])
    torch.testing.assert_close(encoder(cells), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_masks_act(name, monkeypatch):
    """Without the mask the padding would change the features."""
    encoder, cells = fitted(name), torch.from_numpy(series()[:2])
    monkeypatch.setattr("altuna.encoders.series.until_longest", lambda there: there.shape[1])
    wanted, inputs = encoder.network(encoder.front_end(cells)), encoder.front_end(cells)
    inputs[:, -1] = 1
    assert (encoder.network(inputs) - wanted).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_training_statistics_are_those_of_the_steps(name):
    """In training mode too: batch normalisation sees no padding."""
    options = {"dropout": 0.0, "transforms": {}}
    if name == "random_convolutions":
        return
    cells = torch.from_numpy(series())
    features = [fitted(name, **options).train()(some) for some in (cells, cells.flip(0))]
    torch.testing.assert_close(features[0], features[1].flip(0), atol=1e-5, rtol=1e-5)


def test_masked_norm_against_numpy():
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(2, 3, (4, 5, 9)), np.array([9, 4, 1, 6])
    mask = (np.arange(9) < lengths[:, None])[:, None]
    found = MaskedNorm(5)(torch.tensor(x, dtype=torch.float32), torch.tensor(mask, dtype=torch.float32))
    steps = x.transpose(0, 2, 1)[mask[:, 0]]
    wanted = (x - steps.mean(0)[:, None]) / np.sqrt(steps.var(0)[:, None] + 1e-5) * mask
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)
    means = [x[i, :, :n].mean(1) for i, n in enumerate(lengths)]
    np.testing.assert_allclose(masked_mean(torch.tensor(x), torch.tensor(mask)), means)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_step_can_be_trained_on(name):
    features = fitted(name).train()(torch.from_numpy(series()[:1]))
    assert features.isfinite().all()
    features.sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_steps_matters(name):
    encoder, cells = fitted(name), torch.from_numpy(series()[3:])
    mixed = cells[:, torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    assert (encoder(cells) - encoder(mixed)).abs().max() > 1e-3


def test_the_gru_reads_backwards_from_the_end_of_each_series():
    torch.manual_seed(0)
    encoder = fitted("gru", width=4, dropout=0.0)
    cells = torch.from_numpy(series())
    network, inputs = encoder.network, encoder.front_end(cells)
    for i, steps in enumerate(LENGTHS):
        x = inputs[i : i + 1, :3, :steps].transpose(1, 2)
        ahead, back = network.forwards[0](x)[0], network.backwards[0](x.flip(1))[0]
        wanted = network.norm(torch.cat([ahead.mean(1), back.mean(1)], 1))
        torch.testing.assert_close(network(inputs)[i : i + 1], wanted, atol=1e-5, rtol=1e-5)


def slow_proportions(network, inputs):
    """The features, by loops over series, dilations, kernels, thresholds and steps."""
    found = []
    for x in inputs:
        steps = int(x[-1].sum())
        row = []
        for d, dilation in enumerate(network.dilations):
            for k, places in enumerate(KERNELS):
                weights = np.where(np.isin(np.arange(9), places), 2.0, -1.0)
                own = network.weights[d, k].numpy().any(1)
                total = x[:-1][own].sum(0)
                reach = [t + dilation * (j - 4) for t in range(steps) for j in range(9)]
                values = np.array([total[at] if 0 <= at < steps else 0.0 for at in reach])
                convolved = values.reshape(steps, 9) @ weights
                for b in network.thresholds[d, k].numpy():
                    steep = network.steepness[d, k].item()
                    row.append(np.clip((convolved - b) * steep + 0.5, 0, 1).mean())
        found.append(row)
    features = (np.array(found) - network.mean.numpy()) / network.std.numpy()
    return features.clip(-LIMIT, LIMIT)


def test_random_convolutions_against_loops():
    encoder = fitted("random_convolutions", features=300)
    inputs = encoder.front_end(torch.from_numpy(series()))
    found = encoder.network(inputs)
    np.testing.assert_allclose(
        found, slow_proportions(encoder.network, inputs.numpy().astype(float)), atol=2e-3
    )


def test_random_convolutions_are_fixed_and_fitted():
    encoder = fitted("random_convolutions")
    assert encoder.frozen
    assert encoder.fixed  # no transforms by default
    assert not any(p.requires_grad and p.numel() for p in encoder.network.parameters())
    features = encoder.features(torch.from_numpy(series()))
    assert features.abs().max() > 0.5
    torch.testing.assert_close(encoder(features), encoder(torch.from_numpy(series())))
    again = fitted("random_convolutions")
    assert torch.equal(again.network.thresholds, encoder.network.thresholds)
    other = fitted("random_convolutions", seed=1)
    assert not torch.equal(other.network.thresholds, encoder.network.thresholds)


def test_thresholds_are_quantiles_of_training_series():
    encoder = fitted("random_convolutions", features=84 * 6 * 4)
    network, inputs = encoder.network, encoder.front_end(torch.from_numpy(series()))
    there = inputs[:, -1] > 0
    for i in range(len(network.dilations)):
        steps = network._convolved(inputs[:, :-1], i).transpose(1, 2)[there]
        assert (network.thresholds[i] <= steps.amax(0)[:, None]).all()
        assert (network.thresholds[i] >= steps.amin(0)[:, None]).all()
        deviation = steps.std(0, correction=0)
        torch.testing.assert_close(1 / network.steepness[i], WIDTH * deviation, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 9, 10, 100, 2000])
def test_kernels_reach_at_most_over_the_series(length):
    network = RandomConvolutions(StandardiseSeries(None, (length, 2)), features=1000)
    assert network.dilations[0] == 1
    assert length < 10 or (network.dilations[-1] * 8 < length < network.dilations[-1] * 8 + 9)


@pytest.mark.parametrize("name", TRANSFORMS["series"])
def test_transforms_keep_series_series(name):
    transform = TRANSFORMS["series"][name]()
    cells = torch.from_numpy(series())
    front = StandardiseSeries(None, (40, 3))
    torch.manual_seed(0)
    inputs = front(transform(cells)) if transform.stage == "cell" else transform(front(cells))
    ends = inputs[:, -1].sum(1)
    assert (ends <= torch.tensor(LENGTHS)).all()
    assert (ends >= torch.tensor(LENGTHS) * 0.8 - 1).all()
    assert not (inputs * (inputs[:, -1:] == 0)).any()


def test_a_crop_is_a_contiguous_part():
    crop = TRANSFORMS["series"]["series_crop"](scale=0.5)
    cells = torch.full((200, 12, 1), torch.nan)
    cells[:, :10, 0] = torch.arange(10.0)
    kept = crop(cells)[..., 0]
    starts, lengths = kept[:, 0], (~kept.isnan()).sum(1)
    for row, start, n in zip(kept, starts, lengths, strict=True):
        assert row[:n].tolist() == list(range(int(start), int(start) + n))
    assert {*lengths.tolist()} == {5, 6, 7, 8, 9, 10} - {5} | ({5} & {*lengths.tolist()})
    assert starts.max() > 2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inception", {"kernels": [4]}),
        ("gru", {"width": 0}),
        ("transformer", {"width": 6}),
        ("random_convolutions", {"features": 0}),
    ],
)
def test_options_that_cannot_be(name, options):
    from altuna.errors import UserError

    with pytest.raises(UserError, match=f"encoder '{name}'"):
        fitted(name, **options)
