"""The command line, from a manifest to predictions, and what it says of every mistake."""

import csv
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import soundfile
import torch
import yaml
from PIL import Image

import altuna
from altuna.cli.main import main

COLOURS = {"apple": (200, 30, 30), "pear": (30, 200, 30), "plum": (30, 30, 200)}
SMALL = [
    "--batch-size=16",
    "--set=encoders.image.width=4",
    "--set=encoders.audio.width=4",
    "--set=encoders.text.dimension=16",
]
FAST = ["--batch-size=16", "--set=modalities={text: {type: text}, acc: {prefix: acc_}}"]
FIGURES = {"accuracy", "macro_f1", "nll", "ece"}


def read(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """72 samples of three classes with 16-pixel pictures, 0.2 s tones, words and two numbers."""
    folder, rng = tmp_path_factory.mktemp("fruit"), np.random.default_rng(0)
    rows = []
    for i in range(72):
        c = i % 3
        label = [*COLOURS][c]
        pixels = np.array(COLOURS[label]) + rng.integers(-25, 25, (16, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        wave = 0.3 * np.sin(2 * np.pi * 300 * (c + 1) * np.arange(1600) / 8000)
        soundfile.write(folder / f"{i}.wav", wave, 8000)
        rows.append(
            {
                "id": f"s{i}",
                "split": ["train", "train", "train", "val", "test"][i // 3 % 5],
                "label": label,
                "image": f"{i}.png" if i % 4 else "",
                "audio": f"{i}.wav" if i % 5 else "",
                "text": f"a {label}" if i % 7 else "",
                "acc_x": round(c + rng.normal() / 10, 3),
                "acc_y": -c,
            }
        )
    return write(folder / "fruit.csv", rows)


@pytest.fixture
def rows(manifest, tmp_path, monkeypatch):
    """The manifest's rows, its files in the current folder, to be spoilt."""
    monkeypatch.chdir(tmp_path)
    for file in manifest.parent.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / manifest.name).unlink()
    return read(manifest)


def shell(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "altuna", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        **options,
    )


@pytest.fixture
def command(capfd, monkeypatch, tmp_path):
    """Run a command in this process, which has torch already: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["altuna", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capfd.readouterr()

    return run


def refused(result, *words):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.startswith("altuna: ")
    assert err.count("\n") == 1
    for word in words:
        assert str(word) in err
    assert not Path("runs").exists()


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    result = shell("fit", "--data", manifest, "--epochs=2", "--out=run", "--quiet", *SMALL, cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "run\n", "")
    return folder / "run"


@pytest.fixture
def spoilt(run, tmp_path):
    """A copy of the run, to be spoilt."""
    return Path(shutil.copytree(run, tmp_path / "spoilt"))


def test_the_run_directory(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert files - events == {
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
    assert metrics["fusion"]["rule"] == "calibrated_product"
    assert {*metrics["fusion"]["temperatures"]} == {*metrics["modalities"]}
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
    assert (code, err) == (0, "")
    return json.loads(out)


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
    assert metrics["n"] == sum(row["split"] == split for row in read(manifest))


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
    for word in ("image alone", "audio alone", "acc alone", "fused (calibrated_product)"):
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


# Bad input: exit code 2, one line, nothing written.


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    result = shell("fit", "--data=absent.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "altuna: absent.csv: no such file\n"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("emojy", "no such file, and no built-in data of that name; did you mean 'emoji'?"),
        ("absent.csv", "absent.csv: no such file"),
        ("folder.csv", "is a folder"),
        ("broken.parquet", "broken.parquet: cannot be read"),
        ("broken.jsonl", "broken.jsonl, row 1: not JSON"),
        ("unknown.xyz", "unknown format"),
    ],
)
def test_no_manifest(data, words, command):
    Path("folder.csv").mkdir()
    for name in ("broken.parquet", "broken.jsonl", "unknown.xyz"):
        Path(name).write_bytes(b"nonsense")
    refused(command("fit", "--data", data, "--out=run"), words)
    assert not Path("run").exists()


def change(row, **cells):
    return lambda rows: rows[row].update(cells)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change(4, split="tset"), ["row 5 (id 's4'), column 'split'", "unknown split 'tset'"]),
        (change(4, split=""), ["row 5 (id 's4'), column 'split': empty"]),
        (change(4, label=""), ["row 5 (id 's4'), column 'label': empty"]),
        (change(4, id="s1"), ["row 5 (id 's1'), column 'id'", "already in row 2"]),
        (change(4, id=""), ["row 5, column 'id': empty"]),
        (change(13, label="kiwi"), ["row 14 (id 's13'), column 'label'", "'kiwi' has only this one sample"]),
        (
            lambda rows: [rows[i].update(label="kiwi") for i in (12, 13)],
            ["row 13 (id 's12'), column 'label'", "'kiwi' is in test but never in train"],
        ),
        (
            lambda rows: [rows[i].update(label="kiwi") for i in (9, 10)],
            ["row 10 (id 's9'), column 'label'", "'kiwi' is in val but never in train"],
        ),
        (
            lambda rows: [row.update(group=f"g{i // 15}") for i, row in enumerate(rows)],
            ["row 1 (id 's0'), column 'group'", "group 'g0' is in train and val and test"],
        ),
        (
            change(4, image="", audio=" ", text="", acc_x="", acc_y=""),
            ["row 5 (id 's4'), column 'image, audio, text, acc'", "every modality is empty"],
        ),
        (change(4, acc_x="nan"), ["row 5 (id 's4'), column 'acc_x'", "nan"]),
        (change(4, acc_x="-inf"), ["row 5 (id 's4'), column 'acc_x'", "-inf"]),
        (lambda rows: [row.pop("label") for row in rows], ["no column 'label'"]),
        (lambda rows: [row.update(label="plum") for row in rows], ["column 'label': only one class"]),
        (lambda rows: [row.update(split="test") for row in rows], ["column 'split': no row is in train"]),
        (
            lambda rows: [row.update(audio="absent.wav") for row in rows],
            ["no train row has a 'audio' that can be read"],
        ),
        (
            lambda rows: [
                row.update(image="", audio="absent.wav", text="", acc_x="", acc_y="")
                for row in rows
                if row["split"] == "val"
            ],
            ["no val row can be read"],
        ),
    ],
)
def test_a_manifest_with_a_mistake(spoil, words, rows, command):
    spoil(rows)
    path = write(Path("m.csv"), rows)
    refused(command("fit", "--data", path, "--out=run", "--epochs=1", *SMALL), "m.csv", *words)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set=modalities.image.column=imag"], ["fruit.csv", "no column 'imag'; did you mean 'image'?"]),
        (["--set=modalities.image.type=picture"], ["unknown type 'picture'"]),
        (["--set=readers.image.sise=8"], ["unknown option 'sise'; did you mean 'size'?"]),
        (["--set=readers.imag.size=8"], ["no modality 'imag'; did you mean 'image'?"]),
        (["--set=encoders.image.width=wide"], ["width must be a whole number or empty, got 'wide'"]),
        (["--set=encoders.image=resnet19"], ["no encoder 'resnet19' for image; did you mean 'resnet18'?"]),
        (["--method=mlaa"], ["mlaa", "did you mean 'mla'?"]),
        (["--set=method.alfa=1"], ["unknown option 'alfa'; did you mean 'alpha'?"]),
        (["--set=method.imput=mean"], ["unknown option 'imput'; did you mean 'impute'?"]),
        (["--method=late_fusion", "--set=method.impute=mean"], ["the head 'separate' is not joint"]),
        (["--method=concat", "--set=method.impute=1"], ["impute must be 'zero' or 'mean', got 1"]),
        (["--set=epoch=1"], ["unknown option 'epoch'; did you mean 'epochs'?"]),
        (["--set=epochs"], ["KEY=VALUE"]),
        (["--set=epochs=[1"], ["not YAML"]),
        (["--epochs=0"], ["epochs must be at least 1"]),
        (["--lr=-1"], ["lr must be at least 0"]),
        (["--optimizer=adam"], ["no 'adam'; did you mean 'adamw'?"]),
        (["--precision=33"], ["precision"]),
        (["--fusion=produkt"], ["unknown fusion 'produkt'"]),
        (["--config=absent.yaml"], ["absent.yaml: no such file"]),
        (["--config=list.yaml"], ["list.yaml: not a mapping"]),
        (["--config=broken.yaml"], ["broken.yaml: cannot be read"]),
        (["--config=typo.yaml"], ["typo.yaml", "unknown option 'sed'; did you mean 'seed'?"]),
    ],
)
def test_options_with_a_mistake(arguments, words, manifest, command):
    for name, text in (("list", "- 1"), ("broken", "a: [1"), ("typo", "sed: 1")):
        Path(f"{name}.yaml").write_text(text)
    refused(command("fit", "--data", manifest, "--out=run", *arguments), *words)
    assert not Path("run").exists()


def test_a_run_directory_in_use(command, manifest):
    Path("full").mkdir()
    Path("full/precious").write_text("x")
    refused(command("fit", "--data", manifest, "--out=full"), "full: is not empty")
    refused(command("fit", "--data", manifest, "--out=full/precious"), "is a file")
    refused(command("fit", "--data", manifest, "--out=full", "--resume"), "not a run directory")
    refused(command("fit", "--data", manifest, "--resume"), "--resume needs --out")
    refused(command("fit", "--out=nowhere", "--resume"), "nowhere: nothing to continue")
    assert not Path("nowhere").exists()
    assert [path.name for path in Path("full").iterdir()] == ["precious"]


@pytest.fixture
def broken(rows):
    """Cells that cannot be read, in training rows: those of the third are all that it has."""
    Path("empty.wav").write_bytes(b"")
    Path("cut.png").write_bytes(Path("1.png").read_bytes()[:200])
    Path("cut.wav").write_bytes(Path("1.wav").read_bytes()[:1000])
    rows[1].update(image="cut.png", audio="empty.wav")
    rows[2].update(image="2.wav", audio="2.png")
    rows[6].update(image="absent.png", audio="cut.wav", text="", acc_x="", acc_y="")
    return write(Path("broken.csv"), rows)


PROBLEMS = [
    ("2", "image", "broken image"),
    ("2", "audio", "the file is empty (0 bytes)"),
    ("3", "image", "not an image"),
    ("3", "audio", "or not a sound"),
    ("7", "image", "no such file"),
    ("7", "audio", "truncated"),
    ("7", "", "no cell of this row could be read"),
]


def test_broken_cells_count_as_missing(broken, command):
    code, out, err = command("fit", "--data", broken, "--epochs=1", "--out=run", *SMALL)
    assert code == 0, err
    problems = read(Path("run/problems.csv"))
    assert len(problems) == len(PROBLEMS)
    for problem, (row, column, reason) in zip(problems, PROBLEMS, strict=True):
        assert (problem["row"], problem["column"]) == (row, column)
        assert reason in problem["reason"]
    assert out.count("remarks on the data: run/problems.csv") == 1
    assert "Traceback" not in err


def test_strict_makes_them_fatal(broken, command):
    result = command("fit", "--data", broken, "--epochs=1", "--out=run", "--strict", *SMALL)
    refused(result, "broken.csv, row 2 (id 's1'), column 'image'", "cut.png: broken image", "7 problems")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent"], "absent: no such run directory"),
        (["folder"], "folder: not a finished run: no config.json"),
        (["RUN", "--split=tset"], "unknown split 'tset'; did you mean 'test'?"),
        (["RUN", "--without=imag"], "unknown modality 'imag'; did you mean 'image'?"),
        (["RUN", *(f"--without={m}" for m in ("image", "audio", "text", "acc"))], "no sample has a modality"),
        (["RUN", "--missing-rate=0.9"], "missing rate 0.9: must be between 0 and 0.714"),
        (["RUN", "--missing-rate=-1"], "missing rate -1.0"),
        (["RUN", "--fusion=joint"], "unknown fusion 'joint'"),
        (["RUN", "--data=absent.csv"], "absent.csv: no such file"),
        (["RUN", "--data=kiwi.csv"], "kiwi.csv, row 2 (id 's1'), column 'label': label 'kiwi' is unknown"),
        (["RUN", "--data=unlabelled.csv"], "unlabelled.csv: no column 'label'"),
        (["RUN", "--data=other.csv"], "other.csv: has none of the model's modalities"),
        (["RUN", "--data=kiwi.csv", "--split=val"], "kiwi.csv: no row is in split 'val'"),
    ],
)
def test_evaluate_with_a_mistake(arguments, words, run, rows, command):
    Path("folder").mkdir()
    rows[1]["label"] = "kiwi"
    write(Path("kiwi.csv"), [row | {"split": "test"} for row in rows])
    write(Path("unlabelled.csv"), [{"acc_x": 1, "acc_y": 2}])
    write(Path("other.csv"), [{"label": "plum", "smell": "sweet"}])
    refused(command("evaluate", *[run if a == "RUN" else a for a in arguments]), words)


@pytest.mark.parametrize(
    ("data", "out", "words"),
    [
        ("fruit", "p.xlsx", "give a name that ends in .parquet or .csv"),
        ("fruit", "absent/p.csv", "absent: no such folder"),
        ("fruit", "folder.csv", "folder.csv"),
        ("absent.csv", "p.csv", "absent.csv: no such file"),
        ("other.csv", "p.csv", "other.csv: has none of the model's modalities"),
        ("lost.csv", "p.csv", "lost.csv: no row has anything that could be read"),
        ("words.csv", "p.csv", "words.csv, column 'acc_y': has cells that are not numbers"),
    ],
)
def test_predict_with_a_mistake(data, out, words, run, manifest, command):
    Path("folder.csv").mkdir()
    write(Path("other.csv"), [{"smell": "sweet"}])
    write(Path("lost.csv"), [{"image": "absent.png"}])
    write(Path("words.csv"), [{"acc_x": 1, "acc_y": "x", "text": "a"}])
    refused(command("predict", run, "--data", manifest if data == "fruit" else data, "--out", out), words)
    assert {p.name for p in Path().iterdir()} == {"folder.csv", "other.csv", "lost.csv", "words.csv"}


class Evil:
    """Unpickling it makes the file ``executed``."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def edit(name, old, new):
    def spoil(run):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (edit("config.json", '"format": 2', '"format": 99'), ["config.json", "format 99", "another version"]),
        (edit("config.json", "{", "["), ["config.json: cannot be read"]),
        (
            edit("config.json", '"shared"', '"sharp"'),
            ["config.json: does not hold this run's model", "sharp"],
        ),
        (
            edit("config.json", '"reader"', '"raeder"'),
            ["config.json: modalities.", "unknown option 'raeder'; did you mean 'reader'?"],
        ),
        (lambda run: (run / "config.json").unlink(), ["not a finished run"]),
        (lambda run: (run / "model.safetensors").unlink(), ["model.safetensors"]),
        (lambda run: os.truncate(run / "model.safetensors", 5000), ["model.safetensors: does not hold"]),
        (
            lambda run: (run / "model.safetensors").write_bytes(pickle.dumps(Evil())),
            ["model.safetensors: does not hold"],
        ),
        (edit("config.json", '"width": 4', '"width": 8'), ["model.safetensors: does not hold this run's"]),
    ],
)
def test_a_spoilt_run(spoil, words, spoilt, manifest, command):
    spoil(spoilt)
    refused(command("evaluate", spoilt), "spoilt", *words)
    refused(command("predict", spoilt, "--data", manifest, "--out=p.csv"), "spoilt", *words)
    assert not Path("p.csv").exists()
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "content",
    [
        lambda run: pickle.dumps(Evil()),
        lambda run: b"",
        lambda run: (run / "checkpoints" / "last.ckpt").read_bytes()[:3000],
        lambda run: (run / "model.safetensors").read_bytes(),
    ],
)
def test_a_checkpoint_that_is_not_ours(content, spoilt, command):
    last = spoilt / "checkpoints" / "last.ckpt"
    before = content(spoilt)
    last.write_bytes(before)
    refused(command("fit", "--out", spoilt, "--resume"), "last.ckpt")
    assert not Path("executed").exists()
    assert last.read_bytes() == before


def test_a_checkpoint_of_another_program(spoilt, command):
    torch.save({"state_dict": {}}, spoilt / "checkpoints" / "last.ckpt")
    refused(command("fit", "--out", spoilt, "--resume"), "last.ckpt")
    torch.save(Evil(), spoilt / "checkpoints" / "last.ckpt")
    refused(command("fit", "--out", spoilt, "--resume"), "last.ckpt")
    assert not Path("executed").exists()


def test_resume_with_other_options(spoilt, command):
    refused(command("fit", "--out", spoilt, "--resume", "--epochs=3"), "was started with epochs = 2, not 3")


def one_line(result):
    out, err = result
    assert out == ""
    assert err.startswith("altuna: ")
    assert err.count("\n") == 1
    return err


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


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("method.alpha=0", "method 'mla': alpha must be positive"),
        ("encoders.text.dropout=2", "dropout probability"),
        ("fixed_weights.text=-1", "must not be negative"),
    ],
)
def test_impossible_values_are_one_line(assignment, words, command, manifest):
    refused(command("fit", "--data", manifest, "--out", "new", "--set", assignment), words)
    assert not Path("new").exists()


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
