"""The piecewise-linear front end: against float64, on awkward numbers, and what it makes possible."""

import numpy as np
import pytest
import torch
from references import piecewise

import altuna
from altuna.data.readers import READERS
from altuna.encoders import build
from altuna.encoders.piecewise import MAX_OUTPUTS, PiecewiseLinear
from altuna.errors import UserError


def fitted(values, bins=16):
    values = np.asarray(values, np.float32)
    front = PiecewiseLinear(None, values.shape[1:], bins=bins)
    front.fit(values)
    return front


def codes(front, cells):
    """Codes [n, size, bins] without the standardised numbers before them."""
    size = cells.shape[1]
    return front(cells)[:, size:].view(len(cells), size, -1)


@pytest.mark.parametrize("bins", [1, 5, 16])
def test_agrees_with_float64(bins):
    random = np.random.default_rng(bins)
    train = np.stack(
        [random.normal(size=60), random.exponential(9, 60), random.integers(0, 3, 60)], 1
    ).astype(np.float32)
    test = (3 * random.normal(size=(40, 3))).astype(np.float32)
    front = fitted(train, bins)
    found = codes(front, torch.from_numpy(test))
    for i in range(3):
        edges = piecewise.edges_of(train[:, i].tolist(), bins)
        expected = [piecewise.encode(x, edges, bins) for x in test[:, i].tolist()]
        np.testing.assert_allclose(found[:, i], expected, atol=1e-4)
    standardised = (test - train.mean(0, dtype=float)) / train.std(0, dtype=float)
    found = front(torch.from_numpy(test))[:, :3]
    np.testing.assert_allclose(found, standardised.clip(-5, 5), rtol=1e-4, atol=1e-4)


def test_units_change_no_code_and_codes_keep_the_order():
    train = np.random.default_rng(0).normal(size=(65, 2))  # with 16 bins the quantiles are values themselves
    found = codes(fitted(train), torch.from_numpy(train).float())
    scaled = codes(fitted(np.float32(train) * 1024 - 7), torch.from_numpy(train).float() * 1024 - 7)
    torch.testing.assert_close(found, scaled, atol=1e-3, rtol=0)
    assert (found.diff(dim=-1) <= 0).all()  # bins fill from the left
    order = train[:, 0].argsort()
    assert (found[order, 0].sum(-1).diff() > 0).all()  # and keep the order of the numbers


def test_a_constant_number_has_no_codes():
    front = fitted([[3.0, 1.0], [3.0, 2.0]], bins=2)
    assert codes(front, torch.tensor([[9.0, 2.0], [3.0, 1.0]])).tolist() == [
        [[0, 0], [1, 1]],
        [[0, 0], [0, 0]],
    ]
    assert not front(torch.tensor([[3.0, 1.5]]))[:, 0].any()


def test_fewer_distinct_values_than_bins():
    front = fitted([[0.0], [1], [1], [4]], bins=16)
    found = codes(front, torch.tensor([[0.0], [0.5], [1], [2.5], [4]]))[:, 0]
    assert found.shape == (5, 16)
    assert found.diff(dim=0).sum(1).gt(0).all()
    two = codes(fitted([[0.0]] * 100 + [[1.0]] * 300), torch.tensor([[0.0], [1]]))[:, 0]  # edges 0, 0.75, 1
    assert two[:, :2].tolist() == [[0, 0], [1, 1]]
    assert not two[:, 2:].any()


def test_one_training_row_and_none_with_a_number():
    front = fitted([[2.0, np.nan]])
    assert not codes(front, torch.tensor([[5.0, 1.0], [np.nan, np.nan]])).any()
    assert front(torch.tensor([[2.0, 1.0], [np.nan, np.nan]])).abs().max() < 1e-30


def test_a_missing_number_becomes_the_training_mean():
    front = fitted([[0.0], [1], [5], [np.nan]])
    assert torch.equal(front(torch.tensor([[np.nan]])), front(torch.tensor([[2.0]])))


@pytest.mark.parametrize(
    "values", [[-3e38, 0, 1e38, 3e38], [1e-45, 1e-40, 1e-38, 1.0], [-1e38, 1e-30, 1.0, 2]]
)
def test_extreme_numbers_give_codes_from_0_to_1(values):
    front = fitted(np.float32(values)[:, None])
    at = torch.tensor([*values, 3.4e38, -3.4e38, float("inf"), -float("inf")])[:, None]
    assert front(at).isfinite().all()
    assert front(at).abs().max() <= front.LIMIT
    found = codes(front, at)
    assert (found.min(), found.max()) == (0, 1)
    assert all(buffer.isfinite().all() for buffer in front.buffers())


def test_an_outlier_does_not_hide_the_other_numbers():
    found = codes(fitted([[i / 10] for i in range(20)] + [[1e38]]), torch.tensor([[0.5], [0.6]]))
    assert (found[1] - found[0]).sum() > 0.3


def test_long_vectors_have_fewer_bins():
    assert PiecewiseLinear(None, (MAX_OUTPUTS // 8,), bins=16).bins == 8
    assert PiecewiseLinear(None, (MAX_OUTPUTS,)).bins == 2
    assert PiecewiseLinear(None, (1,)).shape == (5,)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        PiecewiseLinear(None, (1,), bins=0)


def test_a_run_restores_its_edges(tmp_path):
    lines = [f"{i},{('train', 'val')[i // 2 % 2]},{'ab'[i % 2]},{i % 2 + i / 99},{i / 3}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["id,split,label,one.x,two.x", *lines, ""]))
    encoder = {"front_end": {"name": "piecewise_linear", "bins": 5}, "hidden": 8}
    options = {"epochs": 1, "encoders": {"one": encoder, "two": encoder}, "quiet": True, "report": False}
    altuna.fit(tmp_path / "t.csv", out=tmp_path / "run", **options)
    front = altuna.load(tmp_path / "run", "cpu").model.encoders[0].front_end
    train = torch.tensor([[i % 2 + i / 99] for i in range(40) if i // 2 % 2 == 0])
    torch.testing.assert_close(front.edges, fitted(train, 5).edges)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"bins": 5', '"bins": 6'))
    with pytest.raises(UserError, match=r"front_end.edges has the shape \[1, 5\], .* describes \[1, 6\]"):
        altuna.load(tmp_path / "run", "cpu")


def accuracy(front_end, cells, labels):
    """Accuracy of a linear layer on a front end, trained to convergence on what it is tested on."""
    front = build("m", READERS["vector"](size=cells.shape[1]), "mlp", front_end=front_end).front_end
    front.fit(cells.numpy())
    torch.manual_seed(0)
    head = torch.nn.Linear(front.shape[0], 2)
    inputs, optimizer = front(cells), torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(inputs), labels).backward()
        optimizer.step()
    return (head(inputs).argmax(1) == labels).float().mean().item()


def test_a_linear_layer_learns_what_lies_between():
    cells = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    labels = (cells[:, 0].abs() < 0.7).long()
    assert accuracy("piecewise_linear", cells, labels) > 0.97
    assert accuracy("standardise", cells, labels) < 0.7
