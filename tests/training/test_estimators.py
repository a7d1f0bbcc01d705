"""The option ``estimators`` from the fit to the export, and run directories with damaged estimators."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import altuna
from altuna.export.export import export
from altuna.report import write_report
from altuna.runs.directory import read_metrics
from altuna.runs.evaluate import evaluate_run
from altuna.training.estimators import fit_estimators, vector_modalities

SHORT = {"epochs": 2, "batch_size": 16, "quiet": True, "report": False, "logger": "none"}
BOTH = "extra_trees,logistic"
FACTORS = {"a": 3.0, "b": 1.0}


def write(path, rows=240):
    """Numbers of two kinds with empty cells, and texts; networks with so low a learning rate learn little."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "title", *(f"{m}_{i}" for m in "ab" for i in range(3))])
        for i in range(rows):
            y, split = i % 3, ("train", "train", "val", "val", "test")[i // 3 % 5]
            a, b = (rng.normal(y * FACTORS[m], 1, 3).round(3).tolist() for m in "ab")
            a[2] = 7  # constant
            b[1] = b[1] if i % 4 else ""
            missing = i % 5 == 0
            gone = [""] * 3
            writer.writerow([i, split, f"c{y}", f"word {i % 7}", *(gone if missing else a), *b])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("estimators") / "data.csv")


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return altuna.fit(table, method="late_fusion", estimators=BOTH, lr=1e-4, out=out, **SHORT)


SAMPLES = [
    {"title": "word 1", "a": np.zeros(3), "b": np.ones(3)},
    {"title": "word 2", "a": np.array([3, np.nan, 7])},
    {"b": np.zeros(3)},
    {"title": "word 3"},
]


def test_every_expert_has_a_weight_and_those_that_help_have_more(run, table, tmp_path):
    found = read_metrics(run)
    experts = found["estimators"]
    assert {*experts} <= {"a", "b"}
    assert experts["a"]["network"].keys() == {"temperature", "weight"}
    model = altuna.load(run).model
    for m, its in experts.items():
        assert [*its] == ["network", *model.pool(m).names]
        np.testing.assert_allclose(model.pool(m).weights, [one["weight"] for one in its.values()])
        assert all(one["weight"] > 0 for name, one in its.items() if name != "network")
    without = altuna.fit(table, method="late_fusion", lr=1e-4, out=tmp_path / "run", **SHORT)
    plain = read_metrics(without)
    assert found["modalities"]["a"]["accuracy"] > plain["modalities"]["a"]["accuracy"] + 0.05
    assert found["fused"]["nll"] < plain["fused"]["nll"]
    assert found["modalities"]["title"]["accuracy"] == plain["modalities"]["title"]["accuracy"]


def test_off_writes_nothing_of_them_and_the_training_is_the_same(run, table, tmp_path):
    without = altuna.fit(table, method="late_fusion", lr=1e-4, out=tmp_path / "run", **SHORT)
    assert "estimators" not in read_metrics(without)
    assert "estimators" not in (without / "config.json").read_text()
    plain, mine = (load_file(one / "model.safetensors") for one in (without, run))
    names = {name for name in mine if not name.startswith("pools.")}
    assert {*plain} == names
    assert len(mine) > len(names)
    fitted = ("temperatures", "evidence_weights", "confidence_temperatures")
    assert all(torch.equal(plain[name], mine[name]) for name in names - {*fitted})


def test_a_remark_names_the_modalities_without_estimators(run):
    remarks = read_metrics(run)["training"]["remarks"]
    assert f"estimators={BOTH}: not for 'title', whose cells are not vectors" in remarks


def test_a_remark_says_that_joint_logits_do_without(table, tmp_path):
    run = altuna.fit(table, method="concat", estimators="logistic", out=tmp_path / "run", **SHORT)
    remarks = read_metrics(run)["training"]["remarks"]
    assert "estimators=logistic: the fusion rule 'joint' does not use them" in remarks
    assert read_metrics(run)["estimators"]


def test_evaluates_and_reports_as_it_was_tested(run):
    tested, again = read_metrics(run), evaluate_run(run)
    assert again["fused"]["nll"] == pytest.approx(tested["fused"]["nll"], abs=1e-5)
    assert write_report([run]).stat().st_size > 0
    found = altuna.load(run).predict(SAMPLES)
    assert found["present_a"].to_pylist() == [True, True, False, False]
    assert all(p is not None for p in found["prediction"].to_pylist())


def test_without_a_modality_its_estimators_do_not_count(run):
    predictor = altuna.load(run)

    def probabilities():
        found = predictor.predict(SAMPLES)
        return np.stack([found[f"p_{c}"].to_numpy() for c in predictor.classes], 1)

    before = probabilities()
    predictor.model.pool("a").weights.mul_(0.3)
    after = probabilities()
    assert np.abs(before[:2] - after[:2]).max(1).min() > 1e-3
    assert np.array_equal(before[2:], after[2:])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["safetensors", "torch-export", "onnx"])
def test_exports(run, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    folder, checked = export(run, format, out=tmp_path / "out")
    assert checked["subsets"] == 7
    assert checked["largest_difference"] < 1e-4
    if format != "safetensors":
        sizes = [m["features"] for m in json.loads((folder / "export.json").read_text())["modalities"]]
        assert sizes == [*altuna.load(run).model.widths]
        large, fusion = (
            next(folder.glob(f"{name}.*")).stat().st_size for name in ("a", "fusion")
        )  # the trees are in the graph of their modality only
        assert fusion < large


@pytest.mark.slow
def test_a_resumed_training_ends_alike(run, table, tmp_path):
    options = {**SHORT, "method": "late_fusion", "estimators": BOTH, "lr": 1e-4, "out": tmp_path / "run"}
    altuna.fit(table, **options)
    before = load_file(tmp_path / "run" / "model.safetensors")
    altuna.fit(table, **options, resume=True)
    for path in (tmp_path / "run", run):
        again = load_file(path / "model.safetensors")
        assert all(torch.equal(before[name], value) for name, value in again.items())
    with pytest.raises(altuna.UserError, match="was started with estimators = 'extra_trees,logistic'"):
        altuna.fit(table, **{**options, "estimators": "none"}, resume=True)


@pytest.mark.slow
def test_folds_have_estimators_each_and_weights_together(table, tmp_path):
    options = {**SHORT, "method": "late_fusion", "lr": 1e-4, "folds": 3}
    run = altuna.fit(table, estimators=BOTH, out=tmp_path / "run", **options)
    model = altuna.load(run).model
    for m, experts in read_metrics(run)["estimators"].items():
        pool, content = model.pool(m), json.loads((run / "config.json").read_text())
        assert [len(one.members) for one in pool.members.values()] == [3] * pool.size
        shapes = content["modalities"][m]["estimators"]
        assert [*shapes] == [*pool.names] == [*experts][1:]
        vectors = torch.randn(4, 3)
        member = pool.members[pool.names[0]]
        mean = torch.stack([one(vectors) for one in member.members]).mean(0).log_softmax(1)
        torch.testing.assert_close(pool.estimates(vectors)[:, :3], mean)
    assert evaluate_run(run)["fused"]["nll"] == pytest.approx(read_metrics(run)["fused"]["nll"], abs=1e-5)
    plain = altuna.fit(table, out=tmp_path / "plain", **options)
    assert read_metrics(run)["fused"]["nll"] < read_metrics(plain)["fused"]["nll"]
    content["modalities"]["a"]["estimators"] = {"logistic": [{"inputs": 3}]}
    (run / "config.json").write_text(json.dumps(content))
    refused(run, "'logistic' of 'a': 1 of 3 folds")


def test_estimators_are_saved_as_an_option(run):
    assert yaml.safe_load((run / "config.yaml").read_text())["estimators"] == BOTH


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("extra_tree", "estimators: unknown estimator 'extra_tree'; did you mean 'extra_trees'?"),
        ("logistic,none", "estimators: unknown estimator 'none'"),
        ("", "estimators: unknown estimator ''"),
        (3, "estimators must be a text, got 3"),
    ],
)
def test_mistakes_are_one_line(given, wanted, table, tmp_path):
    with pytest.raises(altuna.UserError) as raised:
        altuna.fit(table, estimators=given, out=tmp_path / "run", **SHORT)
    assert str(raised.value).startswith(wanted)
    assert "\n" not in str(raised.value)


def test_a_stream_cannot_have_them(table, tmp_path):
    options = {**SHORT, "stream": "*.parquet", "out": tmp_path / "run"}
    with pytest.raises(altuna.UserError, match="estimators: need all training rows at once"):
        altuna.fit(table, estimators="logistic", **options)


CONFIG = [
    ("extra_trees", {"inputs": 3, "trees": 200, "nodes": 10}, "depth is missing"),
    ("extra_trees", {"inputs": 2, "trees": 1, "nodes": 1, "depth": 0}, "sees 2 numbers"),
    ("extra_trees", {"inputs": 3, "trees": 1, "nodes": 1, "depth": 65}, "64 deep at most"),
    ("extra_trees", {"inputs": 3, "trees": 1, "nodes": 10**12, "depth": 1}, "nodes must be at most"),
    ("extra_trees", {"inputs": 3, "trees": 1, "nodes": 1 << 28, "depth": 1}, ""),
    ("extra_trees", {"inputs": 3, "trees": 0, "nodes": 1, "depth": 1}, "trees must be at least 1"),
    ("extra_trees", {"inputs": 3, "trees": 1, "nodes": 1, "depth": 1, "x": 1}, "unknown option 'x'"),
    ("extra_trees", None, "not a part of it"),
    ("logistic", {}, "inputs is missing"),
    ("forest", {}, "unknown option 'forest'"),
]


def refused(run, *words):
    with pytest.raises(altuna.UserError) as caught:
        altuna.load(run)
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def copied(run, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(("name", "value", "word"), CONFIG)
def test_wrong_shapes_are_one_line(copied, name, value, word):
    content = json.loads((copied / "config.json").read_text())
    content["modalities"]["a"]["estimators"] = {name: value if name == "forest" or value is None else [value]}
    (copied / "config.json").write_text(json.dumps(content))
    refused(copied, str(copied), word)


WEIGHTS = [
    ("members.extra_trees.right", 10**9),
    ("members.extra_trees.feature", -1),
    ("members.extra_trees.roots", -1),
    ("members.extra_trees.value", float("nan")),
    ("members.extra_trees.prior", 0),
    ("temperatures", 0),
    ("weights", -1),
]


@pytest.mark.parametrize(("name", "value"), WEIGHTS)
def test_wrong_values_are_one_line(copied, name, value):
    weights = load_file(copied / "model.safetensors")
    number = [*json.loads((copied / "config.json").read_text())["modalities"]].index("a")
    weights[f"pools.{number}.{name}"][0] = value
    save_file(weights, copied / "model.safetensors")
    refused(copied, f"{copied / 'model.safetensors'}: pools.{number}")


def test_samples_of_one_class_have_no_estimators():
    arrays = {"a": np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)}
    arrays["image"] = np.zeros((9, 4, 4, 3), np.uint8)
    arrays["b"] = arrays["a"] + 1
    labels = np.array([0, 1, 2] * 3)
    position = {m: np.arange(9) for m in arrays}
    position["b"] = np.where(labels == 2, np.arange(9), -1)
    dataset = altuna.data.dataset.MultimodalDataset(arrays, position, labels)
    assert vector_modalities(dataset) == ["a", "b"]
    encoders = {m: torch.nn.Linear(3, 4) for m in ("a", "image", "b")}
    model = altuna.MultimodalClassifier(encoders, 3)
    fit_estimators(model, dataset, ["logistic", "extra_trees"], seed=2**63 - 1)
    assert model.pool("a").names == ("extra_trees", "logistic")  # in one order
    assert model.pool("b") is model.pool("image") is None
