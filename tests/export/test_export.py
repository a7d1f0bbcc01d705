"""Exports: what they predict, without this package, and what cannot be exported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from exports import needs_onnx
from filelock import FileLock
from huggingface_hub import ModelCard, RepoUrl
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from media import picture, recording, tokenizer, tone
from PIL import Image

import altuna
from altuna.cli.main import main
from altuna.data.readers import READERS
from altuna.encoders import build
from altuna.errors import UserError
from altuna.export import check as checking
from altuna.export import export as exporting
from altuna.export import hub
from altuna.reporting import SILENT
from altuna.runs.directory import read_json
from altuna.runs.predict import predict_to_file
from altuna.text import markdown_table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of pictures, sounds, texts and numbers without test split; names that no file can have."""
    folder, rng = tmp_path_factory.mktemp("export"), np.random.default_rng(0)
    lines = ["id,split,label,a/photo,fusion,title,acc_x,acc_y"]
    for i in range(32):
        c, split = i % 2, ("train", "val")[i // 2 % 2]
        pixels = rng.integers(0, 50, (16, 16, 3)) + 150 * c
        (folder / f"{i}.png").write_bytes(picture(Image.fromarray(pixels.astype(np.uint8))))
        (folder / f"{i}.wav").write_bytes(recording(tone(0.2, 8000, 400 + 400 * c), 8000))
        sound = "" if i in (2, 3) else f"{i}.wav"
        title, last = ("red apple", "green pear")[c], f"{rng.normal():.2f}"
        lines.append(f"s{i},{split},{'ab'[c]},{i}.png,{sound},{title} {i},{c},{last}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    small = {"width": 4}
    return altuna.fit(
        folder / "data.csv",
        method="late_fusion",
        epochs=1,
        batch_size=8,
        encoders={"a/photo": small, "fusion": small},
        out=folder / "run",
        quiet=True,
    )


@pytest.fixture(scope="module", params=[pytest.param("onnx", marks=needs_onnx), "torch-export"])
def engine_format(request):
    return request.param


@pytest.fixture(scope="module")
def exported(run, engine_format, tmp_path_factory):
    """The folder of an export in that format, and what was checked."""
    return exporting.export(run, engine_format, out=tmp_path_factory.mktemp("exported") / "out")


@pytest.mark.slow
def test_its_own_script_predicts_without_this_package(run, engine_format, exported, example):
    folder, checked = exported
    assert checked["samples"] == 16
    assert checked["subsets"] == 15
    assert checked["largest_difference"] <= 1e-4
    said = json.loads((folder / "export.json").read_text())
    assert [m["file"].split(".")[0] for m in said["modalities"]] == ["a_photo", "fusion-1", "title", "acc"]
    text = next(m for m in said["modalities"] if m["name"] == "title")
    reader = altuna.load(run, "cpu").description.readers["title"]
    assert (
        text["example"]["cells"] == [*reader.read(text["example"]["text"])][: len(text["example"]["cells"])]
    )
    blocked = "import sys; sys.modules['altuna'] = None; "
    blocked += "sys.modules['torch'] = None; " if engine_format == "onnx" else ""
    blocked += "sys.path[0] = str(sys.argv[1]); del sys.argv[0]; sys.argv[0] += '/example.py'; "
    blocked += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    shipped = Path(exporting.__file__).parent / "scripts"
    assert {p.name: p.read_text() for p in folder.glob("*.py")} == {
        p.name: p.read_text() for p in shipped.glob("*.py")
    }
    samples = [
        {"a/photo": run.parent / "5.png", "fusion": run.parent / "5.wav", "title": "Red Apple!", "acc": "1,"},
        {"title": "中"},
        {"acc": " ,0.5", "fusion": run.parent / "4.wav"},
    ]
    vectors = {"1,": np.float32([1, np.nan]), " ,0.5": np.float32([np.nan, 0.5])}
    for number, sample in enumerate(samples):
        arguments = [f"{name}={cell}" for name, cell in sample.items()]
        if number:
            code, said, error = example(folder, *arguments)
        else:  # as far from this package as where it will run
            command = [sys.executable, "-c", blocked, folder, *arguments]
            answer = subprocess.run(command, capture_output=True, text=True)
            code, said, error = answer.returncode, answer.stdout, answer.stderr
        assert (code, error) == (0, "")
        got = json.loads(said)
        given = {m: vectors.get(cell, cell) if m == "acc" else cell for m, cell in sample.items()}
        (row,) = altuna.load(run, "cpu").predict([given], reporter=SILENT).to_pylist()
        assert got["probabilities"] == pytest.approx({c: row[f"p_{c}"] for c in "ab"}, abs=1e-4)
        assert got["weights"] == pytest.approx({m: row[f"weight_{m}"] for m in got["weights"]}, abs=1e-4)
    code, _, error = example(folder, "titel=red")
    assert code == 2
    assert error == "example.py: titel=red: write NAME=VALUE, NAME one of a/photo, fusion, title, acc\n"


@pytest.mark.slow
def test_files_that_its_own_script_lacks_are_named(exported, tmp_path, example):
    folder = Path(shutil.copytree(exported[0], tmp_path / "out"))
    (graph,) = folder.glob("title.*")
    (fusion,) = folder.glob("fusion.*")
    for file in (graph, fusion, folder / "export.json"):
        whole = file.read_bytes()
        for left in (b"", whole[:100], whole[:-200], None):
            file.write_bytes(left or b"") if left is not None else file.unlink()
            code, _, error = example(folder, "title=red")
            assert code == 2
            what = "no such file in" if left is None else "cannot be loaded, is it complete? ("
            assert error.startswith(f"example.py: {file.name}: {what}")
            assert error.count("\n") == 1
        code, usage, error = example(folder, "title=red", "--help")
        assert (code, error) == (0, "")
        assert usage.startswith("Predict with the exported graphs of this folder")
        named = "NAME=VALUE ..." if file.name == "export.json" else "a/photo=picture.png fusion=sound.wav"
        assert f"python example.py {named}" in usage
        assert example(folder, "-h")[1] == usage
        file.write_bytes(whole)
    assert example(folder, "title=red", "acc=1 2")[0] == 0


@pytest.mark.slow
def test_what_a_killed_export_left_goes_and_what_a_living_one_fills_stays(run, tmp_path):
    left, living, other = (
        tmp_path / f".{name}.unfinished" for name in ("out-0123abcd", "out-89abcdef", "out2-01234567")
    )
    locks = [folder.with_name(f"{folder.name}.lock") for folder in (left, living, other)]
    for folder, lock in zip((left, living, other), locks, strict=True):
        folder.mkdir()
        lock.touch()
    with FileLock(locks[1]):
        exporting.export(run, "safetensors", out=tmp_path / "out")
    assert {*tmp_path.iterdir()} == {tmp_path / "out", living, other, *locks[1:]}


def test_of_many_modalities_some_subsets_of_each_size(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    lines = ["split,label," + ",".join(f"{m}_{axis}" for m in "abcdefg" for axis in "xy")]
    for i in range(40):
        cells = [f"{v:.2f}" for v in rng.normal(size=14)]
        if i % 2:
            cells[-2:] = "", ""  # no sample of the split that is checked has the last one
        lines.append(",".join([("train", "test")[i % 2], "ab"[i // 2 % 2], *cells]))
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    run = altuna.fit(tmp_path / "data.csv", epochs=1, out=tmp_path / "run", quiet=True, report=False)
    monkeypatch.setattr(sys, "argv", ["altuna", "export", str(run), "--format", "safetensors"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    said, warned = capsys.readouterr()
    checked = read_json(run / "export" / "safetensors", "export.json")["checked"]
    assert checked["without_samples"] == ["g"]
    assert checked["of_subsets"] == 127
    assert 50 < checked["subsets"] < 64  # of those without the last one
    assert f"from {checked['subsets']} of 127 subsets of the modalities" in said
    assert warned.endswith("g: no sample has this modality, so its graph was not checked\n")


def test_why_no_sample_has_a_modality_is_told(run, tmp_path, capsys, monkeypatch):
    shutil.copytree(run.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("*.png", "run"))
    data, out = tmp_path / "moved" / "data.csv", tmp_path / "told"
    options = ["--format", "safetensors", "--data", str(data), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["altuna", "export", str(run), *options])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    checked = read_json(out, "export.json")["checked"]
    assert checked["without_samples"] == ["a/photo"]
    assert checked["unread"] == {"a/photo": {"cells": 16, "first": "no such file"}}
    assert capsys.readouterr().err.endswith(
        "a/photo: 16 of its cells cannot be read (the first: no such file), so its graph was not checked\n"
    )
    only = tmp_path / "moved" / "only.csv"
    only.write_text("split,label,a/photo\nval,a,1.png\nval,b,2.png\n")
    with pytest.raises(
        UserError, match=r"only\.csv, split val: no sample can be read to check the export with$"
    ):
        exporting.export(run, "safetensors", data=str(only), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predictions_take_no_place_of_what_they_are_made_of(run, tmp_path):
    data = tmp_path / "new.csv"
    data.write_text("title\nred\n")
    kept = (run / "predictions.parquet").read_bytes()
    with pytest.raises(UserError, match=r"new\.csv: is the data; give another name"):
        predict_to_file(run, str(data), tmp_path / "." / "new.csv")
    with pytest.raises(UserError, match="is the run's own predictions"):
        predict_to_file(run, str(data), run / "predictions.parquet")
    assert data.read_text() == "title\nred\n"
    assert (run / "predictions.parquet").read_bytes() == kept


def test_every_modality_has_a_file_of_its_own():
    names = exporting._file_names(["x_-2", "x!", "x?", "X_-1"])
    assert len({name.lower() for name in names.values()}) == 4


def test_what_predicts_otherwise_is_not_done(run, tmp_path, monkeypatch):
    encode = checking.Loaded.encode
    monkeypatch.setattr(checking.Loaded, "encode", lambda self, m, x: encode(self, m, x) + (m == "title"))
    with pytest.raises(
        UserError, match=r"as safetensors does not predict as the model does: from title, a prob"
    ):
        exporting.export(run, "safetensors", out=tmp_path / "out")
    assert not [*tmp_path.iterdir()]


def test_weights_count_as_far_as_the_model_knows_anything(run, monkeypatch):
    predictor = altuna.load(run, "cpu")
    samples = exporting.samples_of(predictor, run, None, None, None, SILENT)
    monkeypatch.setattr(
        checking, "sample_subsets", lambda number, size: [(*range(number),)] * (size == number)
    )
    fuse = checking.Loaded.fuse

    def otherwise(*arguments):
        probabilities, weights = fuse(*arguments)
        return probabilities, weights[:, ::-1]

    monkeypatch.setattr(checking.Loaded, "fuse", otherwise)
    engine = checking.Loaded(run)
    engine.model = predictor.model
    with pytest.raises(UserError, match="a probability or weight differs by"):
        checking.check(predictor, engine, samples, "it", lambda: None)
    for parameter in predictor.model.head.parameters():
        torch.nn.init.zeros_(parameter)
    checked = checking.check(predictor, engine, samples, "it", lambda: None)
    assert checked["largest_difference"] <= 1e-4


def test_safetensors_are_loaded_again_without_the_run(run, tmp_path):
    folder, _ = exporting.export(run, "safetensors", out=tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "export.json",
        "README.md",
    }
    assert not [
        name for name in folder.rglob("*") if name.suffix == ".json" and str(run.parent) in name.read_text()
    ]
    sample = [{"title": "red apple"}]
    assert altuna.load(folder, "cpu").predict(sample).equals(altuna.load(run, "cpu").predict(sample))


def failed(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["altuna", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    return error


def test_mistakes(run, tmp_path, capsys, monkeypatch):
    assert "did you mean 'onnx'" in failed(capsys, monkeypatch, "export", run, "--format", "onx")
    assert "no such run directory" in failed(capsys, monkeypatch, "export", tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "already exists" in failed(capsys, monkeypatch, "export", run, "--out", tmp_path / "full")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install 'altuna[export]'" in failed(
        capsys, monkeypatch, "export", run, "--out", tmp_path / "new"
    )
    assert not (tmp_path / "new").exists()


class Hub:
    """The hub, as a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, token=None):
        return self

    def create_repo(self, repo, private, exist_ok):
        return RepoUrl(f"https://huggingface.co/{repo}")

    def upload_folder(self, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder / repo_id)
        return f"https://huggingface.co/{repo_id}"

    def download(self, repo, *, allow_patterns, revision=None, token=None):
        validate_repo_id(repo)
        if not (self.folder / repo).is_dir():
            raise HFValidationError(f"no {repo}")
        return str(self.folder / repo)


def test_to_the_hub_and_back(run, tmp_path, monkeypatch, capsys):
    there = Hub(tmp_path)
    monkeypatch.setattr(hub, "HfApi", there)
    monkeypatch.setattr("huggingface_hub.snapshot_download", there.download)
    assert altuna.push_to_hub(run, "org/fruit").endswith("org/fruit")
    sample = [{"title": "red apple"}]
    wanted = altuna.load(run, "cpu").predict(sample)
    assert altuna.load("hf:org/fruit", "cpu").predict(sample).equals(wanted)
    assert altuna.Predictor.from_pretrained("org/fruit", device="cpu").predict(sample).equals(wanted)
    for model in (run, Path("hf:org/fruit")):
        predict_to_file(model, str(run.parent / "data.csv"), tmp_path / f"{model.name}.csv")
    assert (tmp_path / "fruit.csv").read_bytes() == (tmp_path / "run.csv").read_bytes()
    card = (tmp_path / "org" / "fruit" / "README.md").read_text()
    assert 'altuna.load("hf:org/fruit")' in card
    assert str(run.parent) not in card
    with pytest.raises(UserError, match=r"^hf:org/none: cannot be loaded from the hub: no org/none$"):
        altuna.load("hf:org/none")
    new = ("--data", run.parent / "data.csv", "--out", tmp_path / "new.csv")
    capsys.readouterr()  # the modalities that the sample lacks
    assert "cannot be loaded" in failed(capsys, monkeypatch, "predict", "hf:a b", *new)

    def unreachable(*arguments, **options):
        raise RuntimeError("no answer\nfrom the hub")  # each HTTP library has errors of its own

    monkeypatch.setattr(there, "create_repo", unreachable)
    assert "org/fruit: cannot be pushed: no answer from the hub" in failed(
        capsys, monkeypatch, "push", run, "org/fruit"
    )


def test_where_an_encoder_lay_is_not_told(tmp_path):
    config = transformers.BertConfig(**dict.fromkeys(("hidden_size", "intermediate_size", "vocab_size"), 8))
    config.num_attention_heads = config.num_hidden_layers = 2
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    encoder = build("m", READERS["tokens"](tokenizer(), 4), f"hf:{tmp_path / 'bert'}")
    assert str(tmp_path) not in json.dumps(encoder.saved)
    assert hub._called({"name": f"hf:{tmp_path / 'minilm'}", "tuning": "frozen"}) == {"name": "hf:minilm"}
    assert (
        hub._called({"name": "hf:org/minilm"}) == hub._called({"name": "resnet18"}) == hub._called({}) == {}
    )


def test_the_card_is_valid_and_escapes(run):
    description = altuna.load(run, "cpu").description
    metrics = read_json(run, "metrics.json")
    card = ModelCard(hub.model_card(run, description))
    assert card.data.library_name == "altuna"
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["accuracy"] == pytest.approx(metrics["fused"]["accuracy"], abs=1e-4)
    assert "| a/photo alone |" in card.text
    assert markdown_table(("x",), [("<b>|`",)])[-1] == r"| &lt;b&gt;\|\` |"
