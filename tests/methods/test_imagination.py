"""CRA and MMIN against float64; what they leave alone; that they imagine what can be known."""

from __future__ import annotations

import copy

import pytest
import torch
from methods.driver import SIZES, batch_of, converged, covered, gradients, method_of, step
from references import imagination as reference
from references import joint

from altuna import Batch
from altuna.core.cascade import Cascade
from altuna.methods.parts.imagination import distance

NAMES = tuple(SIZES)
WEIGHTS = {"cra": {"weight": 3.0}, "mmin": {"imagination": 3.0, "cycle": 2.0}}


def seeded(method, batch):
    torch.manual_seed(5)
    found = gradients(method, batch)
    torch.manual_seed(5)
    return method.loss(next(iter(method.turns(batch))), batch).item(), found


@pytest.mark.parametrize("case", ["complete", "missing", "one modality absent"])
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("name", WEIGHTS)
def test_agrees_with_reference(name, modalities, case):
    names = NAMES[:modalities]
    method = method_of(name, names, drop=0.5, **WEIGHTS[name])
    batch = covered(0.6 if case == "missing" else 1.0, names)
    if case == "one modality absent":
        batch = batch_of(0, modalities=names[1:])
    cells = joint.samples(batch.inputs, batch.rows, len(batch), names)
    torch.manual_seed(5)
    lots = dict(zip((names.index(m) for m in batch.inputs), torch.rand(len(batch.inputs), 8), strict=True))
    seen = reference.thinned(cells, {i: lot.tolist() for i, lot in lots.items()}, 0.5)
    assert sum(map(len, seen)) < sum(map(len, cells)) or modalities == 2
    p = joint.arrays(method)
    given = (copy.deepcopy(p), cells, seen, batch.labels.tolist(), modalities, *WEIGHTS[name].values())
    value, found = seeded(method, batch)
    assert value == pytest.approx(reference.loss(p, *given), rel=1e-5)
    blocks = method.model.head.blocks
    some = ("model.encoders", "head.linear", "encoders.0.4", f"decoders.{blocks - 1}.0", "encoders.1.2.bias")
    part = {n: array for n, array in p.items() if any(s in n for s in some)}
    joint.assert_same(found, joint.gradient(lambda _: reference.loss(p, *given), part))


def test_a_cascade_of_nothing_leaves_everything_as_it_is():
    cascade, x = Cascade(12, 3), torch.randn(4, 12)
    for decoder in cascade.decoders:
        torch.nn.init.zeros_(decoder[-1].weight)
        torch.nn.init.zeros_(decoder[-1].bias)
    same, latents = cascade(x)
    assert torch.equal(same, x)
    assert latents.shape == (4, 3 * 2)
    assert [layer.out_features for layer in Cascade(384, 1).encoders[0][::2]] == [256, 128, 64]


def test_cra_completes_only_what_is_absent():
    method = method_of("cra", NAMES)
    whole, some = batch_of(0, modalities=NAMES), covered(0.6, NAMES)
    before = [method.model.outputs(b.inputs, b.rows, 8).joint for b in (whole, some)]
    for parameter in method.model.head.cascade.parameters():
        torch.nn.init.normal_(parameter)
    after = [method.model.outputs(b.inputs, b.rows, 8).joint for b in (whole, some)]
    complete = torch.stack([torch.isin(torch.arange(8), r) for r in some.rows.values()]).all(0)
    assert torch.equal(before[0], after[0])
    assert ((before[1] == after[1]).all(1) == complete).all()


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_modality_alone_says_what_a_sample_with_nothing_else_gets(name):
    model, batch = method_of(name, NAMES).model, batch_of(0, modalities=NAMES)
    with torch.no_grad():
        z = model.outputs(batch.inputs, batch.rows, 8).logits
        for i, m in enumerate(NAMES):
            alone = model.outputs({m: batch.inputs[m]}, {m: batch.rows[m]}, 8)
            torch.testing.assert_close(z[i], alone.joint)


def twins(seed, size=64):
    """A batch whose two modalities say the same in other words."""
    g = torch.Generator().manual_seed(seed)
    both = torch.randn(size, 3, generator=g)
    inputs = {
        m: both @ torch.randn(3, SIZES[m], generator=torch.Generator().manual_seed(9)) for m in NAMES[:2]
    }
    rows = dict.fromkeys(inputs, torch.arange(size))
    return Batch(inputs, rows, (both[:, 0] > 0).long(), torch.arange(size))


def imagines(name, **options):
    """Share of the variance of one modality's features that is imagined from the other's, once trained."""
    method = method_of(name, drop=0.5, **options)
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    for seed in range(300):
        step(method, twins(seed), optimizer)
    batch, model = twins(999), method.model
    with torch.no_grad():
        h = [model.encode(m, x) for m, x in batch.inputs.items()]
        view = model.head.imagine({0: h[0]}, {0: batch.rows["sound"]}, 64)
        parts = view.features[:, 6:]
        if name == "mmin":
            found, _ = method.back(torch.where(view.has, 0, view.features))
            cycle = 1 - distance(found, view.given, view.has) / h[0].var(0).mean()
        else:
            cycle = None
    return 1 - (parts - h[1]).square().mean() / h[1].var(0).mean(), cycle


@pytest.mark.slow
@pytest.mark.parametrize(("name", "weight"), [("cra", "weight"), ("mmin", "imagination")])
def test_imagines_what_one_modality_knows_of_another(name, weight):
    assert imagines(name)[0] > 0.7
    assert imagines(name, **{weight: 0.0})[0] < 0.3


@pytest.mark.slow
def test_the_cycle_finds_back_what_was_imagined_from():
    assert imagines("mmin")[1] > 0.7
    assert imagines("mmin", cycle=0.0)[1] < 0.3


@pytest.mark.parametrize("name", WEIGHTS)
def test_nothing_is_imagined_where_nothing_is_hidden(name):
    method, batch = method_of(name, drop=0.0), batch_of(0)
    loss, _ = seeded(method, batch)
    joint_logits = method.model.outputs(batch.inputs, batch.rows, 8).joint
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(joint_logits, batch.labels).item())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cra", {"weight": -1}, "weight of imagination must not be negative, got -1"),
        ("mmin", {"imagination": -1}, "weight of imagination must not be negative, got -1"),
        ("mmin", {"cycle": -1}, "cycle must not be negative, got -1"),
        ("cra", {"drop": 1.5}, "drop must be between 0 and 1, got 1.5"),
    ],
)
def test_refuses_options(name, options, words):
    with pytest.raises(ValueError, match=words):
        method_of(name, **options)


def test_needs_a_head_that_imagines():
    with pytest.raises(ValueError, match="needs a head 'mmin', got ConcatHead"):
        type(method_of("mmin"))(method_of("concat").model)


@pytest.mark.slow
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("name", WEIGHTS)
def test_learns_what_modalities_tell(name, modalities):
    assert converged(name, modalities=modalities) > 0.95
