"""Comparisons: what is run, skipped, resumed and reported, and the tables."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import command
import joblib
import numpy as np
import pytest
import yaml
from distributed import Client, LocalCluster
from rich.console import Console

import altuna
from altuna.cli.compare import show
from altuna.comparison import tables
from altuna.comparison.compare import compare
from altuna.comparison.pool import KILLED, Run, train
from altuna.comparison.summary import flat_metrics, ranking, summary
from altuna.errors import DivergedError, UserError
from altuna.terminal.console import TerminalReporter
from altuna.terminal.tables import comparison_tables

FAST = {"epochs": 2, "batch_size": 16, "accelerator": "cpu"}
TRAIN = 54


def write(path, seed=0, modalities="ab", empty=0.0):
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", *(f"{m}_{i}" for m in modalities for i in range(2))])
        for i in range(90):
            cells = []
            for m in modalities:
                numbers = [round(rng.gauss(2 * (i % 3), 1), 3) for _ in range(2)]
                cells += ["", ""] if m == "b" and rng.random() < empty else numbers
            split = ["train", "train", "train", "val", "test"][i // 3 % 5]
            writer.writerow([f"s{i}", split, f"c{i % 3}", *cells])
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "toy.csv")


@pytest.fixture
def here():
    """Run in this process: what joblib's configuration asks for is done."""
    with joblib.parallel_config("sequential"):
        yield


@pytest.fixture(autouse=True)
def five_methods(monkeypatch):
    names = ("mla", "late_fusion", "unimodal", "sum", "concat")
    monkeypatch.setattr("altuna.methods.REGISTRY", {name: altuna.methods.REGISTRY[name] for name in names})


def read(out):
    return json.loads((out / "compare.json").read_text())


def status(out):
    return {run["folder"]: run["reason"] or run["status"] for run in read(out)["runs"]}


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


def arguments(manifest, out, *more):
    """Return the arguments of that comparison."""
    options = ["--methods", "mla,concat", "--seeds", "2", "--jobs", "2", "--quiet", "--accelerator", "cpu"]
    fast = ["--epochs", "2", "--set", "batch_size=16"]
    return ["compare", "--data", str(manifest), "--out", str(out), *options, *fast, *more]


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
    assert "toy-mla-0: was started with lr = 0.001, not 0.5; --out names another folder" in err


@pytest.mark.slow
def test_a_failing_run_is_reported(manifest, tmp_path, here, monkeypatch, capsys):
    from altuna.comparison.pool import fit

    errors = {
        "concat": (DivergedError("diverged in epoch 1"), "diverged in epoch 1"),
        "sum": (MemoryError(), "MemoryError"),
        "unimodal": (ValueError("x\ny"), "ValueError: x"),
    }

    def fails(**options):
        name = options["method"]["name"]
        if name in errors and options["seed"] == 0:
            raise errors[name][0]
        return fit(**options)

    given = {"methods": "concat,late_fusion,sum,unimodal:a", "seeds": 2, "out": tmp_path / "out", **FAST}
    with monkeypatch.context() as patch:
        patch.setattr("altuna.comparison.pool.fit", fails)
        compare(manifest, reporter=TerminalReporter(), **given)
    show(tmp_path / "out")
    expected = {
        f"toy-{m}-{s}": "finished" for s in (0, 1) for m in ("concat", "late_fusion", "sum", "unimodal-a")
    }
    reasons = {
        f"toy-{m}-0": reason
        for m, (_, reason) in zip(("concat", "sum", "unimodal-a"), errors.values(), strict=True)
    }
    assert status(tmp_path / "out") == expected | reasons
    concat, late, *_ = read(tmp_path / "out")["results"]
    assert (concat["seeds"], concat["failed"], concat["metrics"]["accuracy"]["sd"]) == ([1], 1, None)
    assert late["versus"]["reference"] == "concat"  # mla is not among them
    printed = capsys.readouterr()
    for folder, reason in reasons.items():
        assert f"{folder} failed: {reason}" in printed.err
        assert f"failed: {folder}: {reason}" in " ".join(printed.out.split())
        assert f"failed: {folder}: {reason}" in (tmp_path / "out" / "compare.md").read_text()
    compare(manifest, quiet=True, **given)
    assert status(tmp_path / "out") == expected


@pytest.mark.slow
def test_the_command_prints_why_all_runs_failed(manifest, tmp_path):
    given = ["--methods=mla,sum", "--seeds=1", f"--out={tmp_path / 'out'}", "--lr=1e30"]
    given += [f"--{name.replace('_', '-')}={value}" for name, value in FAST.items()]
    code, out, err = command.run("compare", f"--data={manifest}", *given)
    assert code == 2
    for folder in ("toy-mla-0", "toy-sum-0"):
        assert f"failed: {folder}: diverged" in " ".join(out.split())
    assert err.splitlines()[-1].startswith("altuna: every run failed, as in")


@pytest.mark.slow
def test_when_all_runs_diverge(manifest, tmp_path):
    with pytest.raises(UserError, match=r"every run failed, as in .*toy-mla-0: diverged: .* in epoch 0"):
        compare(
            manifest, methods="mla,sum", seeds=1, jobs=2, out=tmp_path / "out", quiet=True, lr=1e30, **FAST
        )
    assert len([r for r in status(tmp_path / "out").values() if r.startswith("diverged")]) == 2
    assert (tmp_path / "out" / "compare.md").exists()


def killer(note, kills):
    """Kill the process that has a run, as often as told, whenever it is at it."""

    def watch():
        left, seen = kills, set()
        while left and threading.main_thread().is_alive() and not stop.is_set():
            try:
                pid = int(note.read_text())
            except (FileNotFoundError, ValueError):
                pid = None
            if pid and pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
                left -= 1
            time.sleep(0.005)

    stop = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return lambda: (stop.set(), thread.join())


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "jobs"), [(1, 2), (2, 1)])
def test_a_killed_process_does_not_sink_the_others(kills, jobs, manifest, tmp_path):
    out = tmp_path / "out"
    end = killer(out / "running" / "toy-mla-1", kills)
    compare(manifest, methods="mla,concat", seeds=2, jobs=jobs, out=out, quiet=True, **FAST | {"epochs": 20})
    end()
    runs = {run["folder"]: run for run in read(out)["runs"]}
    victim = runs.pop("toy-mla-1")
    assert all(run["status"] == "finished" for run in runs.values())
    if kills == 1:
        assert (victim["status"], victim["killed_once"]) == ("finished", True)
        assert "killed once and resumed: toy-mla-1" in (out / "compare.md").read_text()
    else:
        assert (victim["status"], victim["reason"]) == ("failed", KILLED)
    assert not (out / "running").exists()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(manifest, tmp_path, here):
    out = tmp_path / "out"
    process = command.Process(*arguments(manifest, out, "--epochs=5"), group=True)
    while process.poll() is None and not [*out.glob("*/checkpoints/last.ckpt")]:
        time.sleep(0.02)
    pids = [int(note.read_text()) for note in (out / "running").iterdir() if note.suffix != ".lock"]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert err == "altuna: interrupted; run the same command again to continue\n"
    assert pids
    for pid in pids:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
    compare(manifest, methods="mla,concat", seeds=2, out=out, quiet=True, **FAST | {"epochs": 5})
    assert {*status(out).values()} == {"finished"}


@pytest.mark.slow
def test_dask_takes_over(manifest, tmp_path):
    out = tmp_path / "out"
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config("dask"):
            compare(manifest, methods="mla,concat", seeds=2, out=out, quiet=True, threads=1, **FAST)
        workers = {str(worker.pid) for worker in cluster.workers.values()}
    assert {*status(out).values()} == {"finished"}
    assert read(out)["jobs"] == 2
    events = [*out.glob("toy-*/events.out.tfevents.*")]  # TIME.HOST.PID.NUMBER
    assert len(events) == 4
    assert {event.name.split(".")[-2] for event in events} <= workers


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
        ({"methods": 3}, "methods: write a list of names, .* got 3"),
        ({"methods": None}, "methods: write a list of names"),
        ({"methods": {"name": "mla"}}, "methods: write a list of names"),
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
        ({"data": "MANIFEST,"}, "name at least one"),
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
        ({"seed": 3}, "seed: a comparison sets it"),
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


def test_two_comparisons_do_not_share_a_folder(manifest, tmp_path, here):
    from altuna.comparison.pool import Pool

    given = {"methods": "mla", "seeds": 1, "out": tmp_path / "out", "quiet": True, **FAST}
    with Pool(1, 1, tmp_path / "out").alone(), pytest.raises(UserError, match="another comparison"):
        compare(manifest, **given)


def test_numbers_that_are_none_do_not_count():
    """An absent modality has no accuracy; a loss may be infinite."""
    metrics = {
        "n": 7,
        "fused": {"accuracy": 0.5, "nll": float("inf")},
        "modalities": {"a": {"accuracy": None, "n": 0}},
        "fusion": {"rules": {"calibrated_product": {"accuracy": 0.4}, "mean": {"accuracy": 0.3}}},
        "imbalance": {"gap": 0.1, "deep": {"x": 1, "said": "no"}},
        "cost": {"seconds": 2.0, "best_epoch": 3},
    }
    found = flat_metrics(metrics)
    assert found == {
        "accuracy": 0.5,
        "a/n": 0,
        "imbalance/gap": 0.1,
        "imbalance/deep/x": 1,
        "fusion/calibrated_product/accuracy": 0.4,
        "samples": 7,
        "seconds": 2,
        "best_epoch": 3,
    }
    assert summary([found, {"accuracy": 0.7}])["accuracy"] == pytest.approx({"mean": 0.6, "sd": 0.02**0.5})


def test_markdown_and_terminal_show_names_as_they_are():
    result = {"data": "[x]", "method": "a|b", "split": None, "metrics": {}, "versus": None}
    run = {"folder": "r", "reason": "[red]no", "killed_once": False}
    comparison = {
        "results": [result], "ranking": None, "left_out": [], "runs": [run],
        "budget": "updates", "seeds": 1, "reference": "a|b",
    }  # fmt: skip
    assert "| a\\|b |" in tables.markdown(comparison)
    assert [*comparison_tables(comparison)][-1] == "failed: r: \\[red]no"


def result_of(method, accuracy=0.8, samples=100.0, data="d.csv", split="test"):
    metrics = {name: {"mean": 0.5, "sd": 0.1} for name in ("macro_f1", "nll", "ece", "seconds")}
    for name in ("a_long_modality", "another_modality", "one_more_modality"):
        metrics[f"{name}/accuracy"] = {"mean": 0.5, "sd": 0.1}
    metrics |= {"accuracy": {"mean": accuracy, "sd": 0.1}, "samples": {"mean": samples, "sd": 0.0}}
    versus = {"mean": -0.1, "p_holm": 0.012}
    return {"data": data, "method": method, "split": split, "metrics": metrics, "versus": versus}


def comparison_of(*results, seeds=3):
    shared = {"ranking": None, "left_out": [], "runs": [], "budget": "updates", "reference": "mla"}
    return {"results": [*results], "seeds": seeds, **shared}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_narrow_terminal_folds_columns_and_loses_none(width):
    results = result_of("mla"), result_of("modality_valuation"), result_of("unimodal:a_long_modality")
    table, *_ = comparison_tables(comparison_of(*results))
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("50.0") == 3 * 3  # three methods, three modalities
    for number in ("0.012", "-10.0", "80.0", "0.500"):
        assert text.count(number) == 3
    if width >= 200:
        for name in ("mla", "modality_valuation", "unimodal:a_long_modality"):
            assert name in text


def test_methods_tested_on_fewer_samples_stand_apart():
    results = result_of("mla", 0.7), result_of("unimodal:a", 0.9, samples=60.0), result_of("sum", 0.8)
    (_, ordered), *_ = tables.by_data(comparison_of(*results))
    assert [r["method"] for r in ordered] == ["sum", "mla", "unimodal:a"]
    assert "unimodal:a (60 of 100 samples)" in tables.markdown(comparison_of(*results))
    more = [result_of(m, data="e.csv") for m in ("mla", "unimodal:a", "sum")]
    assert {*ranking([*results, *more])["mean_rank"]} == {"mla", "sum"}


def test_the_legend():
    test, val = result_of("mla"), result_of("mla", split="val")
    assert "on the test split, mean ± standard deviation over 3 seeds" in tables.legend(comparison_of(test))
    assert "optimistic" not in tables.legend(comparison_of(test))
    assert "validation split" in tables.legend(comparison_of(val))
    assert "optimistic" in tables.legend(comparison_of(val))
    one = tables.legend(comparison_of(test, seeds=1))
    assert "±" not in one
    assert "not two methods" in one
    titles = [
        name
        for name, _ in tables.by_data(
            comparison_of(result_of("mla", data="a/d.csv"), result_of("mla", data="b/d.csv"))
        )
    ]
    assert titles == ["a/d.csv", "b/d.csv"]


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


def test_a_worker_whose_comparison_was_killed_begins_nothing(manifest, tmp_path):
    run = Run(
        str(manifest), "mla", 0, tmp_path / "out" / "r", {"data": str(manifest), "method": "mla", **FAST}
    )
    (tmp_path / "out").mkdir()
    _, reason = train(run, tmp_path / "out" / "running" / "r", 1, 0)
    assert reason == "the comparison was killed before this run began"
    assert not run.folder.exists()
