"""The turn of a joint expert: against float64, what it may change, and what only it can learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from methods.driver import CLASSES, DIM, SIZES, batch_of, sgd, step
from methods.test_mla_joint import whole
from references import joint, joint_expert
from references.mla import MLA
from torch import nn

from altuna import Batch, MultimodalClassifier, methods
from altuna.data.dataset import MultimodalDataset, loader
from altuna.methods.base import Method
from altuna.methods.parts.joint_turn import with_expert
from altuna.training.loop import Loop

NAMES = tuple(SIZES)
FORMS = ("detached", "turn", "apart")
OWN = 4  # features of the expert's own encoders


def method_of(form, names=NAMES[:2], name="mla", own=None, **options):
    """A method with an expert of that form, on linear encoders."""
    torch.manual_seed(0)
    kind = with_expert(methods.get(name), form)
    encoders = {m: nn.Linear(SIZES[m], DIM) for m in names}
    own = names if own is None else own
    expert = {m: nn.Linear(SIZES[m], OWN) for m in own} if form == "apart" else {}
    return kind(MultimodalClassifier(encoders, CLASSES, head=kind.head, expert=expert), **options)


def pairs(p, prefix, names):
    return {m: (p[f"{prefix}.{i}.weight"], p[f"{prefix}.{i}.bias"]) for i, m in enumerate(names)}


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_with_reference(form, modalities, keep):
    names, lr, alpha = NAMES[:modalities], 0.3, 0.3
    method = method_of(form, names, order="given", reset="never", alpha=alpha)
    p = joint.arrays(method.model)
    parts = [f"expert.network.{k}.{n}" for k in (0, 2) for n in ("weight", "bias")]
    want = MLA(pairs(p, "encoders", names), (p["head.linear.weight"], p["head.linear.bias"]), lr)
    expert = joint_expert.JointExpert([p[n] for n in parts], lr)
    own = pairs(p, "expert_encoders", names) if form == "apart" else {}
    optimizer, joint_turns = sgd(method, lr), 0
    for seed in range(12):
        batch = batch_of(seed, 6, names, keep)
        turns = step(method, batch, optimizer)
        inputs, labels = whole(batch, names)
        before = dict(want.encoders)
        for m in names:
            if m in batch.inputs:
                want.turn(m, batch.inputs[m].double().numpy(), batch.labels_of(m).numpy(), alpha)
        assert (turns[-1].kind == "joint") == (len(labels) > 0)
        if not len(labels):
            continue
        joint_turns += 1
        seeing = {"detached": before, "turn": want.encoders, "apart": own}[form]
        gradients = expert.step(joint_expert.encode(seeing, inputs), labels)
        if form == "turn":
            want.encoders = joint_expert.descend(want.encoders, inputs, gradients, lr)
        if form == "apart":
            own = joint_expert.descend(own, inputs, gradients, lr)
    assert joint_turns > 2
    values = {"p": want.p, "head.linear.weight": want.weight, "head.linear.bias": want.bias}
    for prefix, encoders in (("encoders", want.encoders), ("expert_encoders", own)):
        for i, m in enumerate(encoders):
            values[f"{prefix}.{i}.weight"], values[f"{prefix}.{i}.bias"] = encoders[m]
    values |= dict(zip(parts, expert.network, strict=True))
    got = {"p": method.projector.P, **dict(method.model.named_parameters())}
    assert {*values} == {*got}
    joint.assert_same({n: t.detach() for n, t in got.items()}, values)


@pytest.mark.parametrize("form", FORMS)
def test_who_trains_in_the_joint_turn(form):
    method = method_of(form)
    turn = step(method, batch_of(0), sgd(method))[-1]
    reached = {n.split(".")[0] for n, p in method.model.named_parameters() if p.grad is not None}
    assert reached == {"expert"} | {"turn": {"encoders"}, "apart": {"expert_encoders"}}.get(form, set())
    assert turn.name == ("joint" if form == "detached" else "joint:sound+picture")


def test_a_modality_without_an_encoder_of_the_expert_is_shared_and_not_trained():
    method = method_of("apart", own=NAMES[:1])
    step(method, batch_of(0), sgd(method))
    reached = {n for n, p in method.model.named_parameters() if p.grad is not None}
    assert {n.rpartition(".")[0] for n in reached} == {
        *("expert.network.0", "expert.network.2", "expert_encoders.0")
    }


@pytest.mark.parametrize(("form", "calls"), [("detached", 1), ("turn", 2), ("apart", 1)])
def test_only_the_turn_encodes_anew(form, calls, monkeypatch):
    method, encoded = method_of(form), []
    real = method.model.encode
    monkeypatch.setattr(method.model, "encode", lambda m, x: encoded.append(m) or real(m, x))
    step(method, batch_of(0), sgd(method))
    assert sorted(encoded) == sorted([*NAMES[:2]] * calls)


def test_detached_features_of_a_method_that_has_none_are_encoded():
    class OnlyTheFirst(Method):
        def turns(self, batch):
            return [*super().turns(batch)][:1]

    kind = with_expert(OnlyTheFirst, "detached")
    encoders = {m: nn.Linear(SIZES[m], DIM) for m in NAMES}
    method, batch = kind(MultimodalClassifier(encoders, CLASSES, expert={})), batch_of(0, modalities=NAMES)
    turn = step(method, batch, sgd(method))[-1]
    assert [*turn.features] == [*NAMES]
    for m in NAMES[1:]:
        torch.testing.assert_close(turn.features[m], method.model.encode(m, batch.inputs[m]))
    assert not any(f.requires_grad for f in turn.features.values())


def signs(n, seed=0):
    """Whether two signs agree: a label that depends on their combination alone."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=(2, n))
    x = (2 * labels - 1)[..., None] + 0.3 * rng.normal(size=(2, n, 3))
    arrays = dict(zip("ab", x.astype(np.float32), strict=True))
    return MultimodalDataset(arrays, dict.fromkeys("ab", np.arange(n)), (labels[0] == labels[1]).astype(int))


@pytest.mark.parametrize("name", ["late_fusion", "mla"])
@pytest.mark.parametrize("form", ["detached", "apart"])
def test_the_unimodal_experts_are_the_same_with_and_without(name, form):
    """Bit for bit, dropout included: what is random is drawn before the joint turn."""
    weights = {}
    for kind in (methods.get(name), with_expert(methods.get(name), form)):
        torch.manual_seed(0)
        encoders = {m: nn.Sequential(nn.Linear(3, 12), nn.Dropout(0.5), nn.ReLU()) for m in "ab"}
        own = {m: copy.deepcopy(e) for m, e in encoders.items()} if form == "apart" else {}
        expert = None if kind.expert == "off" else own
        model = MultimodalClassifier(
            encoders, 2, head=kind.head, expert=expert, feature_sizes={"a": 12, "b": 12}
        )
        Loop(kind(model), lr=0.01, epochs=3, clip=1.0).run(
            loader(signs(200), 16, 0), loader(signs(64, 1), 64)
        )
        weights[kind.expert] = {n: p for n, p in model.named_parameters() if not n.startswith("expert")}
    assert weights["off"].keys() == weights[form].keys()
    assert all(torch.equal(p, weights[form][n]) for n, p in weights["off"].items())


def test_refusals():
    with pytest.raises(ValueError, match="it has a joint expert of its own"):
        with_expert(methods.get("mla_joint"), "turn")
    with pytest.raises(ValueError, match="its head 'concat' has joint logits already"):
        with_expert(methods.get("concat"), "detached")
    with pytest.raises(ValueError, match="needs a model with a joint expert"):
        with_expert(methods.get("mla"), "turn")(
            MultimodalClassifier({m: nn.Linear(3, 4) for m in "ab"}, CLASSES)
        )
    assert with_expert(methods.get("mla"), "off") is methods.get("mla")


def test_samples_without_all_modalities_teach_the_expert_nothing():
    method, batch = method_of("detached"), batch_of(4, 12, keep=0.6)
    complete = set(batch.rows["sound"].tolist()) & set(batch.rows["picture"].tolist())
    assert 0 < len(complete) < 12
    labels = torch.tensor([int(y) if b in complete else (int(y) + 1) % 3 for b, y in enumerate(batch.labels)])
    losses = []
    for some in (batch, Batch(batch.inputs, batch.rows, labels, batch.indices)):
        *_, turn = method.turns(some)
        losses.append(method.loss(turn, some).item())
    assert losses[0] == losses[1]
