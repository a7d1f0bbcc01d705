"""Runs with ever fewer modalities."""

import json
import math
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from notes import Notes
from toys import write

import altuna
from altuna.cli.main import main
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features
from altuna.core.subsets import subsets
from altuna.data.missing.patterns import missing_mask
from altuna.evaluation.robustness import by_rate, by_subset

FAST = {"epochs": 3, "batch_size": 16, "accelerator": "cpu", "quiet": True}


def model_of(modalities, head="shared", seed=0):
    torch.manual_seed(seed)
    sizes = dict.fromkeys(modalities, 4)
    model = MultimodalClassifier(
        {m: torch.nn.Identity() for m in modalities}, 3, head=head, feature_sizes=sizes
    )
    model.temperatures.copy_(torch.linspace(0.5, 2, len(modalities)))
    return model.eval()


def features_of(modalities, samples=40, keep=1.0, seed=0):
    rng = np.random.default_rng(seed)
    present = rng.random((len(modalities), samples)) < keep
    present[rng.integers(len(modalities), size=samples), np.arange(samples)] = True
    rows = {m: torch.from_numpy(np.flatnonzero(p)) for m, p in zip(modalities, present, strict=True)}
    of = {m: torch.from_numpy(rng.normal(size=(len(r), 4))).float() for m, r in rows.items()}
    return Features(of, rows, torch.from_numpy(rng.integers(3, size=samples)))


def test_subsets():
    assert [*subsets("ab")] == [("a",), ("b",), ("a", "b")]
    assert len([*subsets("abcdef")]) == 63
    assert len([*subsets("abcdefg")]) == 7 + 7 + 1


def test_restricting_keeps_each_sample_its_own():
    names = ["a", "b", "c"]
    features = features_of(names, keep=0.6)
    present = torch.rand(3, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    some, there = features.restricted(names, present)
    left = features.present(names) & present
    assert torch.equal(there, left.any(0).nonzero().flatten())
    assert torch.equal(some.labels, features.labels[there])
    for i, m in enumerate(names):
        for f, row in zip(some.of[m], some.rows[m], strict=True):
            sample = there[row]
            assert left[i, sample]
            assert torch.equal(f, features.of[m][features.rows[m] == sample][0])
        assert len(some.rows[m]) == left[i].sum()
    none, there = features.restricted(names, torch.zeros(3, 40, dtype=torch.bool))
    assert (len(none.labels), len(there), none.of) == (0, 0, {})


@pytest.mark.parametrize("head", ["shared", "concat"])
def test_a_subset_is_the_model_given_nothing_else(head):
    names = ["a", "b", "c"]
    model, features = model_of(names, head), features_of(names, keep=0.7)
    found = by_subset(model, features)
    assert [*found] == ["a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    for subset, figures in found.items():
        some = subset.split("+")
        have = features.present(some).all(0).nonzero().flatten()
        inputs = {m: torch.stack([features.of[m][features.rows[m] == row][0] for row in have]) for m in some}
        right = model(inputs).probabilities.argmax(1) == features.labels[have]
        assert figures["n"] == len(have)
        assert figures["accuracy"] == pytest.approx(right.float().mean().item())


def test_rates_take_away_what_the_mask_says():
    names = ["a", "b"]
    model, features = model_of(names), features_of(names)
    drawn = {}

    def draw(rate, seed):
        drawn[rate, seed] = missing_mask(np.ones((2, 40), dtype=bool), rate, seed)
        return drawn[rate, seed]

    found = by_rate(model, features, names, [0.0, 0.5], 3, draw)
    assert [*drawn] == [(0.0, 0), (0.5, 0), (0.5, 1), (0.5, 2)]
    assert found[0][0]["accuracy"] == by_subset(model, features)["a+b"]["accuracy"]
    for seed, figures in enumerate(found[1]):
        assert figures["n"] == 40
        right = []
        for i in range(40):  # every sample has one modality left
            name = names[int(np.flatnonzero(drawn[0.5, seed][:, i])[0])]
            right.append(
                int(model({name: features.of[name][i : i + 1]}).logits.argmax()) == features.labels[i]
            )
        assert figures["accuracy"] == pytest.approx(np.mean(right))
    nothing = by_rate(model, features, names, [0.5], 1, lambda rate, seed: np.zeros((2, 40), dtype=bool))
    assert nothing == [[]]


@pytest.mark.parametrize("head", ["shared", "separate"])
def test_of_two_modalities_one_is_exactly_itself(head):
    """No hidden dependence: with the other absent from all rows, fused is what this one says alone."""
    model, features = model_of(["a", "b"], head), features_of(["a", "b"])
    for i, name in enumerate(["a", "b"]):
        present = torch.zeros(2, 40, dtype=torch.bool)
        present[i] = True
        some, _ = features.restricted(["a", "b"], present)
        fused = model.fuse(model.outputs_of(some.of, some.rows, 40))
        alone = (model.classify(name, features.of[name]) / model.temperatures[i]).argmax(1)
        assert torch.equal(fused.probabilities.argmax(1), alone)
        assert torch.equal(fused.weights[i], torch.ones(40))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data = write(folder / "toy.csv", modalities="abc", empty=0.2)
    one = {"data": data, **FAST}
    return [
        altuna.fit(**one, out=folder / "mla-0"),
        altuna.fit(**one, out=folder / "mla-1", seed=1),
        altuna.fit(**one, out=folder / "concat", method="concat"),
        altuna.fit(**one, out=folder / "thin", missing_rate=0.3, test_missing_rate=0.1),
    ]


@pytest.mark.slow
def test_a_training_with_missing_cells(runs, capsys):
    mask = pyarrow.parquet.read_table(runs[3] / "present.parquet")
    assert mask.column_names == ["id", "label", "a", "b", "c"]
    metrics = json.loads((runs[3] / "metrics.json").read_text())
    seen = sum(sum(counts.values()) for counts in metrics["training"]["classes"].values())
    whole = json.loads((runs[0] / "metrics.json").read_text())["training"]["classes"]
    assert seen == round(0.7 * sum(sum(counts.values()) for counts in whole.values()))
    table = pyarrow.parquet.read_table(runs[3] / "predictions.parquet")
    stays = {row.pop("id"): row for row in mask.drop_columns("label").to_pylist()}
    for row in table.to_pylist():
        assert {m: row[f"present_{m}"] for m in "abc"} == stays[row["id"]]
        assert row["n_modalities"] == sum(stays[row["id"]].values())
    capsys.readouterr()
    assert main_code("evaluate", runs[3], "--missing-mask", runs[3] / "present.parquet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fused"] == pytest.approx(metrics["fused"])
    assert not (runs[0] / "present.parquet").exists()


@pytest.mark.parametrize("fusion", [[], ["--fusion=mean"]])
def test_one_rule(fusion, runs, capsys):
    assert main_code("evaluate", runs[0], "--json", *fusion) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main_code("evaluate", runs[0], "--json", "--one-rule", *fusion) == 0
    one = json.loads(capsys.readouterr().out)
    assert [*one["fusion"]["rules"]] == [whole["fusion"]["rule"]]
    assert one["fused"] == whole["fused"]
    assert main_code("evaluate", runs[0], "--one-rule", *fusion) == 0
    assert capsys.readouterr().out.count("fused (") == 1


def test_all_rows_of_data_without_splits(runs, tmp_path, capsys):
    table = pyarrow.csv.read_csv(json.loads((runs[0] / "metrics.json").read_text())["data"])
    pyarrow.csv.write_csv(
        table.drop_columns(["split"] if "split" in table.column_names else []), tmp_path / "d.csv"
    )
    assert main_code("evaluate", runs[0], "--data", tmp_path / "d.csv") == 0
    assert f"all rows, {len(table):,} samples" in " ".join(capsys.readouterr().out.split())


def test_no_seed_below_zero(runs, capsys):
    assert main_code("evaluate", runs[0], "--missing-rate=0.3", "--seed=-5") == 2
    assert capsys.readouterr().err == "altuna: seed must be at least 0, got -5\n"


def test_samples_that_a_pattern_leaves_nothing_are_counted(tmp_path):
    data = write(tmp_path / "toy.csv", modalities="ab", empty=0.2)
    notes = Notes()
    options = FAST | {"reporter": notes, "report": False}
    altuna.fit(data, out=tmp_path / "run", missing_pattern="never:a", missing_rate=0.5, **options)
    assert "samples have no cell left after masking and are not used" in " ".join(notes.texts)


def main_code(*arguments):
    with patch.object(sys, "argv", ["altuna", *map(str, arguments)]):
        try:
            main()
        except SystemExit as end:
            return end.code or 0
    return 0


def test_side_by_side(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main_code("robustness", *runs, "--masks=2", "--out", out) == 0
    said = capsys.readouterr().out
    result = json.loads((out / "robustness.json").read_text())
    thin = "mla (missing_rate=0.3, test_missing_rate=0.1)"
    assert [one["label"] for one in result["results"]] == ["mla", "concat", thin]
    mla, concat, _ = result["results"]
    assert mla["seeds"] == [0, 1]
    assert [*mla["rates"]] == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    each = [json.loads((run / "metrics.json").read_text())["fused"]["accuracy"] for run in runs[:2]]
    assert mla["rates"]["0.0"]["accuracy"]["mean"] == pytest.approx(np.mean(each))
    assert mla["rates"]["0.0"]["accuracy"]["sd"] == pytest.approx(np.std(each, ddof=1))
    assert concat["rates"]["0.0"]["accuracy"]["sd"] is None  # one run, one mask
    assert concat["rates"]["0.5"]["accuracy"]["sd"] is not None
    assert concat["subsets"] == {
        name: {k: v if k == "n" else {"mean": pytest.approx(v), "sd": None} for k, v in figures.items()}
        for name, figures in json.loads((runs[2] / "metrics.json").read_text())["subsets"].items()
    }
    assert "accuracy in % by missing rate" in said
    lines = (out / "robustness.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * (7 + 7)
    page = (out / "robustness.html").read_text()
    assert page.count("</title></polyline>") == 3  # a line a run
    assert thin in page
    assert "| a+b+c |" in (out / "robustness.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rates=0.1,x"], "rates: write numbers with commas, got '0.1,x'"),
        (["--rates=0.9"], "missing rate 0.9: must be between 0 and"),
        (["--pattern=only:z"], "no modality 'z'"),
        (["--pattern=onyl:a"], "unknown pattern 'onyl:a'"),
        (["--pattern=group", "--rates=0.2"], "needs a column 'group'"),
        (["--masks=0"], "masks must be at least 1, got 0"),
        (["--split=tset"], "unknown split 'tset'; did you mean 'test'?"),
    ],
)
def test_mistakes(arguments, words, runs, tmp_path, capsys):
    for some in (runs[:1], runs[:2]):
        assert main_code("robustness", *some, "--out", tmp_path / "out", *arguments) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"missing_rate": 0.9}, "missing rate 0.9: must be between 0 and"),
        ({"missing_rate": -0.1}, "missing rate -0.1"),
        ({"missing_pattern": "never:q"}, "no modality 'q'"),
        ({"missing_pattern": "only:a"}, "no train row has a 'b'"),
        (
            {"missing_mask": "m.parquet", "missing_rate": 0.1},
            "missing_mask: cannot be combined with missing rates",
        ),
        ({"missing_mask": "nowhere.parquet"}, "nowhere.parquet: no such file"),
    ],
)
def test_mistakes_before_training(options, words, tmp_path):
    data = write(tmp_path / "toy.csv", modalities="ab")
    with pytest.raises(altuna.UserError, match=words):
        altuna.fit(data, out=tmp_path / "run", **FAST, **options)
    assert not (tmp_path / "run").exists()


def test_a_rare_modality_is_named(tmp_path):
    data = write(tmp_path / "toy.csv", modalities="ab", empty=0.96)
    notes = Notes()
    altuna.fit(data, out=tmp_path / "run", **FAST | {"reporter": notes})
    assert "of the training samples have 'b' (under 10%)" in " ".join(notes.texts)
    assert math.isfinite(json.loads(Path(tmp_path / "run" / "metrics.json").read_text())["fused"]["nll"])


@pytest.mark.slow
def test_a_modality_of_noise_is_distrusted(tmp_path):
    """Calibrated fusion does not pay for a modality that knows nothing."""
    rng = np.random.default_rng(0)
    rows = (tmp_path / "noise.csv").open("w")
    rows.write("label,good_x,good_y,noise_x,noise_y,noise_z\n")
    for i in range(600):
        good = 1.2 * (np.arange(2) == i % 3) + rng.normal(size=2) * 0.7
        rows.write(",".join([f"c{i % 3}", *(f"{v:.4f}" for v in [*good, *rng.normal(size=3)])]) + "\n")
    rows.close()
    run = altuna.fit(tmp_path / "noise.csv", out=tmp_path / "run", **FAST | {"epochs": 15})
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["modalities"]["noise"]["accuracy"] < 0.45
    assert metrics["fused"]["accuracy"] > metrics["modalities"]["good"]["accuracy"] - 0.02


def test_a_single_rate_and_a_pattern_that_not_all_can(runs, tmp_path, capsys):
    alone = altuna.fit(runs[0].parent / "toy.csv", method="unimodal", out=tmp_path / "alone", **FAST)
    out = tmp_path / "out"
    assert (
        main_code("robustness", runs[0], alone, "--pattern=never:b", "--rates=0.4", "--masks=2", "--out", out)
        == 0
    )
    mla, unimodal = json.loads((out / "robustness.json").read_text())["results"]
    assert [*mla["rates"]] == ["0.4"]
    assert unimodal["rates"] == {}
    assert [*unimodal["subsets"]] == ["a"]
    assert "<polyline" in (out / "robustness.html").read_text()
    assert main_code("robustness", runs[0], "--pattern=never:b", "--masks=1", "--out", out) == 0
    (mla,) = json.loads((out / "robustness.json").read_text())["results"]
    assert [*mla["rates"]][-1] == "1.0"
    capsys.readouterr()
    assert main_code("robustness", runs[0], runs[0]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_other_data_that_lack_a_modality(runs, tmp_path):
    data = write(tmp_path / "ab.csv", seed=5, modalities="ab")
    for pattern in ("random", "label", "never:a"):
        given = ["--data", data, "--masks=1", "--out", tmp_path / "out", f"--pattern={pattern}"]
        assert main_code("robustness", runs[0], *given) == 0
    result = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert [*result["results"][0]["subsets"]] == ["a", "b", "a+b"]


def test_tables_are_by_data_whatever_the_order(runs, tmp_path):
    (tmp_path / "other").mkdir()
    data = write(tmp_path / "other" / "toy.csv", seed=3, modalities="abc")
    other = altuna.fit(data, out=tmp_path / "run", **FAST)
    out = tmp_path / "out"
    assert main_code("robustness", runs[0], other, runs[2], "--masks=1", "--out", out) == 0
    said = (out / "robustness.md").read_text()
    assert said.count("accuracy in % by missing rate") == 2
    assert "## other/toy.csv: " in said  # both are called toy.csv
    assert str(tmp_path) not in said


def test_nothing_left(runs, capsys):
    assert main_code("evaluate", runs[0], "--without=a,b,c", "--missing-rate=0.1") == 2
    assert "no sample has a modality left to test" in capsys.readouterr().err


def test_absence_tells_the_same_class_in_training_and_after(tmp_path):
    """Modality by the number of the class in the model, not by the order in the file."""
    data = tmp_path / "toy.csv"
    rng = np.random.default_rng(0)
    with data.open("w") as file:
        file.write("split,label,a_x,a_y,b_x,b_y\n")
        for i in range(300):
            label, split = ["walk", "eat", "sit"][i % 3], ["train", "train", "val", "test"][i // 3 % 4]
            file.write(",".join([split, label, *(f"{v:.3f}" for v in rng.normal(size=4) + i % 3)]) + "\n")
    run = altuna.fit(data, out=tmp_path / "run", missing_pattern="label", missing_rate=0.3, **FAST)
    table = pyarrow.parquet.read_table(run / "predictions.parquet").to_pylist()
    gone = {
        c: np.mean([not row["present_a"] for row in table if row["label"] == c])
        for c in ("eat", "sit", "walk")
    }
    assert min(gone["eat"], gone["walk"]) > 0.5  # classes 0 and 2
    assert gone["sit"] < 0.1


def test_rows_with_none_of_the_chosen_modalities_do_not_count(tmp_path):
    data = tmp_path / "toy.csv"
    rng = np.random.default_rng(0)
    with data.open("w") as file:
        file.write("id,label,a_x,b_x,c_x\n")
        for i in range(200):
            cells = ["", ""] if i % 2 else [f"{v:.3f}" for v in rng.normal(size=2) + i % 4]
            file.write(",".join([f"s{i}", f"c{i % 4 // 2}", *cells, "1.0"]) + "\n")
    chosen = {m: {"type": "vector", "columns": [f"{m}_x"]} for m in "ab"}
    run = altuna.fit(data, out=tmp_path / "run", modalities=chosen, missing_rate=0.25, **FAST)
    classes = json.loads((run / "metrics.json").read_text())["training"]["classes"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert sum(sum(c.values()) for c in classes.values()) == round(0.75 * 2 * metrics["training"]["n"])


@pytest.mark.parametrize(("method", "exact"), [("mla", True), ("late_fusion", True), ("concat", False)])
def test_evaluating_without_the_other_is_the_modality_alone(method, exact, tmp_path, capsys):
    """Concat's own logits of a modality have a share of the bias, its joint ones all of it: see the docs."""
    data = write(tmp_path / "toy.csv", modalities="ab")
    run = altuna.fit(data, out=tmp_path / "run", method=method, **FAST)
    whole = json.loads((run / "metrics.json").read_text())
    for name, other in ("ab", "ba"):
        assert main_code("evaluate", run, "--without", other, "--json") == 0
        left = json.loads(capsys.readouterr().out)
        assert left["modalities"][name]["accuracy"] == whole["modalities"][name]["accuracy"]
        assert {**left["fused"], "n": left["n"]} == pytest.approx(whole["subsets"][name])
        if exact:
            assert left["fused"]["accuracy"] == whole["modalities"][name]["accuracy"]
