"""How long CREMA-D takes from the raw release to a store: generated clips, extrapolated to its 7,442.

    python benchmarks/recipes.py [--clips 500] [--threads 2]

Clips are as the release's: 2.5 s of 480 x 360 at 30 frames a second in FLV, with 16 kHz WAV beside them.
Written to ``benchmarks/results/recipes.json`` from 500 clips on; fewer are a check that the script runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import soundfile
from mla import HERE
from PIL import Image

from altuna.comparison.summary import environment
from altuna.data.readers import READERS
from altuna.data.store.build import prepare_store
from altuna.data.table.manifest import read_manifest
from altuna.recipes.prepare import prepare as prepare_by_name

RESULT = HERE / "results" / "recipes.json"
CLIPS, SECONDS, RATE, DIFFERENT = 7442, 2.5, 30, 8
EMOTIONS, SENTENCES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"), ("DFA", "ITH", "TIE", "WSI")
# As in the paper's recipe: 3 frames, cropped to 224 later; 5 s of sound.
READ = {"video": READERS["video"](frames=3, size=256), "audio": READERS["audio"](rate=16000, seconds=5.0)}


def write_clip(path: Path, seed: int) -> None:
    """Write a clip whose picture is smooth and moves."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (36, 60, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((600, 360), Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as container:
        video = container.add_stream("flv1", rate=RATE)
        video.width, video.height, video.pix_fmt, video.bit_rate = 480, 360, "yuv420p", 600_000
        for i in range(int(SECONDS * RATE)):
            image = np.ascontiguousarray(large[:, i : i + 480])
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())


def write_release(root: Path, clips: int) -> None:
    """Write a release of a number of clips, of which every eighth is the same."""
    for folder in ("VideoFlash", "AudioWAV"):
        (root / folder).mkdir(parents=True)
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, int(SECONDS * 16000))
    for i in range(clips):
        emotion, sentence = EMOTIONS[i % 6], SENTENCES[i // 6 % 4]
        clip = root / "VideoFlash" / f"{1001 + i // 24}_{sentence}_{emotion}_XX.flv"
        if i < DIFFERENT:
            write_clip(clip, i)
            first = [*(root / "VideoFlash").iterdir()]
        else:
            shutil.copy(first[i % len(first)], clip)
        soundfile.write(root / "AudioWAV" / f"{clip.stem}.wav", wave, 16000, subtype="PCM_16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {*sorted(os.sched_getaffinity(0))[: options.threads]})
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "release", Path(folder) / "m.csv"
        write_release(root, options.clips)
        started = time.perf_counter()
        report = prepare_by_name("cremad", root, out)
        seconds["prepare"] = time.perf_counter() - started
        assert sum(report.counts.values()) == options.clips, report.problems
        manifest = read_manifest(out)
        for name, reader in READ.items():
            started = time.perf_counter()
            store = prepare_store(manifest, name, reader, Path(folder) / "store")
            seconds[name] = time.perf_counter() - started
            assert (store.position >= 0).all(), store.problems[:3]
    whole = {name: value * CLIPS / options.clips / 60 for name, value in seconds.items()}
    result = {
        "clips": options.clips,
        "threads": options.threads,
        "seconds": seconds,
        "minutes_for_7442": {**whole, "all": sum(whole.values())},
        "environment": environment(),
    }
    print(json.dumps(result, indent=2))
    if options.clips >= 500:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
