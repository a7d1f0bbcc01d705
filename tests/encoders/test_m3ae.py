"""M3AE: against a float64 reference, with weights by the published names."""

import pickle
from types import SimpleNamespace

import checkpoints
import numpy as np
import pytest
import torch
from references import masked_autoencoders as reference
from safetensors.torch import save_file

import altuna
from altuna.data.readers import READERS
from altuna.encoders import build, reader_of
from altuna.encoders.frontends import Pixels, Tokens
from altuna.encoders.m3ae import SIZES, M3AEImage, M3AEText, patches
from altuna.errors import UserError

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "the",
    "on",
    "red",
    "green",
    "yellow",
    "##er",
    "apple",
    "[MASK]",
]
TEXTS = ["Red apple", "a", "the green apple on the yellower"]
TINY = {"dimension": 16, "depth": 3, "heads": 2}
SHAPES = checkpoints.m3ae(16, 3, len(WORDS))
# In float64 so exactly that an epsilon is told from another; positions are rounded to float32.
EXACT = pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tokenizer as BERT was released: a list of word pieces."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


@pytest.fixture
def released(tmp_path):
    weights = checkpoints.filled(SHAPES)
    torch.save(weights, tmp_path / "m3ae.pth")
    return tmp_path / "m3ae.pth", {name: value.double().numpy() for name, value in weights.items()}


def text_reader(bert):
    kind, options = reader_of("text", {"name": "m3ae_base"})
    return kind.fit(TEXTS, **{**options, "tokenizer": str(bert)})


def text_encoder(bert, **options):
    return build("m", text_reader(bert), "m3ae_base", **TINY, **options)


def image_encoder(height=32, **options):
    return build("m", READERS["image"](size=height), "m3ae_base", **TINY, transforms={}, **options)


@EXACT
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pictures(released, pooling, dtype, atol):
    path, p = released
    encoder = image_encoder(48, weights=str(path), pooling=pooling).eval().to(dtype)
    cells = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for cell, found in zip(cells, encoder(cells), strict=True):
        outputs = reference.m3ae_image(p, (cell.numpy() / 255 - mean) / std, 3, 2)
        expected = outputs[1:].mean(0) if pooling == "mean" else outputs[0]
        np.testing.assert_allclose(found.detach(), expected, atol=atol)


def test_pictures_that_are_no_square(released):
    path, p = released
    network = M3AEImage(Pixels(None, (32, 64, 3)), **TINY, weights=path)
    x = torch.randn(1, 3, 32, 64)
    expected = reference.m3ae_image(p, x[0].permute(1, 2, 0).double().numpy(), 3, 2)[1:].mean(0)
    np.testing.assert_allclose(network(x)[0].detach(), expected, atol=1e-5)


@EXACT
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_texts(bert, released, pooling, dtype, atol):
    path, p = released
    encoder = text_encoder(bert, weights=str(path), pooling=pooling).eval().to(dtype)
    reader = text_reader(bert)
    cells = torch.from_numpy(np.stack([reader.read(text) for text in TEXTS]))
    # Without [CLS] and [SEP], in small letters, padded.
    assert cells[:2].tolist() == [[8, 12, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0]]
    assert cells[2].tolist() == [6, 9, 12, 7, 6, 10, 11]
    for cell, found in zip(cells.numpy(), encoder(cells), strict=True):
        length = int((cell > 0).sum())
        hidden = [*range(length, len(cell))]
        outputs = reference.m3ae_text(p, np.maximum(cell - 1, 0), 3, 2, hidden)
        expected = outputs[1 : 1 + length].mean(0) if pooling == "mean" else outputs[0]
        np.testing.assert_allclose(found.detach(), expected, atol=atol)


def test_padding_counts_for_nothing(bert):
    encoder = text_encoder(bert).eval()
    reader = text_reader(bert)
    cells = torch.from_numpy(np.stack([reader.read(text) for text in TEXTS]))
    for cell, found in zip(cells, encoder(cells), strict=True):
        torch.testing.assert_close(encoder(cell[None, : int((cell > 0).sum())])[0], found)


def test_a_long_text_is_its_beginning(bert):
    kind, options = reader_of("text", {"name": "m3ae_large"})
    reader = kind.fit(["red apple " * 200], **{**options, "tokenizer": str(bert)})
    row = reader.read("red " * 255 + "apple green")
    assert row.shape == (256,)
    assert row[-2:].tolist() == [8, 12]


def test_patches_are_rows_of_columns_of_channels():
    x = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    cut = patches(x, 2)
    assert cut.shape == (2, 6, 12)
    assert cut[1, 4].tolist() == x[1, :, 2:4, 2:4].permute(1, 2, 0).flatten().tolist()


@pytest.mark.filterwarnings("ignore:.*no-op")
@pytest.mark.parametrize("name", SIZES)
def test_the_released_sizes(tmp_path, name):
    """The published names and shapes of base and large, without a file of a gigabyte."""
    size = SIZES[name]
    torch.save(checkpoints.hollow(checkpoints.m3ae(size["dimension"], size["depth"], 30522)), tmp_path / "w")
    reader, options = reader_of("image", {"name": name})
    front_end = Pixels(None, reader.fit([], **options).shape)
    with torch.device("meta"):
        image = M3AEImage(front_end, **size)
        text = M3AEText(Tokens(SimpleNamespace(tokens=30523, words=np.ones(30523, bool)), (256,)), **size)
        image.load(tmp_path / "w")
        text.load(tmp_path / "w")
    assert image.places.shape == (256, size["dimension"])


FLAX = {
    "layer_norm1": "LayerNorm_0",
    "layer_norm2": "LayerNorm_1",
    "layer_norm": "LayerNorm_0",
    "attention": "Attention_0",
    "qkv_linear": "Dense_0",
    "fc": "Dense_1",
    "transformer_mlp": "TransformerMLP_0",
}


def flax(weights):
    """The same weights by the names and shapes of the release (young-geng/m3ae_public, m3ae/model.py)."""
    found = {}
    for name, value in weights.items():
        *layer, last = [FLAX.get(part, part) for part in name.replace("blocks.", "Block_").split(".")]
        if last == "weight":
            kinds = {"LayerNorm_0": "scale", "LayerNorm_1": "scale", "text_embedding": "embedding"}
            last = kinds.get(layer[-1], "kernel")
        found[".".join([*layer, last])] = value.T.contiguous() if last == "kernel" else value
    return found


def test_the_release_itself(tmp_path, released, bert):
    """Flax's tree, made flat, as docs/encoders.md says; with the decoder."""
    path, _ = released
    weights = flax(torch.load(path, weights_only=True))
    assert "encoder.Block_2.Attention_0.Dense_0.kernel" in weights
    assert "encoder.LayerNorm_0.scale" in weights
    assert "text_embedding.embedding" in weights
    assert weights["encoder.Block_0.TransformerMLP_0.fc1.kernel"].shape == (16, 64)
    weights["decoder.Block_0.LayerNorm_0.scale"] = torch.ones(512)
    weights["decoder_image_output.Dense_0.bias"] = torch.ones(3)
    weights["decoder_input_projection.bias"] = torch.ones(512)
    weights["image_mask_embedding"] = torch.ones(1, 1, 512)
    weights["decoder_text_type_embedding"] = torch.ones(1, 1, 512)
    save_file(weights, tmp_path / "m3ae.safetensors")
    for make in (image_encoder, lambda **options: text_encoder(bert, **options)):
        one, two = (make(weights=str(p)).state_dict() for p in (path, tmp_path / "m3ae.safetensors"))
        assert all(torch.equal(one[name], two[name]) for name in one)


def without(weights, name):
    del weights[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: without(w, "encoder.blocks.1.attention.fc.bias"),
            "encoder.blocks.1.attention.fc.bias is miss",
        ),
        (lambda w: w.update({"head.weight": torch.ones(2)}), "head.weight is unexpected$"),
        (
            lambda w: w.update({"cls_token": torch.ones(1, 1, 12)}),
            r"cls_token has the shape \[1, 1, 12\] instead of \[1, 1, 16\]$",
        ),
        (lambda w: w.clear(), "; and 37 more"),
        (lambda w: w.update({"cls_token": 3}), "does not hold a dictionary of tensors"),
    ],
)
def test_weights_of_something_else(released, change, message):
    path, _ = released
    weights = torch.load(path, weights_only=True)
    change(weights)
    torch.save(weights, path)
    with pytest.raises(UserError, match=message) as caught:
        image_encoder(weights=str(path))
    assert "modality 'm', encoder 'm3ae_base': " in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class Trap:
    """What a pickle can do."""

    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("save", [pickle.dumps, None])
def test_pickles_are_not_opened(tmp_path, capsys, save):
    """As M3AE is released, and as torch.save writes whole objects."""
    path = tmp_path / "m3ae.pkl"
    if save:
        path.write_bytes(save({"state": Trap()}))
    else:
        torch.save({"state": Trap()}, path)
    with pytest.raises(UserError, match="other pickles are not opened: they can run code"):
        image_encoder(weights=str(path))
    assert not capsys.readouterr().out
    with pytest.raises(UserError, match="no such file"):
        image_encoder(weights=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_encoder(40), "inputs of 40 x 40 do not divide into patches of 16 x 16"),
        (lambda: image_encoder(weights=3), "weights must be Path or empty, got 3"),
        (
            lambda: build("m", READERS["image"](size=32), "m3ae_base", dimension=18, heads=3),
            "dimension must be a multiple of 4 and of heads, got 18 and 3",
        ),
        (lambda: build("m", READERS["image"](size=32), "m3ae_bas"), "did you mean 'm3ae_base'"),
        (
            lambda: READERS["tokens"].fit([], tokenizer="no/such/folder"),
            "tokenizer 'no/such/folder': neither a local folder nor on the hub; give a folder with a tok",
        ),
    ],
)
def test_mistakes(monkeypatch, make, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        make()


def test_without_transforms_where_pretrained(released):
    path, _ = released
    options = {"reader": READERS["image"](size=32), "name": "m3ae_base", **TINY}
    assert len(build("m", **options).input_transforms)
    assert not len(build("m", **options, weights=str(path)).input_transforms)


def test_a_run_needs_the_weights_no_more(tmp_path, bert, released):
    path, _ = released
    (tmp_path / "m.csv").write_text("t,label\n" + "red apple,a\ngreen apple,b\n" * 20)
    run = altuna.fit(
        tmp_path / "m.csv",
        encoders={"t": {"name": "m3ae_base", **TINY, "weights": str(path)}},
        readers={"t": {"tokenizer": str(bert)}},
        epochs=1,
        store=tmp_path / "store",
        out=tmp_path / "run",
        quiet=True,
    )
    path.unlink()
    answer = altuna.load(run).predict([{"t": "red apple"}])
    assert answer["prediction"].to_pylist()[0] in ("a", "b")
