"""Hugging Face encoders: small random ones of every kind, and MiniLM with its real weights."""

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import altuna
from altuna.encoders import build, reader_of
from altuna.errors import UserError

TEXTS = ["red apple", "green", "a yellow plum on the table", "blue"]


def bert_tokenizer(folder):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "on", "red", "green"]
    words += ["yellow", "blue", "apple", "plum", "table"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return fast


SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WAVES = {
    **SMALL,
    "conv_dim": (8, 8),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Small random models as their authors' tools save them."""
    torch.manual_seed(0)
    base = tmp_path_factory.mktemp("models")
    t = transformers
    models = {
        "text": t.BertModel(t.BertConfig(**SMALL, vocab_size=20, max_position_embeddings=12)),
        "image": t.ViTModel(t.ViTConfig(**SMALL, image_size=32, patch_size=8)),
        "cnn": t.ResNetModel(t.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1])),
        "video": t.VideoMAEModel(
            t.VideoMAEConfig(**SMALL, image_size=32, patch_size=8, num_frames=4, tubelet_size=2)
        ),
        "audio": t.Wav2Vec2Model(t.Wav2Vec2Config(**WAVES)),
        "clip": t.CLIPModel(
            t.CLIPConfig(
                text_config={**SMALL, "vocab_size": 20, "max_position_embeddings": 12, "eos_token_id": 3},
                vision_config={**SMALL, "image_size": 32, "patch_size": 8},
            )
        ),
    }
    for name, model in models.items():
        model.eval().save_pretrained(base / name)
    for name in ("text", "clip"):
        bert_tokenizer(base / name)
    t.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(base / "image")
    t.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(base / "audio")
    return base


CASES = [
    ("text", "text"),
    ("image", "image"),
    ("image", "cnn"),
    ("video", "video"),
    ("video", "image"),
    ("image_list", "image"),
    ("image_list", "clip"),
    ("audio", "audio"),
    ("image", "clip"),
    ("text", "clip"),
]


def prepared(kind, name, **options):
    """Return the encoder of a folder and cells for it."""
    reader_class, wanted = reader_of(kind, {"name": f"hf:{name}"})
    extra = {"audio": {"seconds": 0.2}, "image": {}, "image_list": {"pictures": 3}, "video": {}, "text": {}}[
        kind
    ]
    if kind == "video":
        wanted = {"frames": 3, **wanted}
    reader = reader_class.fit(TEXTS if kind == "text" else [], **{**wanted, **extra})
    random = np.random.default_rng(0)
    if kind == "text":
        cells = torch.from_numpy(np.stack([reader.read(text) for text in TEXTS]))
    else:
        low, high = (-9000, 9000) if kind == "audio" else (0, 256)
        cells = torch.from_numpy(random.integers(low, high, (4, *reader.shape)).astype(reader.dtype))
    return build("m", reader, f"hf:{name}", **options), cells, reader


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("tuning", ["frozen", "tuned", "lora"])
def test_every_kind_and_tuning(folders, kind, name, tuning):
    if tuning == "lora" and name == "cnn":
        with pytest.raises(UserError, match="cannot be used"):
            prepared(kind, folders / name, tuning=tuning)
        return
    encoder, cells, reader = prepared(kind, folders / name, tuning=tuning)
    features = encoder.train()(cells)
    assert features.shape == (4, encoder.out_features)
    features.square().sum().backward()
    moved = {n for n, p in encoder.network.named_parameters() if p.grad is not None and p.grad.any()}
    assert bool(moved) == (tuning != "frozen")
    assert tuning != "lora" or all("lora_" in n for n in moved)
    # Without the source, from what is saved, and the same.
    again = build("m", reader, "hf:gone", tuning=tuning, **encoder.saved)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again.eval()(cells), encoder.eval()(cells))
    if tuning == "frozen":
        assert encoder.fixed
        torch.testing.assert_close(encoder(encoder.features(cells)), encoder(cells))


def test_text_is_what_transformers_computes(folders):
    encoder, cells, _ = prepared("text", folders / "text")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "text")
    model = transformers.AutoModel.from_pretrained(folders / "text").eval()
    for pooling in ("mean", "cls"):
        encoder = prepared("text", folders / "text", pooling=pooling)[0].eval()
        for text, cell in zip(TEXTS, cells, strict=True):
            with torch.no_grad():
                hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
                expected = hidden.mean(0) if pooling == "mean" else hidden[0]
                torch.testing.assert_close(encoder.features(cell[None])[0], expected)


def test_pictures_are_what_transformers_computes(folders):
    encoder, cells, _ = prepared("image", folders / "image", pooling="cls")
    model = transformers.AutoModel.from_pretrained(folders / "image").eval()
    pixels = (cells.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.eval().features(cells), model(pixel_values=pixels).last_hidden_state[:, 0]
        )


@pytest.mark.parametrize("tuning", ["frozen", "tuned", "lora"])
@pytest.mark.parametrize("pooling", ["pooled", "projected"])
def test_clip(folders, pooling, tuning):
    """What its towers pool themselves, and their common features."""
    model = transformers.CLIPModel.from_pretrained(folders / "clip").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "clip")
    projected = pooling == "projected"
    encoder, cells, reader = prepared("image", folders / "clip", pooling=pooling, tuning=tuning)
    with torch.no_grad():
        pooled = model.vision_model(pixel_values=encoder.front_end(cells)).pooler_output
        expected = model.visual_projection(pooled) if projected else pooled
        torch.testing.assert_close(encoder.eval().features(cells), expected)
    again = build("m", reader, "hf:gone", tuning=tuning, pooling=pooling, **encoder.saved)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again.eval()(cells), encoder(cells))
    trained = {name for name, p in encoder.network.named_parameters() if p.requires_grad}
    assert ("projection.weight" in trained) == (projected and tuning == "tuned")

    encoder, cells, _ = prepared("text", folders / "clip", pooling=pooling, tuning=tuning)
    for text, cell in zip(TEXTS, cells, strict=True):
        with torch.no_grad():
            pooled = model.text_model(**tokenizer(text, return_tensors="pt")).pooler_output
            expected = model.text_projection(pooled) if projected else pooled
            torch.testing.assert_close(encoder.eval().features(cell[None]), expected)


@pytest.mark.parametrize(
    ("name", "pooling", "message"),
    [
        ("image", "projected", "it has no projection"),
        ("video", "pooled", "it does not pool its features itself"),
    ],
)
def test_no_pooling_of_its_own(folders, name, pooling, message):
    with pytest.raises(UserError, match=f"cannot be used as an encoder of {name}: {message}"):
        prepared(name, folders / name, pooling=pooling)


def test_a_model_of_videos_is_none_of_several_pictures(folders):
    with pytest.raises(UserError, match="cannot be used as an encoder of image_list"):
        prepared("image_list", folders / "video")


def test_sound_is_what_transformers_computes(folders):
    encoder, cells, reader = prepared("audio", folders / "audio")
    assert reader.rate == 8000
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folders / "audio")
    model = transformers.AutoModel.from_pretrained(folders / "audio").eval()
    given = extractor([*(cells.numpy() / 32768)], sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        expected = model(input_values=given.input_values.float()).last_hidden_state.mean(1)
        torch.testing.assert_close(encoder.eval().features(cells), expected, atol=1e-5, rtol=1e-4)


def test_long_texts_are_cut_to_what_the_model_takes(folders):
    reader_class, wanted = reader_of("text", {"name": f"hf:{folders / 'text'}"})
    reader = reader_class.fit(["red apple " * 40], **wanted)
    assert reader.shape == (12,)
    numbers = reader.read("red apple " * 40)
    assert (numbers[0], numbers[-1]) == (3, 4)  # [CLS] and [SEP], plus one
    build("m", reader, f"hf:{folders / 'text'}")(torch.from_numpy(numbers[None]))


@pytest.mark.parametrize("tuning", ["frozen", "tuned"])
def test_a_joint_expert_shares_a_frozen_encoder_and_has_a_tuned_one_of_its_own(folders, tuning, tmp_path):
    lines = ["id,split,label,title,x_0,x_1"]
    for i in range(36):
        split = ("train", "train", "val", "test")[i // 3 % 4]
        lines.append(f"{i},{split},c{i % 3},{TEXTS[i % 4]},{i % 3},{i % 5}")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    run = altuna.fit(
        tmp_path / "data.csv",
        encoders={"title": {"name": f"hf:{folders / 'text'}", "tuning": tuning}},
        method="late_fusion",
        joint_expert="apart",
        epochs=1,
        store=tmp_path / "store",
        out=tmp_path / "run",
        quiet=True,
        report=False,
    )
    model = altuna.load(run).model
    text, vector = model.head.sizes
    assert [*model.expert_encoders] == (["1"] if tuning == "frozen" else ["0", "1"])
    assert model.widths == (text * (1 if tuning == "frozen" else 2), vector * 2)


def test_a_frozen_model_stays_in_eval_mode(folders):
    encoder, cells, _ = prepared("text", folders / "text")
    encoder.train()
    assert not encoder.network.training
    assert torch.equal(encoder.features(cells), encoder.features(cells))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("{base}/none", {}, "neither a local folder nor found on the hub"),
        ("{base}", {}, "cannot be loaded"),
        ("{base}/text", {"tuning": "frosen"}, "tuning must be 'frozen' or 'tuned' or 'lora'"),
        ("{base}/text", {"poling": "cls"}, "unknown option 'poling'; did you mean 'pooling'"),
    ],
)
def test_mistakes(folders, monkeypatch, name, options, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message) as caught:
        prepared("text", name.format(base=folders), **options)
    assert "\n" not in str(caught.value)


def test_padding_counts_for_nothing(folders):
    """A text or sound has the same features alone, unpadded, as padded beside longer ones."""
    encoder, cells, _ = prepared("text", folders / "text")
    together = encoder.eval().features(cells)
    for cell, features in zip(cells, together, strict=True):
        torch.testing.assert_close(encoder.features(cell[None, : int((cell > 0).sum())])[0], features)


def test_silence_in_the_padding_hardly_counts(tmp_path):
    """Of models that know an attention mask; the frame at the border sees a little of the silence."""
    config = transformers.Wav2Vec2Config(**WAVES, feat_extract_norm="layer")
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True).save_pretrained(
        tmp_path
    )
    encoder, cells, _ = prepared("audio", tmp_path)
    short = cells[:1, :800]
    padded = torch.nn.functional.pad(short, (0, 4000))
    alone, beside = encoder.eval().features(short), encoder.features(padded)
    assert (encoder.front_end(padded)[0, 800:] == 0).all()
    naive = encoder.network.model(encoder.front_end(padded)).last_hidden_state.mean(1)
    near, far = (torch.cosine_similarity(alone, other).item() for other in (beside, naive))
    assert near > 0.99
    assert 1 - far > 10 * (1 - near)


def test_tokens_left_out_in_the_middle_do_not_cut_the_end(folders):
    encoder, cells, _ = prepared("text", folders / "text")
    gap = cells[2:3].clone()
    gap[0, 2:4] = 0
    end = gap.clone()
    end[0, int((cells[2] > 0).sum()) - 2] = cells[0, 1]
    assert not torch.equal(encoder.eval().features(gap), encoder.features(end))


def test_positions_of_roberta(tmp_path):
    """Its positions are counted from after that of the padding token."""
    config = transformers.RobertaConfig(**SMALL, vocab_size=20, max_position_embeddings=12, pad_token_id=1)
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    bert_tokenizer(tmp_path)
    encoder, _, reader = prepared("text", tmp_path)
    long = torch.from_numpy(
        reader.fit(["red apple " * 40], **reader_of("text", {"name": f"hf:{tmp_path}"})[1]).read(
            "red apple " * 40
        )
    )
    assert len(long) == 10
    encoder(long[None])


def test_stored_features_depend_on_every_option(folders, tmp_path):
    from altuna.data.store.arrays import Store
    from altuna.encoders.frozen import _digest

    store = Store(np.empty((0, 1)), np.empty(0, np.int64), folder=tmp_path)
    for kind, name in (("video", "image"), ("image", "image"), ("text", "text")):
        digests = [
            _digest(prepared(kind, folders / name, pooling=pooling)[0], store)
            for pooling in ("mean", "cls", "mean")
        ]
        assert digests[0] == digests[2] != digests[1]


def test_another_model_in_the_folder_is_noticed_when_resumed(folders, tmp_path):
    (tmp_path / "m.csv").write_text("t,label\n" + "red apple,a\ngreen plum,b\n" * 20)
    import shutil

    shutil.copytree(folders / "text", tmp_path / "model")
    options = {
        "encoders": {"t": f"hf:{tmp_path / 'model'}"},
        "store": tmp_path / "s",
        "out": tmp_path / "run",
        "report": False,
    }
    altuna.fit(tmp_path / "m.csv", epochs=1, quiet=True, **options)
    torch.manual_seed(5)
    transformers.BertModel(
        transformers.BertConfig(**SMALL, vocab_size=20, max_position_embeddings=12)
    ).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="the weights of a frozen encoder have changed"):
        altuna.fit(tmp_path / "m.csv", epochs=1, quiet=True, resume=True, **options)


def test_its_own_learning_rate(folders, tmp_path):
    """Of two encoders the one with the tiny rate hardly moves."""
    (tmp_path / "m.csv").write_text("t,label\n" + "red apple,a\ngreen plum,b\n" * 20)
    moved = []
    for lr in (1e-9, 1e-3):
        encoder = {"name": f"hf:{folders / 'text'}", "tuning": "tuned", "lr": lr}
        options = {"encoders": {"t": encoder}, "epochs": 1, "quiet": True, "report": False}
        run = altuna.fit(tmp_path / "m.csv", out=tmp_path / str(lr), **options)
        saved = load_file(run / "model.safetensors")
        original = load_file(folders / "text" / "model.safetensors")
        key = "embeddings.word_embeddings.weight"
        mine = next(value for name, value in saved.items() if name.endswith(key))
        moved.append((mine - original[key]).abs().max().item())
    assert moved[0] < 1e-6 < 1e-4 < moved[1]
