"""Temperatures against brute force, and what calibrating a model fits on what."""

from __future__ import annotations

from math import comb

import pytest
import torch
from references import temperature as reference
from torch import nn
from torch.nn.functional import cross_entropy

from altuna import MultimodalClassifier
from altuna.core.calibration import (
    MIN_ROWS,
    calibrate,
    modalities_with_few_rows,
)
from altuna.core.ensemble import HeldOut
from altuna.core.fusion import RULES
from altuna.core.outputs import Features, Outputs
from altuna.core.subsets import MAX_SUBSETS, sample_subsets
from altuna.core.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature


def overconfident(seed, rows=400, classes=5, factor=4.0, signal=1.5):
    """Logits whose best temperature is near ``factor``."""
    g = torch.Generator().manual_seed(seed)
    honest = torch.randn(rows, classes, generator=g) * signal
    labels = torch.multinomial(honest.softmax(1), 1, generator=g).flatten()
    return honest * factor, labels


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 3.0, 50.0, 3000.0])
@pytest.mark.parametrize("classes", [2, 5, 100])
def test_agrees_with_brute_force(factor, classes):
    logits, labels = overconfident(classes, 300, classes, factor)
    got = fit_temperature(logits, labels)
    want = reference.best_temperature(logits.numpy(), labels.numpy())
    assert got == pytest.approx(want, rel=1e-3)
    assert got == pytest.approx(factor, rel=0.5)


def test_recovers_the_temperature_of_honest_logits():
    logits, labels = overconfident(0, 20_000)
    assert fit_temperature(logits, labels) == pytest.approx(4.0, rel=0.05)


def test_deterministic_and_blind_to_shift_and_order():
    logits, labels = overconfident(1)
    want = fit_temperature(logits, labels)
    assert fit_temperature(logits, labels) == want
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    assert fit_temperature(logits[order], labels[order]) == pytest.approx(want, rel=1e-6)
    shifted = logits.double() + torch.linspace(-1e3, 1e3, len(labels)).unsqueeze(1)
    assert fit_temperature(shifted, labels) == pytest.approx(want, rel=1e-6)


def test_scales_with_the_logits():
    logits, labels = overconfident(2)
    assert fit_temperature(logits * 8, labels) == pytest.approx(8 * fit_temperature(logits, labels), rel=1e-5)


def test_half_precision_and_gradient_are_fine():
    logits, labels = overconfident(3)
    want = fit_temperature(logits.bfloat16().float(), labels)
    assert fit_temperature(logits.bfloat16().requires_grad_(), labels) == want


def test_bounds():
    labels = torch.arange(4).repeat(5)
    right = nn.functional.one_hot(labels, 4).float()
    assert fit_temperature(right, labels) == pytest.approx(MIN_TEMPERATURE, rel=1e-5)
    assert fit_temperature(right * 1e-3, labels) == pytest.approx(MIN_TEMPERATURE, rel=1e-5)
    assert fit_temperature(right, (labels + 1) % 4) == pytest.approx(MAX_TEMPERATURE, rel=1e-5)


def test_no_rows_gives_one():
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)) == 1.0


def test_a_toss_up_is_a_sample_with_every_label_at_once():
    logits, labels = torch.tensor([[4.0, 0.0, -1.0], [0.0, 3.0, 0.5]]), torch.tensor([0, 1])
    # Every row three times with its own label and, at a third of the weight, once with each label.
    everything = torch.cat([logits.repeat(3 * 2, 1), logits.repeat(3, 1)])
    targets = torch.cat([labels.repeat(3 * 2), torch.arange(3).repeat_interleave(2)])
    assert fit_temperature(logits, labels) == pytest.approx(MIN_TEMPERATURE, rel=1e-5)
    assert fit_temperature(logits, labels, pseudo_count=1) == pytest.approx(
        fit_temperature(everything, targets)
    )


def model_of(count, fusion="calibrated_product", classes=5, **options):
    encoders = {f"m{i}": nn.Linear(3, 4) for i in range(count)}
    return MultimodalClassifier(encoders, classes, **{"head": "separate", "fusion": fusion, **options})


def confidence(model, rule=None):
    """The temperatures after fusion [M] of a rule, the model's own when None."""
    return model.confidence_temperatures[model.fusions.index(rule or model.fusion)]


def outputs_of(factors, keep=None, rows=600, seed=0):
    """Modalities overconfident by different amounts about the same labels, absent cells full of nonsense."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (rows,), generator=g)
    honest = 2 * nn.functional.one_hot(labels, 5) + torch.randn(len(factors), rows, 5, generator=g)
    logits = honest * torch.tensor(factors).view(-1, 1, 1)
    present = torch.ones(len(factors), rows, dtype=torch.bool) if keep is None else keep
    logits[~present] = 77 * nn.functional.one_hot((labels + 1) % 5, 5).float().expand_as(logits)[~present]
    return Outputs(logits, present, None), labels


def masked(rows=600, seed=1, modalities=3):
    g = torch.Generator().manual_seed(seed)
    present = torch.rand(modalities, rows, generator=g) < 0.6
    present[torch.randint(modalities, (rows,), generator=g), torch.arange(rows)] = True
    return present


# Without temperatures of its own, a rule is promised nothing where cells are missing: subsets share one.
LOWERED = [
    (f, c) for f, r in RULES.items() if r.joint == "unused" for c in (True, False) if c or r.calibrated
]


@pytest.mark.parametrize(("fusion", "complete"), LOWERED)
def test_calibrating_lowers_the_loss(fusion, complete):
    outputs, labels = outputs_of([1.0, 6.0, 0.2], None if complete else masked())
    model = model_of(3, fusion)
    before = cross_entropy(model.fuse(outputs).logits, labels)
    calibrate(model, outputs, labels)
    after = cross_entropy(model.fuse(outputs).logits, labels)
    assert after < before - 0.005
    for i, mine in enumerate(outputs.present):
        z, y = outputs.logits[i, mine], labels[mine]
        assert cross_entropy(z / model.temperatures[i], y) <= cross_entropy(z, y) + 1e-6


def test_a_modality_is_fitted_on_the_rows_that_have_it():
    outputs, labels = outputs_of([1.0, 6.0, 0.2], masked())
    model = model_of(3)
    calibrate(model, outputs, labels)
    for i, mine in enumerate(outputs.present):
        want = reference.best_temperature(
            outputs.logits[i, mine].numpy(), labels[mine].numpy(), pseudo_count=1
        )
        assert model.temperatures[i].item() == pytest.approx(want, rel=1e-3)
    t = model.temperatures
    assert t[1] > 3 * t[0] > 9 * t[2]


@pytest.mark.parametrize("rows", [0, MIN_ROWS - 1])
def test_a_modality_with_too_few_rows_shares_a_temperature(rows):
    present = masked()
    present[1, rows:] = False
    present[0] = True
    outputs, labels = outputs_of([3.0, 3.0, 3.0], present)
    model = model_of(3)
    calibrate(model, outputs, labels)
    each = labels.expand_as(present)[present]
    want = reference.best_temperature(outputs.logits[present].numpy(), each.numpy(), pseudo_count=1)
    assert model.temperatures[1].item() == pytest.approx(want, rel=1e-3)
    assert model.temperatures[0] != model.temperatures[1] != model.temperatures[2]
    assert modalities_with_few_rows(present) == [1]
    if not rows:
        assert confidence(model)[2] == 1  # no sample has all three


def test_confidence_is_fitted_per_number_of_modalities():
    # Modalities that repeat each other: their product is overconfident by as many as there are.
    outputs, labels = outputs_of([1.0])
    again = Outputs(outputs.logits.expand(3, -1, -1), outputs.present.expand(3, -1), None)
    model = model_of(3)
    calibrate(model, again, labels)
    torch.testing.assert_close(confidence(model), torch.tensor([1.0, 2.0, 3.0]), rtol=0.02, atol=0)


def test_confidence_sees_every_subset_of_its_size():
    outputs, labels = outputs_of([1.0, 6.0, 0.2], masked())
    model = model_of(3, "calibrated_entropy")
    calibrate(model, outputs, labels)
    pairs, targets = [], []
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        rows = outputs.present[a] & outputs.present[b]
        present = torch.zeros(3, int(rows.sum()), dtype=torch.bool)
        present[[a, b]] = True
        some = Outputs(outputs.logits[:, rows], present, None)
        pairs.append(model.opinions(some).fuse(RULES["calibrated_entropy"]).logits)
        targets.append(labels[rows])
    want = reference.best_temperature(torch.cat(pairs).numpy(), torch.cat(targets).numpy(), pseudo_count=1)
    assert confidence(model)[1].item() == pytest.approx(want, rel=1e-3)


def test_confidence_changes_no_decision_and_each_rule_has_its_own():
    outputs, labels = outputs_of([1.0, 6.0, 0.2], masked())
    model = model_of(3)
    calibrate(model, outputs, labels)
    own, bare = model.fuse(outputs), model.opinions(outputs).fuse(RULES[model.fusion])
    assert torch.equal(own.logits.argmax(1), bare.logits.argmax(1))
    scale = confidence(model)[outputs.present.sum(0) - 1].unsqueeze(1)
    assert (confidence(model)[1:] - 1).abs().min() > 0.01
    torch.testing.assert_close(own.probabilities, (bare.logits / scale).softmax(1))
    torch.testing.assert_close(own.probabilities, own.logits.softmax(1))
    other, plain = model.fuse(outputs, "entropy"), model.opinions(outputs).fuse(RULES["entropy"])
    scale = confidence(model, "entropy")[outputs.present.sum(0) - 1].unsqueeze(1)
    torch.testing.assert_close(other.probabilities, (plain.logits / scale).softmax(1))


def test_a_joint_head_gets_a_confidence_temperature():
    outputs, labels = outputs_of([1.0, 1.0])
    model = model_of(2, None, head="concat")
    logits, _ = outputs_of([5.0], seed=0)
    outputs = outputs._replace(joint=logits.logits[0])
    calibrate(model, outputs, labels)
    want = reference.best_temperature(outputs.joint.numpy(), labels.numpy(), pseudo_count=1)
    assert confidence(model)[1].item() == pytest.approx(want, rel=1e-3)


def test_a_joint_head_is_calibrated_for_gaps_that_validation_does_not_have():
    """On what the head itself makes of each subset of the features."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (400,), generator=g)
    of = {f"m{i}": nn.functional.one_hot(labels, 5) + torch.randn(400, 5, generator=g) for i in range(2)}
    rows = dict.fromkeys(of, torch.arange(400))
    model = MultimodalClassifier(
        {m: nn.Identity() for m in of}, 5, head="concat", feature_sizes=dict.fromkeys(of, 5)
    )
    model.head.linear.weight.data = torch.eye(5).repeat(1, 2) * torch.tensor([9.0] * 5 + [4.0] * 5)
    with torch.no_grad():
        outputs = model.outputs_of(of, rows, 400)
        calibrate(model, outputs, labels, HeldOut([(model, Features(of, rows, labels))]))
        alone = [model.outputs_of({m: of[m]}, {m: rows[m]}, 400).joint for m in of]
    want = reference.best_temperature(torch.cat(alone).numpy(), labels.repeat(2).numpy(), pseudo_count=1)
    assert confidence(model)[0].item() == pytest.approx(want, rel=1e-3)
    want = reference.best_temperature(outputs.joint.numpy(), labels.numpy(), pseudo_count=1)
    assert confidence(model)[1].item() == pytest.approx(want, rel=1e-3)
    assert abs(confidence(model)[0] - confidence(model)[1]) > 0.1
    # Rows with gaps of their own say it directly.
    gaps = {"m0": torch.arange(200, 400), "m1": torch.arange(400)}
    of["m0"] = of["m0"][200:]
    with torch.no_grad():
        outputs = model.outputs_of(of, gaps, 400)
        calibrate(model, outputs, labels, HeldOut([(model, Features(of, gaps, labels))]))
    want = reference.best_temperature(outputs.joint[:200].numpy(), labels[:200].numpy(), pseudo_count=1)
    assert confidence(model)[0].item() == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize(("number", "size"), [(20, 10), (7, 3), (40, 39), (40, 1), (4, 2)])
def test_of_many_subsets_some_in_which_each_modality_is(number, size):
    found = sample_subsets(number, size)
    assert found == sample_subsets(number, size)
    assert len({*found}) == len(found) == min(comb(number, size), MAX_SUBSETS)
    assert all(len({*subset}) == size for subset in found)
    counts = torch.tensor([m for subset in found for m in subset]).bincount(minlength=number)
    if len(found) * size >= 2 * number:
        assert counts.min() > 0.5 * counts.max() > 0


def test_same_outputs_same_temperatures():
    outputs, labels = outputs_of([1.0, 6.0, 0.2], masked())
    models = [model_of(3), model_of(3)]
    for model in models:
        calibrate(model, outputs, labels)
    calibrate(models[1], outputs, labels)  # fitting again starts from nothing
    for name in ("temperatures", "confidence_temperatures", "evidence_weights"):
        assert torch.equal(getattr(models[0], name), getattr(models[1], name))


def test_a_joint_expert_is_fitted_on_the_rows_that_have_everything():
    outputs, labels = outputs_of([1.0, 6.0, 0.2], masked())
    more, _ = outputs_of([5.0], seed=0)
    whole = outputs.present.all(0)
    joint = torch.where(whole.unsqueeze(1), more.logits[0], -more.logits[0])  # nonsense elsewhere
    model = model_of(3, None, expert={})
    calibrate(model, outputs._replace(joint=joint), labels)
    want = reference.best_temperature(joint[whole].numpy(), labels[whole].numpy(), pseudo_count=1)
    assert model.joint_temperature.item() == pytest.approx(want, rel=1e-3)
    # The last confidence temperature is for products with the joint expert, the others for those without.
    plain = model_of(3)
    calibrate(plain, outputs, labels)
    model.fusion = "experts"
    torch.testing.assert_close(plain.temperatures, model.temperatures)
    torch.testing.assert_close(confidence(plain)[:2], confidence(model)[:2])
    views = Outputs(outputs.logits[:, whole], outputs.present[:, whole], joint[whole])
    fused = model.opinions(views).fuse(RULES["experts"]).logits
    want = reference.best_temperature(fused.numpy(), labels[whole].numpy(), pseudo_count=1)
    assert confidence(model)[2].item() == pytest.approx(want, rel=1e-3)
    assert abs(confidence(model)[2] - confidence(plain)[2]) > 0.01
