"""A run that tests of the demo share."""

import numpy as np
import pytest
from demo_data import LONG, NASTY
from media import picture, recording, tone
from PIL import Image

import altuna


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of pictures, sounds, texts and numbers, one of whose classes is HTML and one a long word."""
    folder, rng = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    lines = ["id,split,label,image,sound,title,acc_x,acc_y,acc_z"]
    for i in range(48):
        c, split = i % 2, ("train", "train", "val", "test")[i // 2 % 4]
        pixels = rng.integers(0, 50, (16, 16, 3)) + 150 * c
        (folder / f"{i}.png").write_bytes(picture(Image.fromarray(pixels.astype(np.uint8))))
        (folder / f"{i}.wav").write_bytes(recording(tone(0.2, 8000, 400 + 400 * c), 8000))
        label, word = (NASTY, "red apple") if c else (LONG, "green pear")
        lines.append(f"s{i},{split},{label},{i}.png,{i}.wav,{word} {i},{c},{rng.normal():.3f},{1 - c}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    small = {"width": 4}
    return altuna.fit(
        folder / "data.csv",
        method="late_fusion",
        epochs=2,
        batch_size=12,
        encoders={"image": small, "sound": small},
        out=folder / "run",
        quiet=True,
    )


@pytest.fixture(scope="session")
def predictor(run):
    return altuna.load(run, device="cpu")
