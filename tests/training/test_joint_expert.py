"""The option ``joint_expert`` from the fit to the export, and what only a joint expert can learn."""

import csv
import json

import numpy as np
import pytest
import torch

import altuna
from altuna.export.export import export
from altuna.runs.directory import read_metrics
from altuna.runs.evaluate import evaluate_run

FORMS = ("detached", "turn", "apart")
SHORT = {"epochs": 2, "batch_size": 16, "quiet": True, "report": False, "logger": "none"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Numbers, texts and more numbers, with empty cells."""
    path = tmp_path_factory.mktemp("expert") / "data.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "title", "a_0", "a_1", "b_0", "b_1"])
        for i in range(150):
            y, split = i % 3, ("train", "train", "val", "val", "test")[i // 3 % 5]
            a, b = (rng.normal(y, 1, 2).round(3).tolist() for _ in range(2))
            title = ("red fox", "blue sky", "green tea")[y] if i % 7 else ""
            writer.writerow([i, split, f"c{y}", title, *a, *(b if i % 5 else ["", ""])])
    return path


@pytest.fixture(scope="module", params=FORMS)
def run(request, table, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / request.param
    return altuna.fit(table, method="late_fusion", joint_expert=request.param, out=out, **SHORT)


SAMPLES = [
    {"title": "red fox", "a": np.zeros(2), "b": np.ones(2)},
    {"title": "green tea", "a": np.ones(2)},
    {"b": np.zeros(2)},
]


def probabilities(predictor, samples=SAMPLES):
    found = predictor.predict(samples)
    return np.stack([found[f"p_{c}"].to_numpy() for c in predictor.classes], 1)


def test_counts_where_all_modalities_are_present(run):
    predictor = altuna.load(run)
    before = probabilities(predictor)
    assert read_metrics(run)["fusion"]["joint_weight"] == predictor.model.joint_weight
    predictor.model.joint_weight += 0.5
    after = probabilities(predictor)
    assert np.abs(before[0] - after[0]).max() > 1e-3
    assert np.array_equal(before[1:], after[1:])


def test_evaluates_as_it_was_tested(run):
    tested, again = read_metrics(run), evaluate_run(run)
    assert again["fused"]["nll"] == pytest.approx(tested["fused"]["nll"], abs=1e-5)
    assert again["fusion"]["joint_weight"] == tested["fusion"]["joint_weight"]
    assert len(tested["subsets"]) == 7
    without = evaluate_run(run, without=["title"])
    assert without["fused"]["nll"] != again["fused"]["nll"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["safetensors", "torch-export", "onnx"])
def test_exports(run, format, tmp_path):
    if format == "onnx":
        if run.name != "apart":
            pytest.skip("the same graphs with less in them")
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    folder, checked = export(run, format, out=tmp_path / "out")
    assert checked["subsets"] == 7
    assert checked["largest_difference"] < 1e-4
    if format != "safetensors":
        sizes = [m["features"] for m in json.loads((folder / "export.json").read_text())["modalities"]]
        assert sizes == [*altuna.load(run).model.widths]


def test_the_unimodal_experts_start_alike_and_front_ends_are_fitted(table, tmp_path):
    """With lr 0 nothing but the draws of the weights is left."""
    runs = {
        form: altuna.load(
            altuna.fit(table, joint_expert=form, lr=0, out=tmp_path / form, **{**SHORT, "epochs": 1})
        ).model
        for form in ("off", *FORMS)
    }
    wanted = dict(runs["off"].named_parameters())
    for form in FORMS:
        own = dict(runs[form].named_parameters())
        assert all(torch.equal(own[name], value) for name, value in wanted.items())
    apart = runs["apart"]
    for encoder, other in zip(apart.encoders, apart.expert_encoders.values(), strict=True):
        pairs = zip(encoder.front_end.buffers(), other.front_end.buffers(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
        pairs = zip(encoder.network.parameters(), other.network.parameters(), strict=True)
        assert not all(torch.equal(one, two) for one, two in pairs)


REFUSED = {
    "concat": ("turn", "for the method 'concat': its head 'concat' has joint logits already"),
    "mla_joint": ("apart", "for the method 'mla_joint': it has a joint expert of its own"),
    "unimodal": ("turn", "needs 2 modalities, 'unimodal' trains only 'title'"),
    "mla": ("aparts", "no 'aparts'; did you mean 'apart'"),
}


@pytest.mark.parametrize("method", REFUSED)
def test_mistakes_are_one_line(method, table, tmp_path):
    form, wanted = REFUSED[method]
    with pytest.raises(altuna.UserError, match=f"joint_expert: .*{wanted}") as raised:
        altuna.fit(table, method=method, joint_expert=form, out=tmp_path / "run", **SHORT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("split", ["train", "val"])
def test_rows_with_all_modalities_are_needed(split, table, tmp_path):
    rows = [*csv.DictReader(table.open())]
    for i, row in enumerate(rows):
        if row["split"] == split:
            row |= {"title": ""} if i % 2 else {"b_0": "", "b_1": ""}
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(altuna.UserError, match=f"no {split} row that can be read has all modalities"):
        altuna.fit(path, joint_expert="turn", out=tmp_path / "run", **SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["off", "turn", "apart"])  # detached depends on what the encoders keep
def test_parity_of_two_digits(form, tmp_path):
    """Each modality is one of ten prototypes with noise; the label is whether the sum of both is odd."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(2, 10, 16))
    with (tmp_path / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", *(f"{m}_{i}" for m in ("left", "right") for i in range(16))])
        for i in range(1200):
            digits = rng.integers(10, size=2)
            x = prototypes[[0, 1], digits] + 0.5 * rng.normal(size=(2, 16))
            split = "train" if i < 600 else "val" if i < 800 else "test"
            writer.writerow([i, split, ("even", "odd")[digits.sum() % 2], *x.flatten().round(4)])
    options = {**SHORT, "epochs": 15, "batch_size": 32, "out": tmp_path / "run"}
    run = altuna.fit(tmp_path / "data.csv", method="late_fusion", joint_expert=form, **options)
    accuracy = read_metrics(run)["fused"]["accuracy"]
    assert 0.4 < accuracy < 0.6 if form == "off" else accuracy > 0.95
