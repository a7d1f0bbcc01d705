"""Front ends against slow NumPy, and whether they export."""

import numpy as np
import pytest
import torch
from transformers import audio_utils

from altuna.data.readers import READERS
from altuna.encoders.frontends import KaldiFbank, LogMel, LogSTFT, Pixels, Standardise
from altuna.encoders.piecewise import PiecewiseLinear

AUDIO = READERS["audio"](rate=8000, seconds=0.5)
WAVES = torch.from_numpy(np.random.default_rng(0).integers(-9000, 9000, (3, 4000)).astype(np.int16))


def magnitudes(wave, n_fft, length, hop):
    """|STFT| [frames, bins] by the definition, windows centred."""
    wave = np.pad(wave.astype(np.float64) / 32768, n_fft // 2)
    window = np.zeros(n_fft)
    start = (n_fft - length) // 2
    window[start : start + length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    starts = range(0, len(wave) - n_fft + 1, hop)
    return np.stack([np.abs(np.fft.rfft(window * wave[s : s + n_fft])) for s in starts])


def mel_filter(band, bands, rate, n_fft):
    """One triangle [bins] between three neighbours on the mel scale."""

    def hertz(mel):
        return 700 * (10 ** (mel / 2595) - 1)

    top = 2595 * np.log10(1 + rate / 2 / 700)
    low, middle, high = (hertz(top * (band + i) / (bands + 1)) for i in range(3))
    at = np.arange(n_fft // 2 + 1) * rate / n_fft
    return np.clip(np.minimum((at - low) / (middle - low), (high - at) / (high - middle)), 0, None)


def standardised(x, module):
    mean, var = module.standardise.running_mean.item(), module.standardise.running_var.item()
    return (x - mean) / np.sqrt(var + 1e-5)


def test_log_mel():
    module = LogMel(AUDIO, AUDIO.shape, mels=10)
    module.train()(WAVES)  # takes statistics
    found = module.eval()(WAVES)
    assert found.shape == (3, *module.shape)
    for wave, spectrogram in zip(WAVES.numpy(), found, strict=True):
        power = magnitudes(wave, 256, 200, 80) ** 2
        mel = np.stack([power @ mel_filter(band, 10, 8000, 256) for band in range(10)])
        np.testing.assert_allclose(spectrogram[0], standardised(np.log(mel + 1e-6), module), atol=2e-3)


def test_log_stft():
    module = LogSTFT(AUDIO, AUDIO.shape, n_fft=128, hop=50)
    module.train()(WAVES)
    found = module.eval()(WAVES)
    assert found.shape == (3, *module.shape) == (3, 1, 65, 81)
    for wave, spectrogram in zip(WAVES.numpy(), found, strict=True):
        logs = np.log(magnitudes(wave, 128, 128, 50).T + 1e-7)
        np.testing.assert_allclose(spectrogram[0], standardised(logs, module), atol=2e-3)


def test_log_stft_of_the_paper():
    """257 bins of 5 s of 16 kHz, a shorter sound repeated."""
    reader = READERS["audio"](rate=16_000, seconds=5.0)
    module = LogSTFT(reader, reader.shape, tile=True)
    assert module.shape == (1, 257, 313)
    sound = torch.randint(-9000, 9000, (2, 30_000), dtype=torch.int16)
    padded = torch.nn.functional.pad(sound, (0, 50_000))
    tiled = torch.cat([sound, sound, sound[:, :20_000]], 1)
    assert torch.equal(module.eval()(padded), LogSTFT(reader, reader.shape).eval()(tiled))
    assert module(torch.zeros_like(padded)).isfinite().all()


def fbank(wave, rate, length, n_fft, mels):
    """Kaldi's energies [frames, mels] by transformers, as its AST does without torchaudio."""
    filters = audio_utils.mel_filter_bank(
        n_fft // 2 + 1, mels, 20, rate / 2, rate, None, "kaldi", triangularize_in_mel_space=True
    )
    return audio_utils.spectrogram(
        wave,
        audio_utils.window_function(length, "hann", periodic=False),
        length,
        rate // 100,
        n_fft,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize(("rate", "n_fft", "mels"), [(16_000, 512, 128), (8000, 256, 40)])
def test_kaldi_fbank(rate, n_fft, mels):
    reader = READERS["audio"](rate=rate, seconds=0.5)
    time = np.arange(rate // 2) / rate
    random = np.random.default_rng(0)
    loud = [
        9000 * np.sin(2 * np.pi * 440 * time) + 500 * random.normal(size=len(time)),
        3000 + 2000 * random.normal(size=len(time)),
        30 * random.normal(size=len(time)) * (time < 0.3),
    ]
    waves = np.stack(loud).astype(np.int16)
    module = KaldiFbank(reader, reader.shape, mels=mels, frames=64, mean=-5.0, std=2.0)
    found = module(torch.from_numpy(waves))
    assert found.shape == (3, *module.shape) == (3, 1, mels, 64)
    for wave, one in zip(waves, found[:, 0], strict=True):
        sound = wave[: np.flatnonzero(wave)[-1] + 1] / 32768
        expected = fbank(sound.astype(np.float64), rate, rate // 40, n_fft, mels)
        # After the end 0, as CAV-MAE pads.
        expected = np.pad(expected, ((0, 64 - len(expected)), (0, 0)))
        np.testing.assert_allclose(2.0 * one.T - 5.0, expected, atol=1e-3)
    cut = KaldiFbank(reader, reader.shape, mels=mels, frames=16, mean=-5.0, std=2.0)(torch.from_numpy(waves))
    torch.testing.assert_close(cut, found[..., :16])


def test_pictures_by_the_statistics_of_imagenet():
    found = Pixels(None, (1, 1, 3))(torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)).flatten()
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 6, 3), (2, 5, 6, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels(shape, dtype):
    cells = torch.randint(0, 256, (4, *shape)).to(dtype)
    before = cells.clone()
    module = Pixels(None, shape, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    found = module(cells)
    assert found.shape == (4, *module.shape)
    expected = (cells.numpy() / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.6, 0.7])
    np.testing.assert_allclose(found.numpy(), np.moveaxis(expected, -1, -3), atol=1e-5)
    assert torch.equal(cells, before)
    assert found.flatten(0, -4).is_contiguous(memory_format=torch.channels_last)


def test_standardise_imputes_the_training_mean():
    module = Standardise(None, (3,))
    train = np.array([[1.0, 5, 7], [3, np.nan, 7], [np.nan, 9, 7]], np.float32)
    module.fit(train)
    assert module.mean.tolist() == [2, 7, 7]
    found = module(torch.tensor([[np.nan, 9, 8], [3, np.nan, np.nan]]))
    assert found.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert module(torch.tensor([[1e30, -np.inf, 7]])).tolist() == [[1e6, -1e6, 0]]


@pytest.mark.parametrize("value", [np.nan, 0, 7, -1e38, np.inf])
@pytest.mark.parametrize("front_end", [Standardise, PiecewiseLinear])
def test_a_number_that_training_never_had_counts_for_nothing(front_end, value):
    module = front_end(None, (2,))
    module.fit(np.array([[1.0, np.nan], [3, np.nan]], np.float32))
    found, bare = (module(torch.tensor([[1.0, x]])) for x in (value, np.nan))
    assert found.tolist() == bare.tolist()
    assert found[0, :2].tolist() == [-1, 0]
    assert module.state_dict().keys() == front_end(None, (2,)).state_dict().keys()
    assert all(buffer.abs().max() < 100 for buffer in module.buffers())  # also in half precision


@pytest.mark.parametrize(
    ("module", "cells"),
    [
        (Pixels(None, (8, 8, 3)), torch.zeros(2, 8, 8, 3, dtype=torch.uint8)),
        (LogMel(AUDIO, AUDIO.shape), WAVES),
        (LogSTFT(AUDIO, AUDIO.shape), WAVES),
        (LogSTFT(AUDIO, AUDIO.shape, tile=True), WAVES),
        (KaldiFbank(AUDIO, AUDIO.shape, mels=32, frames=64), WAVES),
        (Standardise(None, (4,)), torch.zeros(2, 4)),
        (PiecewiseLinear(None, (4,)), torch.zeros(2, 4)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_exports(module, cells):
    module.eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (cells,), dynamic_shapes=({0: batch},))
    assert torch.allclose(program.module()(cells[:1]), module(cells[:1]), atol=1e-5)
