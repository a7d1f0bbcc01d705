"""Comparisons: what is run, skipped, resumed and reported, and the tables."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import command
import numpy as np
import pytest
import yaml
from toys import FAST, arguments, read, status, write

import altuna
from altuna.cli.compare import show
from altuna.comparison.compare import compare
from altuna.errors import UserError

TRAIN = 54


@pytest.fixture(autouse=True)
def five_methods(monkeypatch):
    names = ("mla", "late_fusion", "unimodal", "sum", "concat")
    monkeypatch.setattr("altuna.methods.REGISTRY", {name: altuna.methods.REGISTRY[name] for name in names})


@pytest.fixture(scope="module")
def out(manifest, tmp_path_factory):
    """Two methods, two seeds, two processes, on the command line."""
    out = tmp_path_factory.mktemp("work") / "compared"
    compare = [sys.executable, "-m", "altuna", *arguments(manifest, out)]
    done = subprocess.run(compare, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert done.stderr == ""
    return out


@pytest.mark.slow
def test_runs_and_files(out, manifest):
    names = {f"toy-{method}-{seed}" for method in ("mla", "concat") for seed in (0, 1)}
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        *names, "compare.json", "compare.csv", "compare.md",
    }  # fmt: skip
    comparison = read(out)
    assert {*status(out).values()} == {"finished"}
    assert (comparison["reference"], comparison["budget"], comparison["seeds"], comparison["jobs"]) == (
        "mla",
        "updates",
        2,
        2,
    )
    assert comparison["threads"] == max(1, os.cpu_count() // 2)
    assert {"altuna", "commit", "torch", "cores"} <= {*comparison["environment"]}
    config = yaml.safe_load((out / "toy-mla-1" / "config.yaml").read_text())
    assert (config["epochs"], config["batch_size"], config["seed"]) == (2, 16, 1)
    assert config["budget"] == {"updates": 2 * 4 * 2}
    assert comparison["ranking"] is None


@pytest.mark.slow
def test_the_metrics_are_those_of_the_runs(out):
    for result in read(out)["results"]:
        runs = [out / f"toy-{result['method']}-{seed}" for seed in (0, 1)]
        metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
        for name, value in {
            "accuracy": lambda m: m["fused"]["accuracy"],
            "ece": lambda m: m["fused"]["ece"],
            "b/macro_f1": lambda m: m["modalities"]["b"]["macro_f1"],
            "imbalance/gap": lambda m: m["imbalance"]["gap"],
            "seconds": lambda m: m["cost"]["seconds"],
            "peak_memory": lambda m: m["cost"]["peak_memory"],
            "flops_per_batch": lambda m: m["cost"]["flops_per_batch"],
            "parameters": lambda m: m["cost"]["parameters"],
        }.items():
            values = [value(m) for m in metrics]
            metric = result["metrics"][name]
            assert metric["mean"] == pytest.approx(np.mean(values))
            assert metric["sd"] == pytest.approx(np.std(values, ddof=1))
    mla, concat = read(out)["results"]
    assert mla["versus"] is None
    versus = concat["versus"]
    assert versus["mean"] == pytest.approx(
        concat["metrics"]["accuracy"]["mean"] - mla["metrics"]["accuracy"]["mean"]
    )
    assert versus["low"] <= versus["mean"] <= versus["high"]
    assert versus["p_holm"] == versus["p"]  # one comparison
    assert versus["samples"] == 18


@pytest.mark.slow
def test_the_tables_parse(out):
    rows = [*csv.DictReader((out / "compare.csv").open())]
    by_method = {result["method"]: result for result in read(out)["results"]}
    assert [row["method"] for row in rows] == ["mla", "concat"]
    for row in rows:
        for name, metric in by_method[row["method"]]["metrics"].items():
            assert float(row[f"{name} mean"]) == pytest.approx(metric["mean"])
    lines = (out / "compare.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 4
    assert "## toy.csv" in lines


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("*/metrics.json")}


@pytest.mark.slow
def test_started_again_it_does_what_is_missing(out, manifest, here):
    before = times(out)
    gone = out / "toy-concat-1"
    (gone / "metrics.json").unlink()
    code, _, err = command.run(*arguments(manifest, out))
    assert code == 0, err
    after = times(out)
    assert {path.parent for path in after if after[path] != before.get(path)} == {gone}


@pytest.mark.slow
def test_other_options_are_refused(out, manifest):
    code, _, err = command.run(*arguments(manifest, out, "--lr", "0.5"))
    assert code == 2
    assert "toy-mla-0: was started with lr = 0.001, not 0.5; choose another folder with --out" in err


@pytest.mark.slow
def test_all_methods_and_several_data(manifest, tmp_path, here, capsys):
    other = write(manifest.parent / "one.csv", 1, "a")
    third = write(manifest.parent / "third.csv", 2, "abc", empty=0.5)
    compare(
        f"{manifest},{other},{third}", methods="all", seeds=1, out=tmp_path / "out",
        **FAST,
    )  # fmt: skip
    show(tmp_path / "out")
    comparison = read(tmp_path / "out")
    left_out = {(Path(o["data"]).stem, o["method"]) for o in comparison["left_out"]}
    two = {name for name in altuna.methods.list() if altuna.methods.get(name).min_modalities == 2}
    assert left_out == {("one", name) for name in two}
    assert "sum" in two
    assert "needs 2 modalities or more, the data have 1" in comparison["left_out"][0]["reason"]
    methods = {Path(r["data"]).stem: [] for r in comparison["results"]}
    for r in comparison["results"]:
        methods[Path(r["data"]).stem].append(r["method"])
    assert methods["toy"] == ["mla", "late_fusion", "unimodal:a", "unimodal:b", "sum", "concat"]
    assert "sum" not in methods["one"]
    assert methods["one"][:3] == ["mla", "late_fusion", "unimodal:a"]
    assert {*methods["third"]} == {*methods["toy"], "unimodal:c"}
    ranks = comparison["ranking"]["mean_rank"]
    assert [*ranks.values()] == sorted(ranks.values())
    assert {*ranks} == {*methods["one"]}  # all are tested on all samples
    assert sum(ranks.values()) == pytest.approx(len(ranks) * (len(ranks) + 1) / 2)
    assert comparison["ranking"]["critical_difference"] > 0
    results = [r for r in comparison["results"] if Path(r["data"]) == third]
    samples = {r["method"]: r["versus"] and r["versus"]["samples"] for r in results}
    assert samples["unimodal:b"] < samples["unimodal:a"] == 18  # those that have the modality
    assert {r["metrics"]["updates"]["mean"] for r in results} == {2 * 4 * 3}
    assert "mean rank" in capsys.readouterr().out
    toy = {r["method"]: r["metrics"] for r in comparison["results"] if Path(r["data"]).stem == "toy"}
    for name in "ab":
        alone, mine = (toy[method][f"{name}/accuracy"]["mean"] for method in (f"unimodal:{name}", "mla"))
        assert toy["mla"][f"imbalance/laziness/{name}"]["mean"] == pytest.approx(alone - mine)
    assert toy["unimodal:a"]["imbalance/laziness"]["mean"] == 0
    for name in "ab":  # the first turn of a batch has none before it, but turns alternate
        assert 0 <= toy["mla"][f"imbalance/conflict/{name}"]["mean"] <= 1
        assert f"imbalance/conflict/{name}" not in toy["late_fusion"]


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["epochs", "time"])
def test_other_budgets(budget, manifest, tmp_path, here):
    given = {**FAST, "epochs": 6}
    compare(
        manifest, methods="unimodal:a,mla", seeds=1, budget=budget, out=tmp_path / "o", quiet=True, **given
    )
    alone, mla = read(tmp_path / "o")["results"]
    assert mla["metrics"]["epochs"]["mean"] == 6
    if budget == "epochs":
        assert alone["metrics"]["updates"]["mean"] == mla["metrics"]["updates"]["mean"] / 2
        return
    seconds = mla["metrics"]["seconds"]["mean"]
    assert seconds <= alone["metrics"]["seconds"]["mean"] + 0.01 < 4 * seconds + 1
    before = times(tmp_path / "o")
    compare(
        manifest, methods="unimodal:a,mla", seeds=1, budget=budget, out=tmp_path / "o", quiet=True, **given
    )
    assert times(tmp_path / "o") == before


@pytest.mark.slow
def test_methods_with_options(manifest, tmp_path, here):
    some = ["mla", {"name": "mla", "project": "off"}, {"name": "concat", "impute": "mean"}]
    compare(manifest, methods=some, seeds=1, out=tmp_path / "out", quiet=True, **FAST)
    folders = ["toy-mla-0", "toy-mla-project=off-0", "toy-concat-impute=mean-0"]
    assert [*status(tmp_path / "out")] == folders
    labels = ["mla", "mla (project=off)", "concat (impute=mean)"]
    assert [r["method"] for r in read(tmp_path / "out")["results"]] == labels
    assert json.loads((tmp_path / "out" / folders[2] / "config.json").read_text())["impute"] == "mean"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": "mla,late_fuson"}, "unknown method 'late_fuson'; did you mean 'late_fusion'"),
        ({"methods": "mla,mla"}, "'mla' is given twice"),
        ({"methods": "mla:a"}, "unknown option 'modality'"),
        ({"methods": 3}, "methods: must be a list of names .* got 3"),
        ({"methods": None}, "methods: must be a list of names"),
        ({"methods": {"name": "mla"}}, "methods: must be a list of names"),
        ({"methods": ["mla", 4]}, "methods: 4 is neither a name nor a mapping"),
        ({"methods": [["mla"]]}, "is neither a name nor a mapping"),
        ({"methods": [{"nam": "mla"}]}, "is neither a name nor a mapping"),
        ({"methods": [{"name": "mla", "alfa": 1}]}, "did you mean 'alpha'"),
        (
            {"methods": [{"name": "concat", "impute": "median"}]},
            "impute must be 'zero' or 'mean', got 'median'",
        ),
        ({"methods": [{"name": "mla", "impute": "mean"}]}, "the head 'shared' is not joint"),
        ({"methods": "unimodal:c"}, "no modality 'c'"),
        ({"data": "htda"}, "htda: .*did you mean 'htad'"),
        ({"data": "MANIFEST,absent.csv"}, "absent.csv: no such file"),
        ({"data": "MANIFEST,"}, "give at least one"),
        ({"data": "one.csv", "methods": "mla,sum"}, "method 'sum': needs 2 modalities or more"),
        ({"reference": "mlaa"}, "'mlaa' is not among the methods; did you mean 'mla'"),
        ({"methods": "mla,unimodal", "reference": "unimodal"}, "'unimodal' is not .* 'unimodal:"),
        ({"budget": "update"}, "no 'update'; did you mean 'updates'"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seeds": "3"}, "seeds must be a whole number"),
        ({"seeds": 10**30}, "seeds must be at most 10000"),
        ({"jobs": 10**30}, "jobs must be at most"),
        ({"threads": 10**30}, "threads must be at most"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"seed": 3}, "seed: cannot be set here"),
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"job": 3}, "unknown option 'job'; did you mean 'jobs'"),
        ({"epochs": "3"}, "epochs must be a whole number"),
        ({"lr": -1.0}, "lr must be"),
        ({"out": "MANIFEST"}, "is a file, not a folder"),
    ],
)
def test_mistakes_are_raised_before_anything_runs(options, words, manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("one.csv"), 1, "a")
    options = {
        k: v.replace("MANIFEST", str(manifest)) if isinstance(v, str) else v for k, v in options.items()
    }
    given = {"data": manifest, "methods": "mla,concat", "quiet": True, **FAST, **options}
    with pytest.raises(UserError, match=words):
        compare(**given)
    assert [path.name for path in tmp_path.iterdir()] == ["one.csv"]


@pytest.mark.slow
def test_data_of_one_name_keep_their_folders(tmp_path, here, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "d.csv")
    given = {"methods": "mla", "out": tmp_path / "out", "quiet": True, **FAST}
    compare("a/d.csv,b/d.csv", seeds=1, **given)
    first = times(tmp_path / "out")
    assert len(first) == 2
    compare("b/d.csv,a/d.csv", seeds=2, **given)
    assert len(times(tmp_path / "out")) == 4
    assert first.items() <= times(tmp_path / "out").items()


def test_samples_of_a_group_are_compared_together(tmp_path):
    """Groups of the table are those of the test, and few of them have a remark."""
    toy = write(tmp_path / "toy.csv")
    plain = [*csv.DictReader(toy.open())]
    grouped = tmp_path / "grouped.csv"
    with grouped.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*plain[0], "group"])
        writer.writeheader()
        writer.writerows({**row, "group": f"g{i // 3}"} for i, row in enumerate(plain))
    for table, groups in ((toy, 18), (grouped, 6)):
        out = tmp_path / table.stem
        compare(table, out=out, methods=["mla", "concat"], seeds=1, jobs=1, **FAST)
        versus = read(out)["results"][1]["versus"]
        assert (versus["samples"], versus["groups"]) == (18, groups)
        assert (f"{table.name}: the test samples are in 6 groups" in (out / "compare.md").read_text()) == (
            groups == 6
        )
