"""Mistakes on the command line, in tables and in runs: exit code 2, one line, nothing written."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from fruit import SMALL, read, refused, shell, write

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


CONFIGURATIONS = {
    "list": "- 1",
    "broken": "a: [1",
    "typo": "sed: 1",
    "twice": "epochs: 1\nepochs: 2\n",
    "number": "1: 2",
    "options": "method: {name: mla, alfa: 1}",
    "place": "modalities: {text: {typ: text}}",
    "reader": "readers: {text: {tokns: 3}}",
    "columns": "columns: {labl: category}",
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set=modalities.image.column=imag"], ["fruit.csv", "no column 'imag'; did you mean 'image'?"]),
        (["--set=modalities.image.type=picture"], ["unknown type 'picture'"]),
        (["--set=types.text=number"], ["fruit.csv, row 2, column 'text'", "is not a number"]),
        (
            ["--set=types.acc_x=series"],
            ["fruit.csv, row 1, column 'acc_x'", "the cells are numbers; 'series' takes"],
        ),
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
        (["--fusion=produkt"], ["unknown fusion 'produkt'; did you mean 'product'?"]),
        (["--epochs=three"], ["--epochs must be a whole number, got 'three'; see --help"]),
        (["--lr=fast"], ["--lr must be a number, got 'fast'; see --help"]),
        (["--set=epochs="], ["epochs must be a whole number, got nothing"]),
        (["--set=method={name: mla, name: sum}"], ["not YAML", "the key 'name' is given twice"]),
        (["--out=/proc/run"], ["/proc/run: cannot be written"]),
        (["--config=twice.yaml"], ["twice.yaml", "line 2, column 1: the key 'epochs' is given twice"]),
        (["--config=number.yaml"], ["number.yaml: unknown option 1"]),
        (["--config=options.yaml"], ["options.yaml: method 'mla': unknown option 'alfa'"]),
        (["--config=place.yaml"], ["place.yaml: modalities.text: unknown option 'typ'"]),
        (["--config=reader.yaml"], ["reader.yaml: readers.text (text): unknown option 'tokns'"]),
        (["--config=columns.yaml"], ["columns.yaml: columns: unknown key 'labl'"]),
        (["--config=columns.yaml", "--set=columns={lab: x}"], ["altuna: columns: unknown key 'lab'"]),
        (["--config=absent.yaml"], ["absent.yaml: no such file"]),
        (["--config=list.yaml"], ["list.yaml: not a mapping"]),
        (["--config=broken.yaml"], ["broken.yaml: cannot be read: line 1, column 6: expected ',' or ']'"]),
        (["--config=typo.yaml"], ["typo.yaml", "unknown option 'sed'; did you mean 'seed'?"]),
    ],
)
def test_options_with_a_mistake(arguments, words, manifest, command):
    for name, text in CONFIGURATIONS.items():
        Path(f"{name}.yaml").write_text(text)
    result = command("fit", "--data", manifest, "--out=run", *arguments)
    refused(result, *words)
    assert "<unicode string>" not in result[2]
    assert not Path("run").exists()


def test_an_encoder_that_cannot_be_reached_is_asked_for_once(manifest, command, monkeypatch):
    asked = []

    def refuse(*given, **options):
        asked.append(given)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    result = command("fit", "--data", manifest, "--out=run", "--set=encoders.text=hf:nowhere")
    refused(result, "hf:nowhere: cannot be loaded (neither a local folder nor found on the hub): no network")
    assert len(asked) == 1


def test_a_run_directory_in_use(command, manifest):
    Path("full").mkdir()
    Path("full/precious").write_text("x")
    refused(command("fit", "--data", manifest, "--out=full"), "full: is not empty")
    refused(command("fit", "--data", manifest, "--out=full/precious"), "is a file")
    refused(command("fit", "--data", manifest, "--out=full", "--resume"), "not a run directory")
    refused(command("fit", "--data", manifest, "--resume"), "--resume needs --out")
    refused(command("fit", "--out=nowhere", "--resume"), "nowhere: there is no training to continue")
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
        (
            ["RUN", "--data=unlabelled.csv"],
            "unlabelled.csv: no column 'label', which has the labels",
        ),
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
        ("words.csv", "p.csv", "words.csv, row 1, column 'acc_y': 'x': the cells are texts, not numbers"),
    ],
)
def test_predict_with_a_mistake(data, out, words, run, manifest, command):
    Path("folder.csv").mkdir()
    write(Path("other.csv"), [{"smell": "sweet"}])
    write(Path("lost.csv"), [{"image": "absent.png"}])
    write(Path("words.csv"), [{"acc_x": 1, "acc_y": "x", "text": "a"}])
    refused(command("predict", run, "--data", manifest if data == "fruit" else data, "--out", out), words)
    tables = {"other.csv", "lost.csv", "words.csv"}
    assert {p.name for p in Path().iterdir()} == {"folder.csv", *tables}


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
        (edit("config.json", '"format": 3', '"format": 99'), ["config.json", "format 99", "another version"]),
        (edit("config.json", "{", "["), ["config.json: cannot be read"]),
        (
            lambda run: (run / "config.json").write_text("[" * 300),
            ["config.json: cannot be read: nested too deeply"],
        ),
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
