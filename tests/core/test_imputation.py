"""Means of features in the place of absent ones, for every joint head."""

from __future__ import annotations

import csv
import json
import random

import numpy as np
import pytest
import torch
from methods.driver import CLASSES, DIM, SIZES, batch_of, covered, sgd, step
from references import imputation as reference
from references import joint
from torch import nn

import altuna
from altuna import MultimodalClassifier
from altuna.core import model
from altuna.core.heads import HEADS, CascadeHead

NAMES = tuple(SIZES)
HEADS_WITH_MEANS = [n for n, h in HEADS.items() if h.is_joint and not issubclass(h, CascadeHead)]


def model_of(head, modalities=3, impute="mean"):
    torch.manual_seed(0)
    encoders = {m: nn.Linear(SIZES[m], DIM) for m in NAMES[:modalities]}
    return MultimodalClassifier(encoders, CLASSES, head=head, impute=impute)


def trained_on(classifier, *batches):
    for batch in batches:
        classifier.train().outputs(batch.inputs, batch.rows, len(batch))
    return classifier.eval()


def means_of(classifier):
    return [classifier.get_buffer(f"mean{i}") for i in range(len(classifier.modalities))]


@pytest.mark.parametrize("window", [1024, 20, 3])
def test_means_agree_with_reference(window, monkeypatch):
    monkeypatch.setattr(model, "MEAN_ROWS", window)
    batches = [covered(0.6, NAMES, size) for size in (8, 5, 9, 8)]
    classifier = trained_on(model_of("concat"), *batches)
    for i, m in enumerate(NAMES):
        with torch.no_grad():
            seen = [classifier.encode(m, b.inputs[m]).double().numpy() for b in batches if m in b.inputs]
        want = reference.running_mean(seen, window)
        np.testing.assert_allclose(means_of(classifier)[i].numpy(), want, rtol=0, atol=1e-6)
        if window == 1024:
            np.testing.assert_allclose(want, np.concatenate(seen).mean(0))


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("head", HEADS_WITH_MEANS)
def test_logits_agree_with_reference(head, modalities):
    names = NAMES[:modalities]
    classifier = trained_on(model_of(head, modalities), batch_of(0, 50, names))
    for batch in (covered(0.6, names), batch_of(1, modalities=names[1:])):
        with torch.no_grad():
            got = classifier.outputs(batch.inputs, batch.rows, len(batch))
        p, means = joint.arrays(classifier), [mean.double().numpy() for mean in means_of(classifier)]
        logits, own = np.zeros((8, CLASSES)), np.zeros((modalities, 8, CLASSES))
        for b, sample in enumerate(joint.samples(batch.inputs, batch.rows, 8, names)):
            h = joint.encode(p, sample)
            logits[b] = joint.joint(head, p, reference.completed(h, means, modalities), modalities)
            for i, features in h.items():
                if classifier.head.joint_only:
                    alone = reference.completed({i: features}, means, modalities)
                    own[i, b] = joint.joint(head, p, alone, modalities)
                else:
                    own[i, b] = joint.unimodal(head, p, i, features, modalities)
        joint.assert_same({"joint": got.joint, "own": got.logits}, {"joint": logits, "own": own})


@pytest.mark.parametrize("head", HEADS_WITH_MEANS)
def test_a_row_does_not_depend_on_the_others_and_changes_nothing(head):
    classifier, batch = trained_on(model_of(head), batch_of(0, 50, NAMES)), covered(0.6, NAMES)
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    with torch.no_grad():
        whole = classifier(batch.inputs, batch.rows, 8).logits
        for b in range(8):
            mine = {m: batch.inputs[m][r == b] for m, r in batch.rows.items() if (r == b).any()}
            torch.testing.assert_close(classifier(mine).logits[0], whole[b])
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())


@pytest.mark.parametrize("name", ["concat", "cml", "agm", "modality_valuation"])
def test_acts_in_training(name):
    batch = covered(0.6, NAMES)
    weights = []
    for impute in ("zero", "mean"):
        method = altuna.methods.get(name)(model_of(altuna.methods.get(name).head, impute=impute))
        for _ in range(3):
            step(method, batch, sgd(method))
        weights.append(method.model.encoders[0].weight)
    assert not torch.allclose(*weights, atol=1e-4)


def test_two_passes_and_then_a_step_back():
    classifier = trained_on(model_of("sum"), batch_of(0, modalities=NAMES)).train()
    one, two = batch_of(1, modalities=NAMES[:2]), batch_of(2, modalities=NAMES)
    passes = [classifier.outputs(b.inputs, b.rows, 8).joint.sum() for b in (one, two)]
    sum(passes).backward()
    assert all(p.grad.isfinite().all() for p in classifier.parameters())


def test_complete_data_need_no_mean():
    batch = batch_of(0, modalities=NAMES)
    one, two = (trained_on(model_of("film", impute=i), batch) for i in ("zero", "mean"))
    got, want = (m.outputs(batch.inputs, batch.rows, 8).joint for m in (one, two))
    assert torch.equal(got, want)
    assert {*two.state_dict()} - {*one.state_dict()} == {"met", "mean0", "mean1", "mean2"}


@pytest.mark.parametrize(
    ("head", "impute", "words"),
    [
        ("concat", "median", "impute must be one of zero, mean, got 'median'"),
        ("shared", "mean", "the head 'shared' is not joint"),
        ("cra", "mean", "the head 'cra' reconstructs absent features"),
        ("mmin", "mean", "the head 'mmin' reconstructs absent features"),
    ],
)
def test_refuses(head, impute, words):
    with pytest.raises(ValueError, match=words):
        model_of(head, impute=impute)


def test_a_run_remembers_its_means(tmp_path):
    rng, path = random.Random(0), tmp_path / "samples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "a_0", "a_1", "b_0", "b_1"])
        for i in range(90):
            cells = [round(rng.gauss(2 * (i % 3) + 5, 1), 3) for _ in range(4)]
            writer.writerow([i, f"c{i % 3}", *(cells if i % 4 else [*cells[:2], "", ""])])
    method = {"name": "concat", "impute": "mean"}
    run = altuna.fit(path, method=method, epochs=2, accelerator="cpu", out=tmp_path / "run", quiet=True)
    assert json.loads((run / "config.json").read_text())["impute"] == "mean"
    loaded = altuna.load(run).model
    assert loaded.impute == "mean"
    assert loaded.met.min() > 0
    assert all(mean.any() for mean in means_of(loaded))
