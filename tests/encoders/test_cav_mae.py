"""CAV-MAE's audio encoder: against a float64 reference, with weights by the published names."""

import checkpoints
import numpy as np
import pytest
import torch
from references import masked_autoencoders as reference

from altuna.data.readers import READERS
from altuna.encoders import build, reader_of
from altuna.encoders.cav_mae import CAVMAE
from altuna.encoders.frontends import KaldiFbank
from altuna.errors import UserError

TINY = {"dimension": 16, "depth": 3, "heads": 2}
FRONT_END = {"mels": 32, "frames": 64}
READER = READERS["audio"](rate=16_000, seconds=0.655)
SHAPES = checkpoints.cav_mae(16, 3, 8)


def encoder_of(**options):
    return build("m", READER, "cav_mae", front_end=FRONT_END, transforms={}, **TINY, **options)


@pytest.mark.parametrize(
    ("dtype", "atol", "parallel"), [(torch.float32, 1e-5, False), (torch.float64, 1e-7, True)]
)
def test_sound(tmp_path, dtype, atol, parallel):
    weights = checkpoints.filled(SHAPES)
    weights["patch_embed_a.proj.weight"] *= 0.01  # so small that an epsilon is told from another
    saved = {f"module.{name}": value for name, value in weights.items()} if parallel else weights
    torch.save(saved, tmp_path / "audio_model.pth")
    encoder = encoder_of(weights=str(tmp_path / "audio_model.pth")).eval().to(dtype)
    p = {name: value.double().numpy() for name, value in weights.items()}
    cells = torch.randint(-9000, 9000, (3, *READER.shape), dtype=torch.int16)
    inputs = encoder.front_end(cells)
    assert inputs.shape == (3, 1, 32, 64)
    for spectrogram, found in zip(inputs, encoder(cells), strict=True):
        expected = reference.cav_mae_audio(p, spectrogram[0].T.double().numpy(), 3, 2)
        np.testing.assert_allclose(found.detach(), expected, atol=atol)


def test_random_weights_begin_with_sines():
    encoder = encoder_of()
    expected = reference.grid(16, 2, 4)
    np.testing.assert_allclose(encoder.network.place[0].detach(), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*no-op")
def test_the_released_size(tmp_path):
    """All published names and shapes, and the classifier of what is fine-tuned, in a small file."""
    shapes = checkpoints.cav_mae(768, 12, 512) | checkpoints.parameters("mlp_head.1", 527, 768)
    torch.save(checkpoints.hollow(shapes), tmp_path / "w")
    kind, options = reader_of("audio", {"name": "cav_mae"})
    reader = kind.fit([], **options)
    front_end = KaldiFbank(reader, reader.shape)
    assert front_end.shape == (1, 128, 1024)
    assert (reader.shape[0] - 400) // 160 + 1 == 1024
    with torch.device("meta"):
        CAVMAE(front_end).load(tmp_path / "w")


@pytest.mark.parametrize(
    ("front_end", "message"),
    [
        ({"mels": 32, "frames": 48}, r"pos_embed_a has the shape \[1, 8, 16\] instead of \[1, 6, 16\]$"),
        ({"mels": 32, "frames": 60}, "inputs of 32 x 60 do not divide into patches of 16 x 16"),
        ({"name": "log_mel"}, "inputs of 64 x 66 do not divide"),
    ],
)
def test_spectrograms_of_other_sizes_are_refused(tmp_path, front_end, message):
    torch.save(checkpoints.filled(SHAPES), tmp_path / "w")
    with pytest.raises(UserError, match=message):
        build("m", READER, "cav_mae", front_end=front_end, **TINY, weights=str(tmp_path / "w"))


def test_a_name_too_few_and_one_too_many(tmp_path):
    weights = checkpoints.filled(SHAPES)
    weights["blocks_a.2.attn.qkv.weight"] = weights.pop("blocks_u.0.norm1_a.bias")
    torch.save(weights, tmp_path / "w")
    with pytest.raises(
        UserError, match=r"blocks_u.0.norm1_a.bias is missing; blocks_a.2.attn.qkv.weight is unexpected$"
    ):
        encoder_of(weights=str(tmp_path / "w"))
