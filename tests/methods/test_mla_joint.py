"""MLA with a joint turn against float64, and that the joint expert tells what no sum can."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from methods.driver import SIZES, batch_of, converged, method_of, sgd, step
from references import joint
from references import mla_joint as reference
from torch import nn

from altuna import Batch, MultimodalClassifier, methods
from altuna.core.calibration import calibrate
from altuna.methods.base import Turn

NAMES = tuple(SIZES)


def reference_of(model, lr):
    p = joint.arrays(model)
    encoders = {
        m: (p[f"encoders.{i}.weight"], p[f"encoders.{i}.bias"]) for i, m in enumerate(model.modalities)
    }
    network = [p[f"expert.network.{k}.{n}"] for k in (0, 2) for n in ("weight", "bias")]
    return reference.MLAJoint(encoders, (p["head.linear.weight"], p["head.linear.bias"]), network, lr)


def whole(batch, modalities):
    """Modality to the inputs of the samples that have all of them, and their labels."""
    common = [
        b
        for b in range(len(batch))
        if all(m in batch.rows and (batch.rows[m] == b).any() for m in modalities)
    ]
    inputs = {
        m: np.stack([batch.inputs[m][batch.rows[m] == b][0].double().numpy() for b in common])
        for m in modalities * bool(common)
    }
    return inputs, batch.labels[common].numpy()


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize("modalities", [2, 3])
def test_agrees_with_reference(modalities, keep, project):
    names = NAMES[:modalities]
    method = method_of("mla_joint", names, alpha=0.3, project=project)
    want, optimizer, joint_turns = reference_of(method.model, 0.3), sgd(method, 0.3), 0
    for seed in range(12):
        batch = batch_of(seed, 4, names, keep)
        turns = step(method, batch, optimizer)
        for m in names:
            if m in batch.inputs:
                want.turn(m, batch.inputs[m].double().numpy(), batch.labels_of(m).numpy(), 0.3, project)
        inputs, labels = whole(batch, names)
        if len(labels):
            want.joint_turn(inputs, labels)
        assert (turns[-1].name == "joint:" + "+".join(names)) == (len(labels) > 0)
        joint_turns += turns[-1].kind == "joint"
    assert joint_turns > 2
    assert (joint_turns < 12) == (keep < 1)
    got = {"p": method.projector.P, **dict(method.model.named_parameters())}
    values = {"p": want.p, "head.linear.weight": want.weight, "head.linear.bias": want.bias}
    for i, m in enumerate(names):
        values[f"encoders.{i}.weight"], values[f"encoders.{i}.bias"] = want.encoders[m]
    parts = [f"expert.network.{k}.{n}" for k in (0, 2) for n in ("weight", "bias")]
    values |= dict(zip(parts, want.expert.network, strict=True))
    assert {*values} == {*got}
    joint.assert_same({n: t.detach() for n, t in got.items()}, values)


def test_who_trains_when():
    method = method_of("mla_joint", NAMES)
    batch, optimizer = batch_of(0, modalities=NAMES), sgd(method)
    step(method, batch, optimizer)  # so that the projector is no identity
    for turn in method.turns(batch):
        before = copy.deepcopy(method.state_dict())
        optimizer.zero_grad()
        method.loss(turn, batch).backward()
        method.modify_gradients(turn, batch)
        optimizer.step()
        method.after_step(turn, batch)
        changed = {n for n, v in method.state_dict().items() if not torch.equal(v, before[n])}
        encoders = {f"model.encoders.{NAMES.index(m)}" for m in turn.modalities}
        own = "model.expert" if turn.kind else "model.head.linear"
        assert {n for n in changed if n.startswith("model.")} == {
            n for n in before if n.startswith((*encoders, own))
        }
        assert ("projector.P" in changed) == (turn.kind == "")


def test_samples_that_lack_something_do_not_reach_the_joint_turn():
    method, batch = method_of("mla_joint"), batch_of(4, 12, keep=0.6)
    turn = Turn(method.model.modalities, kind="joint")
    one = method.loss(turn, batch).item()
    _, kept = whole(batch, method.model.modalities)
    assert 0 < len(kept) < 12
    both = set(batch.rows["sound"].tolist()) & set(batch.rows["picture"].tolist())
    labels = torch.tensor([int(y) if b in both else (int(y) + 1) % 3 for b, y in enumerate(batch.labels)])
    inputs = {
        m: torch.stack([x if r in both else -x for x, r in zip(v, batch.rows[m].tolist(), strict=True)])
        for m, v in batch.inputs.items()
    }
    other = Batch(inputs, batch.rows, labels, batch.indices)
    assert method.loss(turn, other).item() == pytest.approx(one)


def test_no_joint_turn_without_a_whole_sample():
    method = method_of("mla_joint")
    rows = {"sound": torch.arange(4), "picture": torch.arange(4, 8)}
    full = batch_of(0)
    batch = Batch({m: x[:4] for m, x in full.inputs.items()}, rows, full.labels, full.indices)
    assert [t.name for t in method.turns(batch)] == ["sound", "picture"]
    alone = Batch({"sound": full.inputs["sound"]}, {"sound": torch.arange(8)}, full.labels, full.indices)
    assert [t.name for t in method.turns(alone)] == ["sound"]


def test_projection_keeps_the_shared_head_off_what_it_saw():
    moved = {}
    for project in (True, False):
        method = method_of("mla_joint", alpha=1e-4, project=project)
        optimizer, batch = sgd(method), batch_of(0)
        sound, picture, _ = method.turns(batch)
        for turn in (sound, picture):
            before = method.model.head.linear.weight.detach().clone()
            optimizer.zero_grad()
            method.loss(turn, batch).backward()
            method.modify_gradients(turn, batch)
            optimizer.step()
            method.after_step(turn, batch)
        mean = sound.features["sound"].detach().mean(0)
        moved[project] = ((method.model.head.linear.weight.detach() - before) @ mean).norm()
    assert moved[True] < 1e-2 * moved[False]


def test_the_joint_expert_tells_a_combination():
    """Whether two signs agree: no sum of unimodal logits can tell, however it is trained."""
    g = torch.Generator().manual_seed(0)

    def data(n):
        signs = torch.randint(2, (2, n), generator=g)
        x = (2 * signs - 1).unsqueeze(2) + 0.3 * torch.randn(2, n, 3, generator=g)
        rows = dict.fromkeys("ab", torch.arange(n))
        return Batch(dict(zip("ab", x, strict=True)), rows, (signs[0] == signs[1]).long(), torch.arange(n))

    torch.manual_seed(0)
    encoders = {m: nn.Sequential(nn.Linear(3, 12), nn.ReLU()) for m in "ab"}
    method = methods.get("mla_joint")(MultimodalClassifier(encoders, 2, expert={}))
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    for _ in range(150):
        step(method, data(64), optimizer)
    val, test = data(200), data(500)
    with torch.no_grad():
        outputs = method.model.outputs(val.inputs, val.rows, 200)
        calibrate(method.model, outputs, val.labels)
        outputs = method.model.outputs(test.inputs, test.rows, 500)
        accuracy = {
            rule: (method.model.fuse(outputs, rule).logits.argmax(1) == test.labels).float().mean()
            for rule in ("experts", "calibrated_product")
        }
    assert accuracy["experts"] > 0.95
    assert accuracy["calibrated_product"] < 0.7


def test_needs_a_joint_expert():
    with pytest.raises(ValueError, match="needs a model with a joint expert"):
        methods.get("mla_joint")(MultimodalClassifier({m: nn.Linear(3, 4) for m in "ab"}, 2))


def test_learns_what_two_modalities_tell():
    assert converged("mla_joint") > 0.95
