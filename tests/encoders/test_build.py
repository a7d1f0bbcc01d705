"""Encoders by name: what they are built of, and what a wrong option says."""

import numpy as np
import pytest
import torch

from altuna.data.readers import READERS
from altuna.encoders import ENCODERS, build
from altuna.encoders.base import OverTime
from altuna.errors import UserError

READERS_OF = {
    "image": READERS["image"](size=32),
    "image_list": READERS["image_list"](pictures=2, size=32),
    "video": READERS["video"](frames=2, size=32),
    "audio": READERS["audio"](rate=8000, seconds=0.3),
    "text": READERS["text"](vocabulary=("a", "b", "c"), length=5),
    "series": READERS["series"](length=30, channels=3),
    "vector": READERS["vector"](size=3),
    "tabular": READERS["tabular"]((("age", 0.0),), (), (("colour", ("blue", "red")),)),
}
ALL = [(kind, name) for kind, table in ENCODERS.items() for name in table]
# Of those that are large at any size of input.
SMALL = {"m3ae_base": {}, "m3ae_large": {}, "cav_mae": {"front_end": {"mels": 32, "frames": 32}}}


def cells_of(reader, n=3):
    random = np.random.default_rng(0)
    if reader.dtype is np.float32:
        return torch.from_numpy(random.normal(size=(n, *reader.shape)).astype(np.float32))
    return torch.from_numpy(random.integers(0, 5, (n, *reader.shape)).astype(reader.dtype))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_cells_to_features(kind, name):
    reader = READERS_OF[kind]
    small = {"dimension": 16, "depth": 2, "heads": 2, **SMALL[name]} if name in SMALL else {}
    encoder = build("m", reader, name, **small)
    cells = cells_of(reader)
    features = encoder.train()(cells)
    assert features.shape == (3, encoder.out_features)
    features.sum().backward()
    encoder.eval()
    alone = torch.cat([encoder(cells[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(encoder(cells), alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", READERS_OF)
def test_eval_mode_is_deterministic(kind):
    encoder = build("m", READERS_OF[kind]).eval()
    cells = cells_of(READERS_OF[kind])
    assert torch.equal(encoder(cells), encoder(cells))
    encoder.train()
    assert not torch.equal(encoder(cells), encoder(cells))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["audio", "text"])
def test_compiled_it_computes_the_same_way(kind):
    # Graphs that leave PyTorch have spectra and bags of embeddings in other words.
    encoder = build("m", READERS_OF[kind]).eval()
    cells = cells_of(READERS_OF[kind])
    wanted = encoder(cells)
    encoder.compile(backend="eager")
    assert torch.equal(encoder(cells), wanted)


def test_frames_are_averaged_over_time():
    encoder = build("m", READERS_OF["video"], "resnet18").eval()
    cells = cells_of(READERS_OF["video"])
    frames = [encoder.network.network(encoder.front_end(cells)[:, t]) for t in range(2)]
    assert isinstance(encoder.network, OverTime)
    torch.testing.assert_close(encoder(cells), (frames[0] + frames[1]) / 2)


def test_a_crop_changes_what_the_network_is_built_for():
    big = READERS["image"](size=40)
    encoder = build("m", big, "vit", transforms={"random_resized_crop": {"size": 16}})
    for mode in (True, False):
        assert encoder.train(mode)(cells_of(big)).shape == (3, 192)


def test_transforms_in_the_order_stated():
    encoder = build("m", READERS_OF["image"], transforms={"flip": None, "color_jitter": {"contrast": 0.1}})
    assert [type(t).__name__ for t in encoder.cell_transforms] == ["Flip", "ColorJitter"]
    assert not len(build("m", READERS_OF["image"], transforms={}).cell_transforms)


def test_front_ends_by_name():
    reader = READERS_OF["audio"]
    assert build("m", reader).front_end.shape[1] == 64
    assert build("m", reader, front_end="log_stft").front_end.shape[1] == 257
    assert build("m", reader, front_end={"name": "log_stft", "n_fft": 128}).front_end.shape[1] == 65
    assert build("m", reader, front_end={"mels": 20}).front_end.shape[1] == 20


@pytest.mark.parametrize(
    ("reader", "front_end", "channels"),
    [
        (READERS["video"](frames=3, size=224), None, 3),
        (READERS["audio"](rate=16_000, seconds=5.0), "log_stft", 1),
    ],
)
def test_resnet18_is_the_papers(reader, front_end, channels):
    """Of 224 x 224 frames and of spectrograms of 5 s: its parameters counted, but for the classifier."""
    encoder = build("m", reader, "resnet18", front_end=front_end)
    convolutions = 64 * channels * 49 + 4 * 64 * 64 * 9
    batch_norms = 5 * 2 * 64
    for c in (128, 256, 512):
        convolutions += 9 * c * c // 2 + 3 * 9 * c * c + c * c // 2
        batch_norms += 5 * 2 * c
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + batch_norms
    assert encoder.out_features == 512


def test_a_deeper_network_is_wider():
    assert build("m", READERS_OF["image"], "resnet50", width=8).out_features == 256
    assert build("m", READERS_OF["image"], "resnet18", width=8).out_features == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet19"}, r"modality 'm': no encoder 'resnet19' for image; did you mean 'resnet1?8'"),
        ({"wdth": 3}, "modality 'm', encoder 'resnet18': unknown option 'wdth'; did you mean 'width'"),
        ({"width": "x"}, "width must be a whole number or empty, got 'x'"),
        ({"transforms": {"flop": {}}}, "modality 'm', transforms: no 'flop' for image; did you mean 'flip'"),
        (
            {"transforms": {"random_affine": {"degree": 3}}},
            "random_affine: unknown option 'degree'; did you mean",
        ),
        ({"front_end": "log_mel"}, "modality 'm': no front end 'log_mel' for image"),
        ({"lr": 0.0}, "modality 'm': lr must be more than 0"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        build("m", READERS_OF["image"], **options)


def test_a_narrow_network_survives_its_backward_pass():
    """Of few channels, channels last and large pictures, the convolution of PyTorch 2.13 crashes."""
    reader = READERS["image"](size=224)
    encoder = build("m", reader, "resnet18", width=4, transforms={})
    encoder(cells_of(reader, 4)).sum().backward()


def test_no_hugging_face_encoder_of_vectors():
    with pytest.raises(UserError, match="can be of image, image_list, video, text, audio, not of vector"):
        build("m", READERS_OF["vector"], "hf:x")
