"""The classifier: any subset of modalities, one answer a sample whatever the batch."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from altuna import MultimodalClassifier, fuse
from altuna.core.fusion import RULES
from altuna.core.heads import HEADS
from altuna.core.outputs import Outputs

UNIMODAL = [name for name, rule in RULES.items() if rule.joint == "unused"]
SIZES = {"audio": 6, "image": 9, "text": 4}


def build(head="shared", fusion=None, widths=(8, 5, 8), classes=4, **options):
    torch.manual_seed(0)
    encoders = {
        m: nn.Sequential(nn.Linear(n, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, d))
        for (m, n), d in zip(SIZES.items(), widths, strict=True)
    }
    model = MultimodalClassifier(encoders, classes, head=head, fusion=fusion, **options)
    model(draw(64))  # gives the batch statistics something to remember
    with torch.no_grad():
        model.temperatures.copy_(torch.tensor([0.5, 2.0, 1.5]))
        model.confidence_temperatures.copy_(torch.tensor([1.2, 0.7, 1.9]))
    return model.eval()


def draw(size=16, modalities=SIZES, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {m: torch.randn(size, SIZES[m], generator=g) for m in modalities}


def scattered(size=16, seed=0):
    """Inputs of which every modality lacks some samples, and their rows."""
    g = torch.Generator().manual_seed(seed)
    keep = torch.rand(3, size, generator=g) < 0.6
    keep[torch.randint(3, (size,), generator=g), torch.arange(size)] = True
    rows = {m: keep[i].nonzero().flatten() for i, m in enumerate(SIZES)}
    return {m: x[rows[m]] for m, x in draw(size, seed=seed).items()}, rows, keep


SUBSETS = [s for k in (1, 2, 3) for s in combinations(SIZES, k)]


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
@pytest.mark.parametrize("head", HEADS)
def test_takes_any_subset(head, subset):
    model = build(head)
    got = model(draw(modalities=subset))
    assert got.logits.shape == got.probabilities.shape == (16, 4)
    assert got.weights.shape == got.present.shape == (3, 16)
    assert got.unimodal_logits.shape == (3, 16, 4)
    for i, m in enumerate(SIZES):
        assert (got.present[i] == (m in subset)).all()
    assert not got.weights[~got.present].any()
    torch.testing.assert_close(got.weights.sum(0), torch.ones(16))
    torch.testing.assert_close(got.probabilities, got.logits.softmax(1))


@pytest.mark.parametrize("fusion", UNIMODAL)
def test_fuses_what_the_modalities_say(fusion):
    model = build(fusion=fusion, fixed_weights={"image": 3, "text": 0})
    inputs = draw(modalities=("audio", "image"))
    got = model(inputs)
    for i, m in enumerate(inputs):
        torch.testing.assert_close(got.unimodal_logits[i], model.classify(m, model.encode(m, inputs[m])))
    t = model.temperatures[:2] if fusion.startswith("calibrated") else None
    want = fuse(
        got.unimodal_logits[:2],
        rule=fusion.removeprefix("calibrated_"),
        temperatures=t,
        fixed_weights=torch.tensor([1.0, 3.0]),
    )
    torch.testing.assert_close(got.weights[:2], want.weights)
    torch.testing.assert_close(got.probabilities, (want.logits / 0.7).softmax(1))  # two are present
    torch.testing.assert_close(got.logits.softmax(1), got.probabilities)


def test_fixed_weights_of_zero_count():
    got = build(fusion="fixed", fixed_weights={"image": 0, "text": 3})(draw())
    torch.testing.assert_close(got.weights, torch.tensor([[0.25], [0.0], [0.75]]).expand(3, 16))


def test_default_rules():
    assert build("shared").fusion == build("separate").fusion == build(expert={}).fusion == "evidence"
    assert build("concat").fusion == "joint"
    for head in HEADS:
        model = build(head)
        assert ("joint" in model.fusions) == model.head.is_joint
        assert "experts" not in model.fusions
    assert {"joint", "experts"} <= {*build(expert={}).fusions}


def test_each_rule_has_confidence_temperatures_of_its_own():
    model = build()
    model.confidence_temperatures[model.fusions.index("entropy")] = 2.5
    inputs, rows, keep = scattered()
    outputs = model.outputs(inputs, rows, 16)
    assert torch.equal(outputs.present, keep)
    assert not outputs.logits[~keep].any()
    got, want = model.fuse(outputs, "entropy"), fuse(outputs.logits, keep)
    torch.testing.assert_close(got.probabilities, (want.logits / 2.5).softmax(1))
    torch.testing.assert_close(got.weights, want.weights)


@pytest.mark.parametrize("fusion", RULES)
def test_same_answer_alone_in_any_batch_and_any_order(fusion):
    model = build("shared", fusion, expert={})
    inputs = draw(64)
    whole = model(inputs)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for picked in (*order[:5].split(1), order[:8], order, torch.arange(8)):
        part = model({m: x[picked] for m, x in inputs.items()})
        torch.testing.assert_close(part.logits, whole.logits[picked], rtol=0, atol=1e-5)
        torch.testing.assert_close(part.probabilities, whole.probabilities[picked], rtol=0, atol=1e-5)
        torch.testing.assert_close(part.weights, whole.weights[:, picked], rtol=0, atol=1e-5)
        torch.testing.assert_close(part.unimodal_logits, whole.unimodal_logits[:, picked], rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_rows_say_whose_input_it_is(head):
    model = build(head)
    inputs, rows, keep = scattered()
    got, full = model(inputs, rows, 16), draw()
    assert torch.equal(got.present, keep)
    for b in range(16):
        one = model({m: full[m][b : b + 1] for i, m in enumerate(SIZES) if keep[i, b]})
        torch.testing.assert_close(got.logits[b], one.logits[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(got.weights[:, b], one.weights[:, 0], rtol=0, atol=1e-5)


def test_an_absent_cell_costs_nothing():
    model, seen = build(), []
    for encoder in model.encoders:
        encoder.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    inputs, rows, keep = scattered()
    model(inputs, rows, 16)
    assert seen == keep.sum(1).tolist()
    seen.clear()
    model(draw(modalities=("image",)))
    assert seen == [16]


def test_adapters_only_where_sizes_differ():
    model = build()
    assert [type(a) for a in model.adapters] == [nn.Identity, nn.Linear, nn.Identity]
    assert tuple(model.adapters[1].weight.shape) == (8, 5)
    assert model.encode("image", draw()["image"]).shape == (16, 8)
    assert all(isinstance(a, nn.Identity) for a in build(widths=(7, 7, 7)).adapters)
    for head in ("separate", "concat"):
        assert all(isinstance(a, nn.Identity) for a in build(head).adapters)


def test_a_shared_head_is_one_layer():
    model = build(widths=(8, 8, 8))
    h = torch.randn(3, 8)
    a, b, c = (model.classify(m, h) for m in SIZES)
    assert torch.equal(a, b)
    assert torch.equal(b, c)
    linear = model.head.linear
    torch.testing.assert_close(a, h @ linear.weight.T + linear.bias)
    separate = build("separate", widths=(8, 8, 8))
    a, b = (separate.classify(m, h) for m in ("audio", "text"))
    assert not torch.allclose(a, b, atol=0.01)


def test_concat_logits_sum_to_the_joint_ones():
    model = build("concat")
    nn.init.normal_(model.head.linear.bias)
    inputs = draw()
    outputs = model.outputs(inputs, {m: torch.arange(16) for m in SIZES}, 16)
    torch.testing.assert_close(outputs.logits.sum(0), outputs.joint)
    features = torch.cat([model.encode(m, x) for m, x in inputs.items()], 1)
    torch.testing.assert_close(outputs.joint, model.head.linear(features))


@pytest.mark.parametrize("head", ["shared", "separate"])
def test_no_joint_logits_from_a_unimodal_head(head):
    model = build(head)
    assert model.outputs(draw(), {m: torch.arange(16) for m in SIZES}, 16).joint is None
    with pytest.raises(NotImplementedError, match="unimodal logits only"):
        model.joint({}, {}, 1)


def test_a_missing_modality_is_zero_features_to_concat():
    model = build("concat")
    inputs, rows, keep = scattered()
    filled = torch.zeros(16, 8 + 5 + 8)
    for m, columns in zip(SIZES, (slice(0, 8), slice(8, 13), slice(13, 21)), strict=True):
        filled[rows[m], columns] = model.encode(m, inputs[m])
    want = model.head.linear(filled)
    torch.testing.assert_close(model.outputs(inputs, rows, 16).joint, want)
    scale = model.confidence_temperatures[0][keep.sum(0) - 1].unsqueeze(1)
    torch.testing.assert_close(model(inputs, rows, 16).probabilities, (want / scale).softmax(1))


def test_experts_are_the_unimodal_ones_and_where_all_are_present_the_joint_one():
    model = build("shared", "experts", expert={})
    model.joint_temperature.fill_(3.0)
    _, _, keep = scattered(64)
    keep[:, ::3] = True
    rows = {m: keep[i].nonzero().flatten() for i, m in enumerate(SIZES)}
    outputs = model.outputs({m: x[rows[m]] for m, x in draw(64).items()}, rows, 64)
    got = model.fuse(outputs)
    count = keep.sum(0)
    assert set(count.tolist()) == {1, 2, 3}
    for b in range(64):
        experts = [outputs.logits[i, b] / model.temperatures[i] for i in range(3) if keep[i, b]]
        experts += [outputs.joint[b] / 3.0] * bool(count[b] == 3)
        want = sum(z.log_softmax(0) for z in experts) / model.confidence_temperatures[0][count[b] - 1]
        torch.testing.assert_close(got.probabilities[b], want.softmax(0))
    product = model.fuse(outputs, "calibrated_product")
    torch.testing.assert_close(got.weights, product.weights)
    assert not torch.allclose(
        model.opinions(outputs).fuse(RULES["experts"]).logits[::3], product.logits[::3], atol=0.1
    )


def test_a_joint_expert_is_absent_whatever_it_says():
    model = build(expert={})
    inputs, rows, keep = scattered()
    outputs = model.outputs(inputs, rows, 16)
    other = Outputs(
        outputs.logits, outputs.present, torch.where(keep.all(0).unsqueeze(1), outputs.joint, 99.0)
    )
    assert torch.equal(model.fuse(outputs).logits, model.fuse(other).logits)


def test_a_joint_temperature_only_where_there_is_a_joint_expert():
    for head in HEADS:
        assert "joint_temperature" not in build(head).state_dict()
    assert {"joint_temperature", "joint_weight"} <= {*build(expert={}).state_dict()}


def test_joint_weights_are_shares_of_information():
    model = build("concat")
    got = model(draw())
    want = fuse(got.unimodal_logits, rule="product", temperatures=model.temperatures)
    torch.testing.assert_close(got.weights, want.weights)


@pytest.mark.parametrize("head", HEADS)
def test_trains_without_a_framework(head):
    model = build(head).train()
    model.confidence_temperatures.fill_(1)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    inputs, labels = draw(32), torch.arange(32) % 4
    losses = []
    for _ in range(80):
        got = model(inputs)
        loss = cross_entropy(got.logits, labels)
        optimizer.zero_grad()
        (loss + sum(cross_entropy(z, labels) for z in got.unimodal_logits)).backward()
        optimizer.step()
        losses.append(loss.item())
    only_its_own_loss = {*model.head.cascade.decoders[-1].parameters()} if head == "mmin" else set()
    assert all(p.grad is not None and p.grad.any() for p in {*model.head.parameters()} - only_its_own_loss)
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(
    "encoder",
    [
        nn.Linear(3, 7),
        nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)),
        nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Dropout(0.1)),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(3, 7), nn.Tanh()), nn.Identity()),
    ],
)
def test_finds_the_feature_size(encoder):
    model = MultimodalClassifier({"a": encoder}, 2)
    assert model.head.linear.in_features == 7
    assert model({"a": torch.zeros(2, 3)}).logits.shape == (2, 2)


@pytest.mark.parametrize(
    "encoder",
    [
        nn.Flatten(),
        nn.Sequential(),
        nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7)),
        nn.ModuleList([nn.Linear(3, 7)]),
    ],
)
def test_asks_for_a_feature_size_it_cannot_find(encoder):
    with pytest.raises(ValueError, match=r"encoder of 'a b'.*feature_sizes=\{'a b': d\}"):
        MultimodalClassifier({"a b": encoder}, 2)
    model = MultimodalClassifier({"a b": encoder, "c": nn.Linear(3, 3)}, 2, feature_sizes={"a b": 7})
    assert model.head.sizes == (7, 7)


NAMES = ["a.b", "keys", "training", "two words", "weight", "forward", "0", "é"]


@pytest.mark.parametrize("head", HEADS)
def test_modalities_may_have_any_name(head):
    torch.manual_seed(0)
    model = MultimodalClassifier({n: nn.Linear(3, 4) for n in NAMES}, 2, head=head).eval()
    assert model.modalities == tuple(NAMES)
    inputs = {n: torch.randn(5, 3) for n in NAMES}
    other = MultimodalClassifier({n: nn.Linear(3, 4) for n in NAMES}, 2, head=head).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(inputs).logits, model(inputs).logits)
    backwards = model(dict(reversed(inputs.items())))
    torch.testing.assert_close(backwards.logits, model(inputs).logits)
    for n in NAMES:
        assert model({n: inputs[n]}).present.sum() == 5


def test_buffers_are_saved():
    state = build(fixed_weights={"image": 3}).state_dict()
    other = build()
    with torch.no_grad():
        for name in ("temperatures", "confidence_temperatures"):
            getattr(other, name).fill_(1)
    other.load_state_dict(state)
    assert other.temperatures.tolist() == [0.5, 2.0, 1.5]
    assert other.fixed_weights.tolist() == [1, 3, 1]
    torch.testing.assert_close(other.confidence_temperatures[0], torch.tensor([1.2, 0.7, 1.9]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoders": {}}, "at least one encoder"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"head": "share"}, "unknown head 'share'; the heads are shared, separate, concat"),
        ({"fusion": "calibrated"}, "unknown fusion 'calibrated'; this model has evidence, entropy, "),
        ({"fusion": "joint"}, "unknown fusion 'joint'"),
        ({"fusion": "experts", "head": "concat"}, "unknown fusion 'experts'"),
    ],
)
def test_refuses_options(options, words):
    with pytest.raises(ValueError, match=words):
        MultimodalClassifier(**{"encoders": {"a": nn.Linear(3, 4)}, "num_classes": 2, **options})


def test_refuses_inputs():
    model, x = build(), draw()
    with pytest.raises(ValueError, match="inputs is empty"):
        model({})
    with pytest.raises(ValueError, match=r"unknown modality 'video'; this model has audio, image, text"):
        model({**x, "video": x["audio"]})
    with pytest.raises(ValueError, match=r"same length, got \{'audio': 16, 'image': 3\}"):
        model({"audio": x["audio"], "image": x["image"][:3]})
    rows = {m: torch.arange(16) for m in SIZES}
    with pytest.raises(ValueError, match="rows needs size"):
        model(x, rows)
    with pytest.raises(ValueError, match="every input needs its rows"):
        model({"audio": x["audio"]}, rows, 16)
    with pytest.raises(ValueError, match="every input needs its rows"):
        model(x, {"audio": rows["audio"]}, 16)
    with pytest.raises(ValueError, match="every input needs its rows"):
        model({"audio": x["audio"]}, {"audio": torch.arange(15)}, 16)
    with pytest.raises(ValueError, match="no modality is present in rows 16, 17"):
        model(x, rows, 18)
    with pytest.raises(ValueError, match="unknown fusion 'median'"):
        model.fuse(model.outputs(x, rows, 16), "median")


@pytest.mark.parametrize("head", HEADS)
def test_no_samples(head):
    got = build(head)(draw(0))
    assert got.logits.shape == (0, 4)
    assert got.weights.shape == (3, 0)


@pytest.mark.parametrize("head", HEADS)
def test_half_precision(head):
    exact = build(head)(draw())
    with torch.autocast("cpu", torch.bfloat16):
        got = build(head)(draw())
    assert got.unimodal_logits.dtype == got.weights.dtype == torch.float32
    torch.testing.assert_close(got.probabilities.float(), exact.probabilities, rtol=0, atol=0.05)


def test_eval_mode_restores_the_mode_of_every_module():
    model = MultimodalClassifier({"a": torch.nn.Dropout()}, 2, feature_sizes={"a": 2})
    model.train()
    model.encoders[0].eval()
    with model.eval_mode():
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert model.training
    assert not model.encoders[0].training
