"""What do batches cost straight from shards, against a prepared store, and does memory grow with the rows?

    python benchmarks/streaming.py [--rows 20000 100000]

Rows have a PNG of 48 x 48 (a smooth random picture) and 16 numbers, in shards of 5,000 rows. Each figure is
of a process of its own, which makes the batches of an epoch and trains nothing: ``stream`` (read and decoded
anew in each epoch, by one thread and by two), ``store, first`` (the store is made, then the epoch), ``store,
later``. ``peak_mb`` is the process's peak, by Linux' count, and ``before_mb`` what it held when the manifest
was read, which for a store is all rows, pictures included. Written to ``benchmarks/results/streaming.json``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from mla import HERE
from PIL import Image

from altuna.comparison.summary import environment
from altuna.data.dataset import loader
from altuna.data.fit_readers import fit_readers
from altuna.data.samples import prepare_stores, samples_at
from altuna.data.stream.batches import Stream
from altuna.data.table.manifest import read_manifest
from altuna.hardware import reset_peak_memory

SHARD, SIZE, BATCH, BUFFER = 5000, 48, 64, 4096
CLASSES = ("0", "1", "2", "3")
MODES = ("stream, 1 thread", "stream, 2 threads", "store, first", "store, later")


def png(random: np.random.Generator) -> bytes:
    pixels = random.integers(256, size=(6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def write(path: Path, rows: int, seed: int) -> None:
    """Write a table of rows."""
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "picture": [{"bytes": png(random), "path": None} for _ in range(rows)],
        "label": [CLASSES[i % 4] for i in range(rows)],
    }
    columns |= {f"x_{i}": random.normal(size=rows).astype(np.float32) for i in range(16)}
    pa.parquet.write_table(pa.table(columns), path, row_group_size=1000)


def peak() -> float:
    """Return this process's peak in MB; ``ru_maxrss`` would count what started it too."""
    (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def measure(mode: str, folder: Path, rows: int) -> dict[str, float]:
    """Return rows per second and the process's memory, in MB, before the epoch and at its peak."""
    streams = mode.startswith("stream")
    manifest = read_manifest(folder / ("some.parquet" if streams else f"{rows}.parquet"))
    readers = fit_readers(manifest, np.arange(200), {"picture": {"size": SIZE}})
    store = folder / f"store-{rows}"
    reset_peak_memory()
    before, started, seen = peak(), time.perf_counter(), 0
    if streams:
        pattern = str(folder / f"{rows}-*.parquet")
        batches = Stream(pattern, manifest, readers, CLASSES, batch_size=BATCH, seed=0, buffer=BUFFER)
        batches.workers = int(mode.split()[1])
    else:
        stores = prepare_stores(manifest, readers, store)
        samples = samples_at(np.arange(rows), stores, np.zeros(rows, np.int64))
        batches = loader(samples.dataset, BATCH, 0)
    for batch in batches:
        seen += len(batch)
    seconds = time.perf_counter() - started
    assert seen == rows
    return {"rows_per_second": round(rows / seconds), "before_mb": round(before), "peak_mb": round(peak())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument(
        "--one", nargs=3, metavar=("MODE", "FOLDER", "ROWS"), help="One figure, in this process"
    )
    arguments = parser.parse_args()
    if arguments.one:
        mode, folder, rows = arguments.one
        print(json.dumps(measure(mode, Path(folder), int(rows))))
        return
    result: dict[str, object] = {"batch": BATCH, "buffer": BUFFER, "picture": SIZE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "some.parquet", 200, 10**6)
        for rows in arguments.rows:
            starts = range(0, rows, SHARD)
            shards = [folder / f"{rows}-{i:03}.parquet" for i in range(len(starts))]
            for i, (start, path) in enumerate(zip(starts, shards, strict=True)):
                write(path, min(SHARD, rows - start), i)
            whole = pa.concat_tables(pa.parquet.read_table(path) for path in shards)
            pa.parquet.write_table(whole, folder / f"{rows}.parquet")
            del whole
            for mode in MODES:
                command = [sys.executable, __file__, "--one", mode, name, str(rows)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                result[f"{rows:,} rows: {mode}"] = json.loads(done.stdout)
                print(rows, mode, done.stdout, flush=True)
    result |= {"load_average": os.getloadavg(), "environment": environment()}
    (HERE / "results" / "streaming.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
