"""``altuna init``: what it writes is what altuna would have chosen, and runs."""

import csv
import json

import numpy as np
import pytest
import yaml
from PIL import Image

import altuna
from altuna.cli.init import config_text, write_config
from altuna.errors import UserError


@pytest.fixture
def table(tmp_path):
    """Pictures, remarks and two sensors of 60 samples; the label is called ``class``."""
    random = np.random.default_rng(0)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "photo", "remark", "acc_x", "acc_y"])
        for i in range(60):
            pixels = random.integers(0, 100, (16, 16, 3), np.uint8) + 100 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
            words = ["dark night", "bright day"][i % 2]
            writer.writerow(
                [["a", "b"][i % 2], f"{i}.png", words if i % 3 else "", i % 2 + random.normal(), i % 5]
            )
    return tmp_path / "t.csv"


def test_what_it_writes(table):
    text = config_text(table)
    config = yaml.safe_load(text)
    assert config["data"] == str(table)
    assert config["columns"] == {"label": "class"}
    assert config["modalities"] == {
        "photo": {"type": "image", "column": "photo"},
        "remark": {"type": "text", "column": "remark"},
        "acc": {"type": "vector", "prefix": "acc_"},
    }
    assert config["encoders"] == {"photo": "resnet18", "remark": "text_bag", "acc": "mlp"}
    assert config["method"]["name"] == "mla"
    assert "60 samples, 2 classes" in text
    assert "# 40 of 60 cells" in text
    assert "#   photo: {size: 32}" in text
    assert max(map(len, text.splitlines())) < 150


def test_a_run_of_it_is_the_run_without_it(table, tmp_path):
    config = yaml.safe_load(config_text(table)) | {"epochs": 1, "precision": "32-true"}
    said = altuna.fit(**config, out=tmp_path / "said", quiet=True)
    plain = altuna.fit(
        table,
        columns={"label": "class"},
        epochs=1,
        precision="32-true",
        out=tmp_path / "plain",
        quiet=True,
    )
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (said, plain)]
    for figures in metrics:
        del figures["cost"]
    assert metrics[0] == metrics[1]


def test_clips_with_sound_give_a_modality_of_sound(tmp_path):
    from media import write_clip

    for i in range(8):
        write_clip(tmp_path / f"{i}.mp4", frames=4, sound=i != 0)
    rows = [f'"{i}.mp4#t=0.1,0.3",{"ab"[i % 2]}' for i in [*range(1, 8), *range(1, 8)]]
    (tmp_path / "m.csv").write_text("\n".join(["clip,label", *rows]))
    modalities = yaml.safe_load(config_text(tmp_path / "m.csv"))["modalities"]
    assert modalities == {
        "clip": {"type": "video", "column": "clip"},
        "clip_sound": {"type": "audio", "column": "clip"},
    }
    (tmp_path / "m.csv").write_text("clip,label\n" + "0.mp4,a\n0.mp4,b\n" * 7)
    assert [*yaml.safe_load(config_text(tmp_path / "m.csv"))["modalities"]] == ["clip"]


def test_mistakes(table, tmp_path):
    write_config(table, tmp_path / "c.yaml")
    with pytest.raises(UserError, match=r"c\.yaml: already exists"):
        write_config(table, tmp_path / "c.yaml")
    with pytest.raises(UserError, match="no such folder"):
        write_config(table, tmp_path / "none" / "c.yaml")
    with pytest.raises(UserError, match="no such file"):
        write_config(tmp_path / "none.csv", tmp_path / "d.yaml")
    assert not (tmp_path / "d.yaml").exists()
    (tmp_path / "u.csv").write_text("words\nhello\n")
    with pytest.raises(UserError, match="no column 'label'"):
        write_config(tmp_path / "u.csv", tmp_path / "d.yaml")


def test_the_command(table, tmp_path, monkeypatch, capsys):
    from altuna.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["altuna", "init", str(table)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert capsys.readouterr().out == "wrote altuna.yaml; train with: altuna fit --config altuna.yaml\n"
    monkeypatch.setattr(
        "sys.argv",
        ["altuna", "cache", "--config", "altuna.yaml", "--store", "s", "--set", "readers.photo.size=24"],
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert "24 x 24 x 3 uint8" in shown
    assert "prepared in s" in shown
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "s").iterdir())
    assert names == ["image", "problems.csv", "text"]
    (tmp_path / "altuna.yaml").write_text("data: t.csv\nencoder: {}\n")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    expected = "altuna: altuna.yaml: unknown option 'encoder'; did you mean 'encoders'?\n"
    assert capsys.readouterr().err == expected


def test_cache_is_what_fit_prepares(table, tmp_path):
    from altuna.training.fit import cache

    options = {"columns": {"label": "class"}, "store": tmp_path / "s", "quiet": True}
    stores = cache(table, **options)
    assert {name: len(store.position) for name, store in stores.items()} == {
        "photo": 60,
        "remark": 60,
        "acc": 60,
    }
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*.bin")}
    altuna.fit(table, epochs=1, out=tmp_path / "run", **options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*.bin")} == before
    with pytest.raises(UserError, match="unknown option 'epoch'; did you mean 'epochs'"):
        cache(table, epoch=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transforms": {"photo": "flip"}}, "transforms.photo must be a mapping of options"),
        (
            {"transforms": {"photo": {"flip": 3}}},
            r"transforms.photo: write each with its options, as in flip: \{\}",
        ),
        ({"transforms": {"photo": {"flop": {}}}}, "no 'flop' for image; did you mean 'flip'"),
        ({"transforms": {"acc": {"vector_noise": {"std": float("nan")}}}}, "std must be a number from 0"),
        ({"encoders": {"photo": 5}}, "encoders.photo: must be a name"),
        ({"encoders": {"photo": {"name": 5}}}, "encoders.photo: name must be a text"),
        ({"encoders": {"photo": {"lr": float("inf")}}}, "lr must be more than 0"),
        ({"encoders": {"photo": {"front_end": {"mean": [1]}}}}, "mean and std must be three numbers"),
        ({"encoders": {"photo": {"width": 0}}}, "width must be 1 or more"),
        ({"encoders": {"photo": "hf:"}}, "write hf:FOLDER or hf:HUB_ID"),
        ({"encoders": {"acc": "hf:x"}}, "can be of image, image_list, video, text, audio, not of vector"),
        ({"encoders": {"phot": "vit"}}, "no modality 'phot'; did you mean 'photo'"),
        ({"readers": {"acc": {"size": 7}}}, r"readers.acc: size is 7, not that of the 2 columns of .*t\.csv"),
        ({"readers": {"photo": {"size": 0}}}, "readers.photo: size must be more than 0"),
        ({"fixed_weights": {"photo": "a"}}, "fixed_weights.photo must be a number"),
        ({"modalities": {}}, "modalities is empty"),
        ({"modalities": {"photo": {"column": "photo", "prefix": "p"}}}, "one of column, columns and prefix"),
        ({"seed": 10**20}, "seed must be at most 9223372036854775807"),
    ],
)
def test_a_mistake_in_the_options_is_told_before_anything_is_read(table, tmp_path, options, message):
    from altuna.training.fit import cache

    with pytest.raises(UserError, match=message) as caught:
        cache(table, columns={"label": "class"}, store=tmp_path / "s", quiet=True, **options)
    assert "\n" not in str(caught.value)
    assert not [*(tmp_path / "s").rglob("cells.bin")] or "readers.acc" in message


def test_fewer_modalities_than_the_table_has(table, tmp_path):
    """Rows that have none of those chosen are left out."""
    from altuna.training.fit import cache

    stores = cache(
        table,
        columns={"label": "class"},
        modalities={"remark": {}},
        store=tmp_path / "s",
        quiet=True,
    )
    assert (stores["remark"].position >= 0).sum() == 40


@pytest.mark.slow
def test_clips_and_their_sound_from_end_to_end(tmp_path):
    """Clips give frames and sound; a broken one and one without sound do no harm to the others."""
    from media import write_clip

    rows = []
    for i in range(24):
        hertz = (300.0, 1500.0)[i % 2]
        write_clip(tmp_path / f"{i}.mp4", frames=6, hertz=(hertz,), sound=i != 3)
        rows.append((f"{i}.mp4", "ab"[i % 2]))
    (tmp_path / "5.mp4").write_bytes(b"not a clip")
    with (tmp_path / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("clip", "label"), *rows])
    config = yaml.safe_load(config_text(tmp_path / "m.csv"))
    config["encoders"] = {"clip": {"name": "resnet18", "width": 4}, "clip_sound": {"width": 16}}
    run = altuna.fit(**{**config, "epochs": 2}, store=tmp_path / "s", out=tmp_path / "run", quiet=True)
    problems = [*csv.DictReader((run / "problems.csv").open())]
    assert [(p["row"], p["column"]) for p in problems] == [
        ("4", "clip"),
        ("6", "clip"),
        ("6", "clip"),
        ("6", ""),
    ]
    assert "has no sound track" in problems[0]["reason"]
    predictor = altuna.load(run)
    table = predictor.predict([{"clip": tmp_path / "1.mp4"}, {"clip_sound": str(tmp_path / "1.mp4#t=0,0.4")}])
    assert table["present_clip"].to_pylist() == [True, False]
    assert table["present_clip_sound"].to_pylist() == [False, True]


def test_editors_find_the_schema_beside_the_file(table, tmp_path):
    write_config(table, tmp_path / "c.yaml")
    first = (tmp_path / "c.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=c.schema.json"
    schema = json.loads((tmp_path / "c.schema.json").read_text())
    assert {*yaml.safe_load((tmp_path / "c.yaml").read_text())} <= {*schema["properties"]}
