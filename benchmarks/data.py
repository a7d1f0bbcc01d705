"""Reading, storing and feeding data: each figure with what it is compared to, in one run.

    python benchmarks/data.py [PART ...] [--av-digits DIR]

Parts: frames, waiting, building, memory, table, arrow (all when none is given). Media are made here: smooth
random pictures, as JPEG of 480 x 360. Written to ``benchmarks/results/data.json``, part by part.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from mla import HERE
from PIL import Image

from altuna.comparison.summary import environment
from altuna.data.dataset import MultimodalDataset, loader
from altuna.data.readers import READERS
from altuna.data.store.build import prepare_store
from altuna.data.table.manifest import Manifest, read_manifest
from altuna.encoders import build

RESULT = HERE / "results" / "data.json"
FRAMES, SIZE, CROP, BATCH = 3, 256, 224, 16
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
TRANSFORMS = {"random_resized_crop": {"size": CROP}}


def jpeg(seed: int, width: int = 480, height: int = 360) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def best_of(functions: dict[str, Callable[[], object]], rounds: int = 9) -> dict[str, float]:
    """Time functions in turn, several rounds; return each one's median seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def stored_frames(folder: Path, samples: int) -> MultimodalDataset:
    """Return clips whose frames are in a store, as a training has them."""
    data = [np.stack([np.asarray(Image.open(io.BytesIO(jpeg(i))))] * FRAMES) for i in range(16)]
    reader = READERS["video"](frames=FRAMES, size=SIZE)
    from altuna.data.store.arrays import CellStore

    store = CellStore(folder / "frames", reader.shape, reader.dtype)
    cells = [reader.read(clip) for clip in data]
    with store.writing() as writer:
        for i in range(samples):
            writer.add(i.to_bytes(16, "big"), np.roll(cells[i % 16], i, axis=1))
    labels = np.arange(samples) % 8
    return MultimodalDataset({"video": store.array()}, {"video": np.arange(samples)}, labels)


def frames() -> dict[str, float]:
    """Samples of 3 frames, random resized crop to 224, normalised, on one core, in batches of two sizes."""
    torch.set_num_threads(1)
    return {f"{k}_batch_{size}": value for size in (16, 64) for k, value in _frames(size).items()}


def _frames(size: int) -> dict[str, float]:
    files = [jpeg(i) for i in range(FRAMES * size)]
    random = np.random.default_rng(0)

    def one(file: bytes) -> torch.Tensor:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        area, stretch = 480 * 360 * random.uniform(0.25, 1), np.exp(random.uniform(-0.28, 0.28))
        w, h = min(480, round((area * stretch) ** 0.5)), min(360, round((area / stretch) ** 0.5))
        x, y = random.integers(0, 481 - w), random.integers(0, 361 - h)
        image = image.crop((x, y, x + w, y + h)).resize((CROP, CROP), Image.Resampling.BILINEAR)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (tensor - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)

    def usual() -> torch.Tensor:
        clips = [torch.stack([one(f) for f in files[i : i + FRAMES]]) for i in range(0, len(files), FRAMES)]
        return torch.stack(clips)

    with tempfile.TemporaryDirectory() as folder:
        dataset = stored_frames(Path(folder), 256)
        encoder = build("video", READERS["video"](frames=FRAMES, size=SIZE), transforms=TRANSFORMS).train()

        def ours() -> torch.Tensor:
            cells = dataset[random.permutation(256)[:size]].inputs["video"]
            return encoder.front_end(encoder.cell_transforms(cells))

        assert ours().shape == usual().shape
        seconds = best_of({"usual": usual, "altuna": ours})
    per_sample = {name: 1000 * value / size for name, value in seconds.items()}
    return {
        "usual_ms_a_sample": per_sample["usual"],
        "altuna_ms_a_sample": per_sample["altuna"],
        "times_as_fast": per_sample["usual"] / per_sample["altuna"],
    }


def waiting() -> dict[str, float]:
    """The share of a ResNet-18 training's time in which the loop waits for its next batch."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        dataset = stored_frames(Path(folder), 320)
        encoder = build("video", READERS["video"](frames=FRAMES, size=SIZE), transforms=TRANSFORMS).train()
        head = torch.nn.Linear(encoder.out_features, 8)
        optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], 0.01)
        batches = iter(loader(dataset, BATCH, 0, workers=1))
        waited = worked = 0.0
        for number in range(320 // BATCH):
            started = time.perf_counter()
            batch = next(batches)
            arrived = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                logits = head(encoder(batch.inputs["video"]))
            torch.nn.functional.cross_entropy(logits.float(), batch.labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            if number > 1:  # the first batches start the worker
                waited += arrived - started
                worked += time.perf_counter() - arrived
        del batches
    return {"waited_s": waited, "worked_s": worked, "share_waiting": waited / (waited + worked)}


def pictures(folder: Path, number: int) -> Path:
    """Write a manifest of JPEG files; 64 different ones, under many names."""
    files = [jpeg(i) for i in range(64)]
    rows = ["image,label,split"]
    for i in range(number):
        (folder / f"{i}.jpg").write_bytes(files[i % 64])
        rows.append(f"{i}.jpg,{'ab'[i % 2]},{('train', 'val', 'test')[max(0, i % 5 - 2)]}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


def building() -> dict[str, float]:
    """Building a store of pictures against decoding them with all cores and keeping nothing."""
    reader = READERS["image"](224)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = read_manifest(pictures(folder, 3000))
        paths = [folder / f"{i}.jpg" for i in range(3000)]

        def decode(path: Path) -> None:
            reader.read(path)

        def raw() -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for _ in pool.map(decode, paths):
                    pass

        rounds = iter(range(100))

        def store() -> None:
            prepare_store(manifest, "image", reader, folder / f"store{next(rounds)}")

        seconds = best_of({"raw": raw, "store": store}, rounds=3)
    return {
        "raw_cells_a_second": 3000 / seconds["raw"],
        "store_cells_a_second": 3000 / seconds["store"],
        "share_of_raw_speed": seconds["raw"] / seconds["store"],
    }


MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""


def peak(*arguments: str) -> float:
    """Return the peak resident memory of an ``altuna`` command, in MB."""
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "altuna", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def memory(av_digits: Path | None) -> dict[str, float]:
    """Peak resident memory of preparing and of training an epoch, in MB."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {"htad": ["htad"], "emoji": ["emoji"]}
        if av_digits:
            data["av-digits"] = ["av-digits", "--root", str(av_digits)]
        data["20,000 pictures of 224"] = [str(pictures(folder, 20_000))]
        for label, which in data.items():
            store = ["--store", str(folder / "store"), "--quiet"]
            found[f"{label}: cache"] = peak("cache", "--data", *which, *store)
            run = ["--epochs", "1", "--out", str(folder / f"run-{len(found)}")]
            if label.startswith("20,000"):  # a narrow network: what counts is the data that pass through it
                run += ["--set", "encoders.image.width=8"]
            found[f"{label}: fit"] = peak("fit", "--data", *which, *store, *run)
            print(label, found, flush=True)
    return found


def table() -> dict[str, float]:
    """Opening a manifest of a million rows of text and 16 numbers, by format."""
    rows = 1_000_000
    random = np.random.default_rng(0)
    words = np.array(["alpha", "beta, with a comma", "gamma", "delta", "épsilon"])
    columns: dict[str, object] = {
        "id": pa.array(np.arange(rows)).cast(pa.string()),
        "label": pa.array(words[:3][random.integers(0, 3, rows)]),
        "split": pa.array(np.array(["train", "val", "test"])[random.choice(3, rows, p=[0.6, 0.2, 0.2])]),
        "text": pa.array([" ".join(words[pick]) for pick in random.integers(0, 5, (rows, 6))]),
    }
    columns |= {f"x_{i}": random.normal(size=rows).astype(np.float32).round(4) for i in range(16)}
    whole = pa.table(columns)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pyarrow.csv.write_csv(whole, folder / "m.csv")
        pyarrow.parquet.write_table(whole, folder / "m.parquet")
        with (folder / "m.jsonl").open("w", encoding="utf-8") as file:
            for batch in whole.to_batches(10_000):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
        del whole, columns, batch
        for suffix in ("csv", "parquet", "jsonl"):
            gc.collect()
            objects = sys.getallocatedblocks()
            started = time.perf_counter()
            manifest = read_manifest(folder / f"m.{suffix}")
            found[f"{suffix}_seconds"] = time.perf_counter() - started
            found[f"{suffix}_python_objects_a_row"] = (sys.getallocatedblocks() - objects) / rows
            assert isinstance(manifest, Manifest)
            assert len(manifest) == rows
            del manifest
    return found


def arrow() -> dict[str, float]:
    """Gathering random batches of 64 pictures from a memory map, and from Hugging Face datasets (Arrow)."""
    import datasets

    from altuna.data.store.arrays import CellStore

    number, size = 4000, 96
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = np.random.default_rng(0).integers(0, 255, (number, size, size, 3), dtype=np.uint8)
        store = CellStore(folder / "map", pixels.shape[1:], np.uint8)

        def write_map() -> None:
            with store.writing() as writer:
                for i, one in enumerate(pixels):
                    writer.add(i.to_bytes(16, "big"), one)

        def write_arrow() -> None:
            features = datasets.Features({"x": datasets.Array3D((size, size, 3), "uint8")})
            given = datasets.Dataset.from_generator(
                lambda: ({"x": one} for one in pixels), features=features, cache_dir=str(folder / "c")
            )
            given.save_to_disk(str(folder / "arrow"))

        started = time.perf_counter()
        write_map()
        middle = time.perf_counter()
        write_arrow()
        wrote = {"map": middle - started, "arrow": time.perf_counter() - middle}
        mapped = store.array()
        table = datasets.load_from_disk(str(folder / "arrow")).with_format("torch")
        random = np.random.default_rng(1)

        def from_map() -> torch.Tensor:
            return torch.from_numpy(mapped[random.permutation(number)[:64]])

        def from_arrow() -> torch.Tensor:
            return torch.as_tensor(table[random.permutation(number)[:64].tolist()]["x"])

        assert from_map().shape == from_arrow().shape
        read = best_of({"map": from_map, "arrow": from_arrow})
    return {
        "map_ms_a_batch": 1000 * read["map"],
        "arrow_ms_a_batch": 1000 * read["arrow"],
        "map_times_as_fast": read["arrow"] / read["map"],
        "map_write_s": wrote["map"],
        "arrow_write_s": wrote["arrow"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = ("frames", "waiting", "building", "memory", "table", "arrow")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=parts)
    parser.add_argument("--av-digits", type=Path)
    arguments = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in arguments.parts:
        figures = memory(arguments.av_digits) if part == "memory" else globals()[part]()
        result[part] = {**figures, "environment": environment()}
        print(part, json.dumps(figures, indent=2), flush=True)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
