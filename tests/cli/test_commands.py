"""The command line, from a manifest to predictions, and what it says of every mistake."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
import yaml
from fruit import COLOURS, FAST, one_line, read, refused, shell, write

import altuna
from altuna.runs.directory import read_config

FIGURES = {"accuracy", "macro_f1", "nll", "ece"}


def test_the_run_directory(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert files - events == {
        "columns.csv",
        "train_rows.npy",
        "config.yaml",
        "config.json",
        "model.safetensors",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "metrics.json",
        "predictions.parquet",
        "log.csv",
        "problems.csv",
        "report.html",
        "features.safetensors",
    }
    assert [row["epoch"] for row in read(run / "log.csv")] == ["0", "1"]
    assert (run / "problems.csv").read_text() == "row,id,column,cell,reason,kind\n"


def test_metrics(run, manifest):
    metrics = json.loads((run / "metrics.json").read_text())
    about = {"data", "method", "seed", "split", "n"}
    assert {*metrics} == about | {
        *("fused", "modalities", "subsets", "rates", "fusion", "imbalance", "training", "cost"),
        *("val", "warnings"),
    }
    assert (metrics["data"], metrics["method"], metrics["seed"]) == (str(manifest), "mla", 0)
    assert metrics["split"] == "test"
    test = [row for row in read(manifest) if row["split"] == "test"]
    assert metrics["n"] == len(test)
    assert {*metrics["fused"]} == FIGURES
    assert [*metrics["modalities"]] == ["image", "audio", "text", "acc"]
    for name, figures in metrics["modalities"].items():
        assert {*figures} == FIGURES | {"n"}
        assert figures["n"] == sum(bool(row.get(name, "there")) for row in test)
    assert metrics["fusion"]["rule"] == "evidence"
    assert {*metrics["fusion"]["temperatures"]} == {*metrics["fusion"]["weights"]} == {*metrics["modalities"]}
    assert [*metrics["val"]["modalities"]] == [*metrics["modalities"]]
    assert all("fused accuracy is below" in warning for warning in metrics["warnings"])
    assert metrics["cost"]["epochs"] == 2
    train = [row for row in read(manifest) if row["split"] == "train"]
    assert metrics["training"]["n"] == len(train)
    for name, counts in metrics["training"]["classes"].items():
        have = [row["label"] for row in train if row.get(name, "there")]
        assert counts == {c: have.count(c) for c in COLOURS}
    assert metrics["training"]["shared_temperature"] == ["image", "audio", "text", "acc"]  # val has 15 rows
    assert len(metrics["subsets"]) == 15
    whole = metrics["subsets"]["image+audio+text+acc"]
    assert whole["n"] == sum(bool(row["image"] and row["audio"] and row["text"]) for row in test)


def check_predictions(table, rows, labels):
    modalities = ["image", "audio", "text", "acc"]
    assert table.column_names == [
        *("id", "label")[: 1 + labels],
        "prediction",
        "confidence",
        *(f"p_{name}" for name in COLOURS),
        *(f"weight_{name}" for name in modalities),
        *(f"present_{name}" for name in modalities),
        "n_modalities",
        *(f"says_{name}" for name in modalities),
        *(f"confidence_{name}" for name in modalities),
    ]
    cells = table.to_pydict()
    assert cells["id"] == [row["id"] for row in rows]
    assert not labels or cells["label"] == [row["label"] for row in rows]
    p = np.stack([cells[f"p_{name}"] for name in COLOURS])
    assert np.allclose(p.sum(0), 1, atol=1e-5)
    assert np.allclose(cells["confidence"], p.max(0))
    assert cells["prediction"] == [[*COLOURS][best] for best in p.argmax(0)]
    weights = np.stack([cells[f"weight_{name}"] for name in modalities])
    present = np.stack([cells[f"present_{name}"] for name in modalities])
    assert np.allclose(weights.sum(0), 1, atol=1e-5)
    assert not weights[~present].any()
    assert cells["n_modalities"] == present.sum(0).tolist()
    for name in modalities:
        assert cells[f"present_{name}"] == [bool(row.get(name, "there")) for row in rows]
        assert [said in COLOURS for said in cells[f"says_{name}"]] == cells[f"present_{name}"]
        assert [bool(sure) for sure in cells[f"confidence_{name}"]] == cells[f"present_{name}"]


def test_predictions_of_the_run(run, manifest):
    test = [row for row in read(manifest) if row["split"] == "test"]
    check_predictions(pyarrow.parquet.read_table(run / "predictions.parquet"), test, labels=True)


def test_evaluate_says_what_the_training_said(run, command):
    said, metrics = evaluated(command, run), json.loads((run / "metrics.json").read_text())
    for name in ("data", "method", "seed", "split", "n"):
        assert said[name] == metrics[name]
    assert said["fused"] == pytest.approx(metrics["fused"])
    assert said["modalities"]["audio"] == pytest.approx(metrics["modalities"]["audio"])


def evaluated(command, *arguments):
    code, out, err = command("evaluate", *arguments, "--json")
    metrics = json.loads(out)
    assert (code, err) == (0, "".join(f"{warning}\n" for warning in metrics["warnings"]))
    return metrics


def test_evaluate_without_modalities(run, command):
    metrics = evaluated(command, run, "--without=image", "--without=acc")
    assert metrics["without"] == ["image", "acc"]
    assert (
        metrics["modalities"]["image"]
        == metrics["modalities"]["acc"]
        == {"accuracy": None, "macro_f1": None, "nll": None, "ece": None, "n": 0}
    )
    assert metrics["modalities"]["text"]["n"] > 0


def test_evaluate_with_missing_cells(run, command, manifest):
    whole = evaluated(command, run)
    rates = [evaluated(command, run, "--missing-rate=0.7", "--seed", seed) for seed in (0, 0, 1)]
    assert rates[0] == rates[1] != rates[2]
    cells = [sum(m["n"] for m in metrics["modalities"].values()) for metrics in (whole, rates[0])]
    assert cells[1] < 0.5 * cells[0]


@pytest.mark.parametrize("split", ["train", "val"])
def test_evaluate_another_split(split, run, command, manifest):
    metrics = evaluated(command, run, "--split", split, "--fusion=mean")
    assert (metrics["split"], metrics["fusion"]["rule"]) == (split, "mean")
    n = sum(row["split"] == split for row in read(manifest))
    learnt = f"{n} of {n} rows were in the training split of this run: these figures are not a test"
    assert (metrics["n"], metrics["warnings"]) == (n, [learnt] if split == "train" else [])


def test_evaluate_other_data(run, command, rows):
    test = [row for row in rows if row["split"] == "test"]
    only_test = write(Path("test.csv"), test)
    unsplit = write(Path("unsplit.csv"), [{k: v for k, v in row.items() if k != "split"} for row in rows])
    fewer = write(Path("fewer.csv"), [{k: row[k] for k in ("label", "acc_x", "acc_y")} for row in test])
    assert evaluated(command, run, "--data", only_test)["fused"] == evaluated(command, run)["fused"]
    assert evaluated(command, run, "--data", unsplit)["n"] == len(rows)
    metrics = evaluated(command, run, "--data", fewer)
    assert [name for name, m in metrics["modalities"].items() if m["n"]] == ["acc"]
    # One sample is enough to test on, however few the training would refuse.
    one = write(Path("one.csv"), test[:1])
    assert evaluated(command, run, "--data", one)["n"] == 1


def test_stated_modalities_are_found_again(command, rows):
    stated = "--set=modalities={words: {type: text, column: text}, motion: {prefix: acc_}}"
    data = write(Path("all.csv"), rows)
    code, _, err = command(
        "fit", "--data", data, "--epochs=1", "--out=run", "--quiet", stated, "--batch-size=16"
    )
    assert code == 0, err
    new = [{"text": i, "acc_y": 1, "acc_x": 2, "acc_z": 3, "more": "x"} for i in range(3)]
    code, _, err = command("predict", "run", "--data", write(Path("new.csv"), new), "--out=p.csv")
    assert code == 0, err
    assert [row["present_motion"] + row["present_words"] for row in read(Path("p.csv"))] == ["truetrue"] * 3
    assert evaluated(command, "run", "--data", data, "--split=test")["n"] == 12


def test_evaluate_prints_a_table(run, command):
    code, out, _ = command("evaluate", run)
    assert code == 0
    for word in ("image alone", "audio alone", "acc alone", "fused (evidence)", "fused (calibrated_product)"):
        assert word in out


@pytest.mark.slow
def test_predict_parquet(run, manifest, tmp_path):
    result = shell("predict", run, "--data", manifest, "--out", tmp_path / "p.parquet", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    check_predictions(pyarrow.parquet.read_table(tmp_path / "p.parquet"), read(manifest), labels=True)
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_predict_csv_without_labels(run, command, rows):
    unknown = [{k: v for k, v in row.items() if k not in ("label", "split")} for row in rows]
    code, out, _ = command("predict", run, "--data", write(Path("new.csv"), unknown), "--out=p.csv")
    assert (code, out) == (0, "72 predictions in p.csv\n")
    check_predictions(pyarrow.csv.read_csv("p.csv"), rows, labels=False)


def test_predict_is_what_the_library_predicts(run, manifest, command):
    command("predict", run, "--data", manifest, "--out=p.parquet")
    table = pyarrow.parquet.read_table("p.parquet")
    row = read(manifest)[1]
    sample = {"image": manifest.parent / row["image"], "audio": (manifest.parent / row["audio"]).read_bytes()}
    sample |= {"text": row["text"], "acc": [float(row["acc_x"]), float(row["acc_y"])]}
    alone = altuna.load(run).predict([sample])
    assert alone["p_pear"][0].as_py() == pytest.approx(table["p_pear"][1].as_py(), abs=1e-5)


def test_predict_rows_that_cannot_be_read(run, command, rows):
    lost = {**dict.fromkeys(rows[0], ""), "id": "lost", "image": "absent.png"}
    lost |= {"split": "test", "label": "plum"}
    code, _, err = command("predict", run, "--data", write(Path("m.csv"), [rows[1], lost]), "--out=p.csv")
    assert code == 0
    assert "m.csv, row 2 (id 'lost'), column 'image': " in err
    assert "absent.png: no such file" in err
    assert [row["prediction"] != "" for row in read(Path("p.csv"))] == [True, False]


def test_config_repeats_a_run_and_flags_win(run, command):
    code, out, _ = command("fit", "--config", run / "config.yaml", "--out=again")
    assert code == 0
    assert "fused (calibrated_product)" in out
    assert "again/report.html" in out
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (run, Path("again")))
    assert again["fused"] == pytest.approx(first["fused"])
    shell_config = yaml.safe_load((run / "config.yaml").read_text())
    assert shell_config["encoders"]["image"] == {"width": 4}
    options = ["--config", run / "config.yaml", "--epochs=1", "--method=unimodal", "--quiet"]
    code, out, err = command("fit", *options, "--set=method.modality=text", "--set=lr=0.01")
    assert (code, out, err) == (0, "runs/fruit-unimodal-0\n", "")
    config = yaml.safe_load(Path("runs/fruit-unimodal-0/config.yaml").read_text())
    assert (config["epochs"], config["lr"]) == (1, 0.01)
    assert config["method"] == {"name": "unimodal", "modality": "text"}


@pytest.mark.parametrize("arguments", [[], ["fit"], ["evaluate"], ["predict"], ["--version"]])
def test_help_imports_little(arguments):
    """That is what makes it quick; its seconds are the machine's and would be those of its other work too."""
    help_ = [*arguments, "--help"][: 1 if arguments == ["--version"] else None]
    script = "import sys\nfrom altuna.cli.main import main\ntry: main()\nfinally: print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script, *help_], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    *shown, modules = result.stdout.splitlines()
    assert shown
    loaded = set(modules.split())
    assert "typer" in loaded
    assert not loaded & {"torch", "numpy", "pyarrow", "transformers", "filelock"}
    assert len(loaded) < 550  # 440 of them; a library more has hundreds


@pytest.mark.slow
def test_interrupt_and_full_disk_leave_the_checkpoint_whole(manifest, tmp_path):
    arguments = [sys.executable, "-m", "altuna", "fit", "--data", manifest, "--epochs=5000", "--out=run"]
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"

    def interruptible():  # also when the tests themselves run in the background, where a shell has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen([*arguments, "--quiet", *FAST], preexec_fn=interruptible, **options) as process:
        while not last.exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert "interrupted" in one_line(process.communicate(timeout=60))
    assert process.returncode == 130
    epochs = len(torch.load(last, weights_only=True)["progress"]["history"])
    assert epochs >= 1
    assert not [*(tmp_path / "run").rglob("*.unfinished")]

    before = {path: path.read_bytes() for path in last.parent.iterdir()}
    small = len(before[last]) // 2

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (small, small))

    with subprocess.Popen([*arguments, "--resume", "--quiet", *FAST], preexec_fn=limit, **options) as process:
        assert "File too large" in one_line(process.communicate(timeout=60))
    assert process.returncode == 2
    assert before[last] == last.read_bytes()
    assert len(torch.load(last, weights_only=True)["progress"]["history"]) == epochs
    torch.load(last.with_name("best.ckpt"), weights_only=True)
    assert not [*(tmp_path / "run").rglob("*.unfinished")]


@pytest.mark.parametrize("rule", ["entropy", "calibrated_product", "mean"])
def test_another_fusion_is_evaluated_as_in_the_training(rule, run, command):
    metrics = evaluated(command, run, "--fusion", rule)
    said = json.loads((run / "metrics.json").read_text())["fusion"]["rules"][rule]
    assert metrics["fusion"]["rule"] == rule
    assert metrics["fused"] == pytest.approx(said)


def test_two_names_without_spaces_leave_out_two(run, command):
    assert evaluated(command, run, "--without", "image,acc")["without"] == ["image", "acc"]


def test_small_numbers_as_people_write_them(command, manifest):
    mistake = "encoders.text.nothing=1"  # found after lr was accepted
    refused(command("fit", "--data", manifest, "--set", "lr=1e-4", "--set", mistake), "nothing")


def test_names_are_taken_one_after_the_other(command, manifest):
    runs = []
    for lr in (0.01, 0.02):
        code, out, err = command("fit", "--data", manifest, "--epochs", 1, "--lr", lr, "--quiet", *FAST)
        assert code == 0, err
        runs.append(out.strip())
    assert runs[1] == runs[0] + "-2"


def test_a_table_and_its_label_as_people_type_them(command, rows):
    for row in rows:
        row["kind of fruit"] = row.pop("label")
    named = write(Path("m.csv"), rows)
    options = ["--epochs", 1, "--quiet", "--out", "positional", *FAST]
    assert command("fit", named, "--label", "kind of fruit", "--ignore", "image", *options)[0] == 0
    config = read_config(Path("positional"))
    assert (config["data"], config["columns"]) == (str(named.absolute()), {"label": "kind of fruit"})
    assert config["ignore"] == ["image"]
    used = {row["column"]: row["used_as"] for row in read(Path("positional/columns.csv"))}
    assert used["kind of fruit"] == "label"
    refused(command("fit", named, "--data", "x.csv"), "give the data once: 'm.csv' or --data 'x.csv'")
