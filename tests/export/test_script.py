"""The script of an export reads cells as the readers do, without altuna."""

import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from exports import needs_onnx
from media import picture, recording, tokenizer, tone
from PIL import Image

from altuna.data.readers import READERS, BadCellError
from altuna.data.readers.text import TextReader
from altuna.demo.answer import numbers
from altuna.errors import UserError
from altuna.export import export as exporting

READ = runpy.run_path(str(Path(exporting.__file__).parent / "scripts" / "readers.py"))["READERS"]


def example_of(reader):
    """How the shipped script reads what a reader does."""
    return READ[reader.name]


def test_the_scripts_import_no_altuna():
    for path in (Path(exporting.__file__).parent / "scripts").glob("*.py"):
        assert "altuna" not in path.read_text()


@needs_onnx
def test_the_script_reads_as_the_readers_do(tmp_path):
    text = TextReader.fit(["Ein größerer Baum, 2 Äpfel", "red-green ½"])
    for cell in ("RED Baum!?", "½ apples", "xyz", "größer " * 40):
        array = text.read(cell)
        assert [*example_of(text)(cell, **text.settings())] == [*array[array > 0]]
    tokens = READERS["tokens"](tokenizer(), 3)
    names = example_of(tokens)
    (tmp_path / "t.json").write_text(tokens.tokenizer)
    for cell in ("a few words", "words", "a few few few words"):
        array = tokens.read(cell)
        assert [*names(cell, tmp_path / "t.json", 3)] == [*array[array > 0]]
    image = READERS["image"](size=8)
    rng = np.random.default_rng(0)
    for mode, bands in (("RGB", 3), ("RGBA", 4), ("LA", 2), ("I;16", 1)):
        pixels = rng.integers(0, 256, (20, 13, bands), dtype=np.uint8)
        if mode == "I;16":
            pixels = pixels[:, :, 0].astype(np.uint16) * 257
        Image.fromarray(pixels, mode).save(tmp_path / "p.png")
        assert (
            np.abs(
                example_of(image)(tmp_path / "p.png", 8).astype(int) - image.read(tmp_path / "p.png")
            ).max()
            <= 1
        )
    audio = READERS["audio"](8000, 0.25)
    read = example_of(audio)
    for seconds in (0.1, 0.5):
        (tmp_path / "s.wav").write_bytes(recording(np.stack([tone(seconds, 8000)] * 2, 1), 8000))
        assert np.array_equal(read(tmp_path / "s.wav", 8000, 0.25), audio.read(tmp_path / "s.wav"))
    loud, late = np.full(3000, 2.0), np.where(np.arange(3000) > 2000, np.nan, 0.1)
    for wave in (loud, late, 300 * tone(0.2, 8000), 2e9 * tone(0.2, 8000)):
        soundfile.write(tmp_path / "f.wav", wave, 8000, "FLOAT")
        assert np.array_equal(read(tmp_path / "f.wav", 8000, 0.25), audio.read(tmp_path / "f.wav"))
    huge = np.array([[3e38, 3e38], [3e38, -3e38]])
    for wave in (np.zeros(0), late[::-1], huge):
        soundfile.write(tmp_path / "f.wav", wave, 8000, "FLOAT")
        with pytest.raises(BadCellError) as mine:
            audio.read(tmp_path / "f.wav")
        with pytest.raises(ValueError, match=f"^{re.escape(str(mine.value))}$"):
            read(tmp_path / "f.wav", 8000, 0.25)


@pytest.mark.parametrize("cell", ["1", 1, 1.0, True, "TRUE", " 1.0", "2.5", 2.5, "red", "pink", None])
def test_the_script_takes_categories_as_the_reader_does(cell):
    reader = READERS["tabular"]((("age", 0.0),), (), (("code", ("1", "2.5", "red")),))
    given = {"age": 3, "code": cell}
    found = example_of(reader)(json.dumps(given), **reader.settings())
    assert np.array_equal(found, reader.read(given), equal_nan=True)


@pytest.mark.parametrize("cell", [["red"], {"a": 1}])
def test_the_script_takes_no_lists_in_a_table(cell):
    reader = READERS["tabular"]((("age", 0.0),), (), (("code", ("1", "2.5", "red")),))
    with pytest.raises(ValueError, match=r"column 'code': .* is not a single value"):
        example_of(reader)(json.dumps({"code": cell}), **reader.settings())


@pytest.mark.parametrize(
    "typed",
    [
        *("1,2", "1 2", " 1 ,\t2 ", "1\t-2e3", ",2", "1 ,", "1_0,2"),
        *("nan,1", "1 nan", ",nan", "1,inf", "1e39,1", "1", "1,2,3", "1,2,", "1 2 3", ",", "1;2", "1,two"),
    ],
)
def test_the_script_takes_the_numbers_that_the_model_does(typed):
    def taken(read):
        try:
            return read().tolist()
        except (UserError, BadCellError, ValueError):
            return None

    reader = READERS["vector"](2)
    wanted = taken(lambda: reader.read(numbers("acc", typed)))
    assert str(taken(lambda: example_of(reader)(typed, 2))) == str(wanted)


def test_mistakes_at_the_script_are_a_line(tmp_path, example, monkeypatch):
    (tmp_path / "broken.png").write_bytes(picture(Image.effect_noise((30, 30), 50))[:-200])
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "fast.wav").write_bytes(recording(tone(0.1, 16000), 16000))
    readers = {"photo": READERS["image"](8), "call": READERS["audio"](8000, 0.2), "acc": READERS["vector"](2)}
    readers |= {"clip": READERS["video"](1, 8), "note": READERS["tokens"](tokenizer(), 3)}
    np.save(tmp_path / "clip.npy", np.zeros((1, 8, 8, 3)))
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    modalities = [
        {"name": n, "file": f"{n}.pt2", "features": 4, "reader": {"name": r.name, **r.settings()}}
        for n, r in readers.items()
    ]
    modalities[-1]["reader"]["tokenizer"] = "note.tokenizer.json"
    content = {
        "format": "torch-export",
        "modalities": modalities,
        "classes": ["a", "b"],
        "fusion": {"file": "fusion.pt2"},
    }
    (tmp_path / "export.json").write_text(json.dumps(content))
    for path in (Path(exporting.__file__).parent / "scripts").glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    known = "photo, call, acc, clip, note"
    for arguments, said in (
        ((), f"give one or more of {known}, as in NAME=VALUE"),
        (("image=a.png",), f"image=a.png: write NAME=VALUE, NAME one of {known}"),
        (("photo=a.png", "photo=b.png"), "photo=b.png: photo is given twice"),
        (("acc",), "acc=: write NAME=VALUE"),
        (("acc= ",), "acc= : write NAME=VALUE"),
        (("photo=none.png",), "photo=none.png: No such file or directory"),
        (("acc=1,2", "photo=broken.png"), "photo=broken.png: image file is truncated"),
        (("photo=broken.wav",), "photo=broken.wav: cannot identify image file"),
        (("call=gone.wav",), "call=gone.wav: No such file or directory"),
        (("call=none.wav",), "call=none.wav: no sound in it (0 samples)"),
        (("call=broken.wav",), "call=broken.wav: Error opening"),
        (("call=fast.wav",), "call=fast.wav: has 16000 samples a second; resample it to 8000 first"),
        (("acc=1,two",), "acc=1,two: could not convert string to float: 'two'"),
        (("acc=1,2,3",), "acc=1,2,3: give 2 finite numbers, with commas or blanks between"),
        (("acc=1,-inf",), "acc=1,-inf: give 2 finite numbers"),
        (("acc=1e39,1",), "acc=1e39,1: give 2 finite numbers"),
        (("acc=nan,1",), "acc=nan,1: give 2 finite numbers"),
        (("acc=,",), "acc=,: all its numbers are empty"),
        (("clip=clip.npy",), "clip=clip.npy: must be uint8, is float64"),
        (("note=words",), "note=words: note.tokenizer.json: no such file in "),
    ):
        code, _, error = example(tmp_path, *arguments)
        assert code == 2
        assert error.startswith(f"example.py: {said}")
        assert error.count("\n") == 1
