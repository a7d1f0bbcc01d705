"""Sound given in Python as a waveform with its rate: any scale, either axis, or refused."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from media import read_with_notes, recording, tone

from altuna.data.readers import READERS, BadCellError

AudioReader = READERS["audio"]
RATE = 16_000


def test_a_waveform_with_its_rate():
    reader = AudioReader(RATE, 0.5)
    expected = reader.read(recording(tone(0.5), RATE, "WAV", "FLOAT"))
    stereo = np.stack([tone(0.5), tone(0.5)], axis=1)
    for samples in (tone(0.5), tone(0.5).astype(np.float32), tone(0.5).tolist(), stereo):
        assert np.array_equal(reader.read((samples, RATE)), expected)
    for bits in (16, 32):
        samples = np.round(tone(0.5) * 2.0 ** (bits - 1)).astype(f"int{bits}")
        np.testing.assert_allclose(reader.read((samples, np.int64(RATE))), expected, atol=1)
    assert np.array_equal(
        reader.read((tone(0.5, 44_100), 44_100)),
        reader.read(recording(tone(0.5, 44_100), 44_100, "WAV", "FLOAT")),
    )


@pytest.mark.parametrize(
    "cell",
    [
        *((tone(0.1), rate) for rate in (None, 0, -5, 1.5, "16000")),
        *((samples, RATE) for samples in (None, "x", [[1.0], [1.0, 2.0]], np.zeros((2, 2, 2)), [{}])),
        (),
        (tone(0.1),),
        (tone(0.1), RATE, 1),
    ],
)
def test_what_is_no_waveform_with_its_rate(cell):
    with pytest.raises(BadCellError, match="samples"):
        AudioReader(RATE, 1.0).read(cell)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_the_longer_axis_of_a_waveform_is_time(channels):
    """soundfile gives [n, channels], torchaudio [channels, n]."""
    wave = np.stack([tone(0.5), *[np.zeros(RATE // 2)] * (channels - 1)])
    for samples in (wave, wave.T):
        found, notes = read_with_notes((samples, RATE))
        np.testing.assert_allclose(found, tone(0.5) / channels, atol=1e-4)
        assert notes == []
    loud = np.stack([tone(2.0), np.zeros(2 * RATE)])
    np.testing.assert_allclose(read_with_notes((loud, RATE))[0], tone(0.5) / 2, atol=1e-4)  # its first part


def test_an_array_that_may_be_a_spectrogram_is_refused():
    with pytest.raises(BadCellError, match=r"at most 8 channels, got float64 \[40, 300\] at a rate of 16000"):
        AudioReader(RATE, 1.0).read((np.zeros((40, 300)), RATE))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32, np.float64, list])
@pytest.mark.parametrize("bits", [16, 32])
def test_whole_numbers_in_a_wider_type(kind, bits):
    """Their scale is found by the loudest sample, also where it is beyond what is read."""
    whole = np.round(tone(1.0) * 2.0 ** (bits - 1)).astype(np.int64)
    whole[: RATE // 2] //= 1000
    for first in (0, RATE // 2):
        cell = whole[first:].tolist() if kind is list else whole[first:].astype(kind)
        found, notes = read_with_notes((cell, RATE))
        expected = tone(1.0)[first : first + RATE // 2] / (1 if first else 1000)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        right = kind is np.int32 and bits == 32
        assert len(notes) == (0 if right else 1)
        assert right or f"read as whole numbers of {bits} bits" in notes[0]


@pytest.mark.parametrize("peak", [2**40, 1e20])
def test_samples_without_a_scale_are_refused(peak):
    with pytest.raises(BadCellError, match="samples must be of at most 32 bits, or floats from -1 to 1"):
        AudioReader(RATE, 1.0).read((np.array([0, peak] * 50), RATE))


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (np.zeros(500), ["is silent"]),
        (np.full(500, 0.25), ["is constant"]),
        (np.sign(tone(0.5)), ["of its samples are clipped"]),
        (np.concatenate([np.zeros(500), tone(0.1)]), []),
        (0.001 * tone(0.5), []),
    ],
)
def test_sounds_with_nothing_in_them_have_a_note(wave, words):
    for cell in ((wave, RATE), recording(wave, RATE, "WAV", "PCM_24")):
        notes = read_with_notes(cell)[1]
        assert len(notes) == len(words)
        assert all(word in note for word, note in zip(words, notes, strict=True))


CASE = Path(__file__).parents[4] / "shared" / "cases" / "sound-arrays" / "check.py"


@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not there")
def test_the_shared_case_of_sound_arrays(capsys):
    runpy.run_path(str(CASE))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all("rms 0.283" in line and "clipped 0%" in line for line in lines)


@pytest.mark.parametrize("samples", [[], np.empty((0, 2)), np.empty((9, 0))])
def test_an_empty_waveform(samples):
    with pytest.raises(BadCellError, match="0 samples"):
        AudioReader(RATE, 1.0).read((samples, RATE))
