"""Audio: what was encoded is what is read, from every format, range and container."""

import numpy as np
import pytest
from media import CONTAINERS, loudest, npy, read_with_notes, recording, tone, tones, write_clip

from altuna.data.readers import READERS, BadCellError
from altuna.errors import UserError

AudioReader = READERS["audio"]
RATE = 16_000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", None),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", None),
}
RATES = (8000, 16_000, 22_050, 44_100, 48_000)
# Opus has no rates of its own for the sound of discs.
KINDS = [(k, r) for k in FORMATS for r in RATES if (k, r) not in {("opus", 22_050), ("opus", 44_100)}]
# Each for half a second of a recording.
STEPS = (300.0, 600.0, 900.0, 1200.0)


def loudness(wave):
    """The amplitude of a sine of int16, of 1."""
    return np.sqrt(2) * np.std(wave / 32768)


def noise(seconds, rate=RATE):
    """Noise: unlike a tone, its length in bytes is that of its sound."""
    return 0.1 * np.random.default_rng(0).normal(size=round(seconds * rate))


@pytest.fixture(scope="module", params=CONTAINERS)
def clip(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / f"clip.{request.param}"
    return write_clip(path, frames=20, fps=10, hertz=STEPS)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("kind", "rate"), KINDS)
def test_a_tone_keeps_its_frequency_loudness_and_length(kind, rate, channels, tmp_path):
    content = recording(np.stack([tone(1.0, rate, 1000.0)] * channels, axis=1), rate, *FORMATS[kind])
    notes = []
    wave = AudioReader(RATE, 2.0).read(content, notes.append)
    assert wave.shape == (2 * RATE,)
    assert wave.dtype == np.int16
    assert notes == []
    inner = wave[1000 : RATE - 1000]
    assert loudest(inner, RATE) == pytest.approx(1000, abs=2)
    assert loudness(inner) == pytest.approx(0.5, abs=0.02)
    # Silence follows; a codec may blur the end a little.
    assert np.flatnonzero(np.abs(wave) > 1000)[-1] == pytest.approx(RATE, abs=RATE // 50)
    assert not wave[RATE * 11 // 10 :].any()
    # A name says nothing about what is in a file.
    (tmp_path / "sound.bin").write_bytes(content)
    assert np.array_equal(AudioReader(RATE, 2.0).read(tmp_path / "sound.bin"), wave)
    assert np.array_equal(AudioReader(RATE, 2.0).read(f"{tmp_path}/sound.bin"), wave)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
def test_what_the_lower_rate_cannot_hold_is_filtered_out(rate):
    """Without a filter, 5 kHz would turn up as 3 kHz at a rate of 8 kHz."""
    high = AudioReader(8000, 1.0).read(recording(tone(1.0, 44_100, 5000.0), 44_100, "WAV", "FLOAT"))
    assert loudness(high[200:-200]) < 0.001
    low = AudioReader(rate, 1.0).read(recording(tone(1.0, 48_000, 3000.0), 48_000, "WAV", "FLOAT"))
    np.testing.assert_allclose(low[400:-400] / 32768, tone(1.0, rate, 3000.0)[400:-400], atol=0.001)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_sample_formats(subtype):
    wave = AudioReader(RATE, 0.5).read(recording(tone(0.5), RATE, "WAV", subtype))
    np.testing.assert_allclose(wave / 32768, tone(0.5), atol=0.02 if subtype == "ULAW" else 0.01)


@pytest.mark.parametrize("kind", FORMATS)
def test_channels_are_averaged(kind):
    left, right = tone(1.0, 48_000, 500.0), tone(1.0, 48_000, 2000.0)
    reader = AudioReader(48_000, 1.0)
    stereo = reader.read(recording(np.stack([left, 0.5 * right], axis=1), 48_000, *FORMATS[kind]))
    spectrum = np.abs(np.fft.rfft(stereo / 32768)) * 2 / 48_000
    assert spectrum[500] == pytest.approx(0.25, abs=0.01)
    assert spectrum[2000] == pytest.approx(0.125, abs=0.01)
    opposite = reader.read(recording(np.stack([left, -left], axis=1), 48_000, *FORMATS[kind]))
    assert loudness(opposite) < 0.01


def test_six_channels_are_averaged():
    six = np.stack([tone(0.5), *[np.zeros(RATE // 2)] * 5], axis=1)
    wave = AudioReader(RATE, 0.5).read(recording(six, RATE))
    np.testing.assert_allclose(wave / 32768, tone(0.5) / 6, atol=0.001)


def test_short_sounds_are_padded_and_long_ones_cut():
    reader = AudioReader(8000, 1.0)
    short = reader.read(recording(tone(0.25, 8000), 8000))
    assert short[:2000].any()
    assert not short[2000:].any()
    assert loudest(reader.read(recording(tones(3, 8000, STEPS[:3]), 8000)), 8000) == pytest.approx(300, abs=1)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_beyond_one_are_scaled(subtype):
    wave, notes = read_with_notes(recording(4 * tone(0.5), RATE, "WAV", subtype))
    np.testing.assert_allclose(wave, 2 * tone(0.5), atol=1e-4)
    assert notes == ["samples up to 2, beyond 1: scaled to 1"]
    wave, notes = read_with_notes(recording(32768 * tone(0.5), RATE, "WAV", subtype))
    np.testing.assert_allclose(wave, tone(0.5), atol=1e-4)
    assert notes == ["float32 samples up to 16384: read as whole numbers of 16 bits"]


def test_overshoot_of_a_codec_is_clipped_without_a_note():
    wave, notes = read_with_notes(recording(np.clip(3 * tone(0.5), -1, 1), RATE, "OGG", "VORBIS"))
    assert (notes, round(float(np.abs(wave).max()), 3)) == ([], 1)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_twentieth_of_a_second(kind):
    wave = AudioReader(RATE, 1.0).read(recording(tone(0.05, 44_100), 44_100, kind))
    assert loudest(wave[:800], RATE) == pytest.approx(440, abs=20)
    assert not wave[810:].any()


@pytest.mark.parametrize("kind", ["opus", "vorbis", "mp3"])
def test_a_twentieth_of_a_second_of_lossy_sound(kind):
    wave = AudioReader(RATE, 1.0).read(recording(tone(0.05, 48_000), 48_000, *FORMATS[kind]))
    assert loudness(wave[100:700]) > 0.2
    assert not wave[3000:].any()


@pytest.mark.parametrize("kind", FORMATS)
def test_no_samples(kind, capfd):
    content = recording(np.empty(0), RATE, *FORMATS[kind])
    with pytest.raises(BadCellError, match=r"no sound in it \(0 samples\)|broken"):
        AudioReader(RATE, 1.0).read(content)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers(bad):
    wave = tone(0.5).copy()
    wave[100] = bad
    with pytest.raises(BadCellError, match="NaN or infinite samples"):
        AudioReader(RATE, 1.0).read(recording(wave, RATE, "WAV", "FLOAT"))


@pytest.mark.parametrize(("fragment", "parts"), [
    ("#t=0.5,1", STEPS[1:2]),
    ("#t=0.5", STEPS[1:]),
    ("#t=1,2", STEPS[2:]),
    ("#t=,0.5", STEPS[:1]),
    ("#t=1.5,9", STEPS[3:]),
])  # fmt: skip
def test_a_range_of_seconds(clip, tmp_path, fragment, parts):
    """A recording whose frequency changes every half second says where a range begins and ends."""
    sounds = [clip]
    for kind in FORMATS:
        sounds.append(tmp_path / f"sound.{kind}")
        sounds[-1].write_bytes(recording(tones(2.0, 48_000, STEPS), 48_000, *FORMATS[kind]))
    for path in sounds:
        notes = []
        wave = AudioReader(RATE, 2.0).read(f"{path}{fragment}", notes.append)
        for i, hertz in enumerate(parts):
            # MP3 in AVI and FLV comes with the silence that its encoder put before it.
            inner = wave[i * 8000 + 800 : (i + 1) * 8000 - 800]
            assert loudest(inner, RATE) == pytest.approx(hertz, abs=2), path.name
            assert loudness(inner) == pytest.approx(0.5, abs=0.05), path.name
        # A codec may hold less than was asked for, never more.
        assert not wave[len(parts) * 8000 + 800 :].any(), path.name
        assert notes == [], path.name


@pytest.mark.parametrize("fragment", ["#t=5", "#t=5,6"])
def test_a_range_after_the_end(clip, tmp_path, fragment):
    (tmp_path / "s.wav").write_bytes(recording(tone(2.0), RATE))
    for path in (clip, tmp_path / "s.wav"):
        with pytest.raises(BadCellError, match="the range starts at 5 s, after the end at"):
            AudioReader(RATE, 1.0).read(f"{path}{fragment}")


@pytest.mark.parametrize("fragment", ["#t=1.2.3", "#t=.", "#t=0,1.5."])
def test_a_range_of_what_is_no_number(fragment):
    with pytest.raises(BadCellError, match=r"the range #t=.* is not valid: write #t=START,END in seconds"):
        AudioReader(RATE, 1.0).read(f"call.wav{fragment}")


def test_an_empty_range():
    with pytest.raises(BadCellError, match="the range #t=2,1 is empty"):
        AudioReader(RATE, 1.0).read("call.wav#t=2,1")


def test_the_sound_of_a_clip(clip):
    notes = []
    wave = AudioReader(RATE, 3.0).read(clip, notes.append)
    assert notes == []
    for i, hertz in enumerate(STEPS):
        inner = wave[i * 8000 + 800 : (i + 1) * 8000 - 800]
        assert loudest(inner, RATE) == pytest.approx(hertz, abs=2)
        assert loudness(inner) == pytest.approx(0.5, abs=0.05)
    assert not wave[RATE * 22 // 10 :].any()
    assert np.array_equal(AudioReader(RATE, 3.0).read(clip.read_bytes()), wave)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_clip_without_sound(kind, tmp_path):
    path = write_clip(tmp_path / f"clip.{kind}", sound=False)
    for cell in (path, path.read_bytes()):
        with pytest.raises(BadCellError, match="has no sound track"):
            AudioReader(RATE, 1.0).read(cell)


def cut_short(content, tmp_path, capfd, parts=(0.2, 0.5, 0.8), whole=3.0):
    """Read the first part of a recording: it is refused, or read with a note."""
    AudioReader(RATE, whole).read(content)
    for part in parts:
        (tmp_path / "cut").write_bytes(content[: int(part * len(content))])
        for cell in (tmp_path / "cut", content[: int(part * len(content))]):
            notes = []
            try:
                wave = AudioReader(RATE, whole).read(cell, notes.append)
            except BadCellError as error:
                notes.append(str(error))
            else:
                assert np.flatnonzero(wave)[-1] < (part + 0.1) * whole * RATE
            assert any(word in notes[0] for word in ("cut short", "truncated", "broken")), part
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_recording_cut_short(kind, channels, tmp_path, capfd):
    wave = np.stack([noise(3.0)] * channels, axis=1)
    cut_short(recording(wave, RATE, *FORMATS[kind]), tmp_path, capfd)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_clip_cut_short(kind, tmp_path, capfd):
    path = write_clip(tmp_path / f"clip.{kind}", frames=30)
    # Without its index, an AVI is taken to be as long as the file is large.
    cut_short(path.read_bytes(), tmp_path, capfd, (0.2, 0.5) if kind == "avi" else (0.2, 0.5, 0.8))


def test_a_wav_cut_short_says_how_much_is_there():
    with pytest.raises(BadCellError, match="truncated, 3956 of 16000 bytes"):
        AudioReader(RATE, 1.0).read(recording(tone(0.5), RATE)[:4000])


def test_a_streamed_wav_is_whole():
    data = bytearray(recording(tone(0.5), RATE))
    for place in (4, data.index(b"data") + 4):  # sizes unknown when the header was written
        data[place : place + 4] = b"\xff\xff\xff\xff"
    notes = []
    wave = AudioReader(RATE, 0.5).read(bytes(data), notes.append)
    np.testing.assert_allclose(wave / 32768, tone(0.5), atol=0.001)
    assert notes == []


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_an_ogg_with_something_after_it_is_whole(kind):
    notes = []
    AudioReader(RATE, 1.0).read(recording(noise(1.0), RATE, *FORMATS[kind]) + bytes(99), notes.append)
    assert notes == []


def test_an_mp3_with_tags_is_found():
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
    wave = AudioReader(RATE, 1.0).read(tag + recording(tone(1.0, 44_100), 44_100, "MP3"))
    assert loudest(wave[1000:-1000], RATE) == pytest.approx(440, abs=2)


def test_settings_follow_the_data(tmp_path):
    cells = [recording(tone(0.3, 44_100), 44_100)] * 2
    assert AudioReader.fit([b"broken", *cells]) == AudioReader(RATE, 0.3)
    assert AudioReader.fit([recording(tone(12, 8000), 8000)]) == AudioReader(8000, 10.0)
    assert AudioReader.fit(cells, rate=4000, seconds=2.0) == AudioReader(4000, 2.0)
    # The median rate, at most 16 kHz, and all but the longest twentieth whole.
    mixed = [recording(tone(i / 10, rate), rate) for i, rate in enumerate([8000] * 11 + [22_050] * 10)]
    assert AudioReader.fit(mixed) == AudioReader(8000, 1.9)
    assert AudioReader.fit([recording(tone(0.01), RATE)]).seconds == 0.1
    assert AudioReader.fit([]) == AudioReader(RATE, 1.0)
    clip = write_clip(tmp_path / "clip.avi", frames=20)
    assert AudioReader.fit([clip]) == AudioReader(RATE, pytest.approx(2.0, abs=0.1))
    assert AudioReader.fit([f"{clip}#t=0.5,1"]).rate == RATE


def test_a_range_is_as_long_as_it_says(tmp_path):
    """What is prepared holds the ranges, not the recordings that they are cut from."""
    (tmp_path / "long.wav").write_bytes(recording(tone(9.0), RATE))
    write_clip(tmp_path / "long.mp4", frames=90)
    for name in ("long.wav", "long.mp4"):
        ranges = [f"{tmp_path / name}#t={i},{i + 2}" for i in range(4)]
        assert AudioReader.fit(ranges).seconds == pytest.approx(2.0, abs=0.01)
        assert AudioReader.fit([f"{tmp_path / name}#t=8"]).seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "options", [{"rate": 0}, {"seconds": -1.0}, {"seconds": float("nan")}, {"seconds": float("inf")}]
)
def test_options_out_of_range(options):
    with pytest.raises(UserError, match="must be more than 0"):
        AudioReader.fit([], **options)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (b"hello", "not a sound that FFmpeg can read"),
        (npy(1, 2), "not a sound that FFmpeg can read"),
        (np.zeros(5), "not a sound but ndarray"),
        (5, "not a sound but int"),
        (None, "not a sound but NoneType"),
    ],
)
def test_what_is_no_sound(cell, words):
    with pytest.raises(BadCellError, match=words):
        AudioReader(RATE, 1.0).read(cell)
