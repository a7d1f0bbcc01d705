"""What has to be known of altuna on a machine with a GPU, in under 20 minutes: one command, one JSON.

    python benchmarks/gpu.py [--results gpu.json] [--checks steps feed ...]

- ``steps``: MLA's step on a ResNet and a ViT pair, batch 64, in bf16, compiled and not, beside a bare loop;
- ``feed``: batches from a prepared store to the device;
- ``nccl``: collectives in one process;
- ``resume``: a training that is interrupted and resumed has the weights of one that is not;
- ``evaluation``: rows a second through encoders, fusion and metrics;
- ``recipe``: an epoch of the paper's CREMA-D recipe at full size, on generated pictures and sounds;
- ``tests``: those marked ``gpu``.

Each check runs alone, in a process of its own that has its share of the time. A check that fails is written
down with its last lines, and the others go on. Without a GPU it says so and ends with 0; ``--tiny`` then
exercises the same code on the CPU at a small size, which the tests do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paper
import torch
from step import PAIRS, clock, race
from torch import distributed

import altuna
from altuna.comparison.summary import environment
from altuna.core.collectives import all_gather_object, average
from altuna.data.dataset import MultimodalDataset, loader
from altuna.methods.mla import MLA
from altuna.training.loop import Loop

HERE = Path(__file__).parent
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def steps(tiny: bool) -> dict[str, Any]:
    """Return the seconds of a step in altuna's loop and in a bare one."""
    if tiny:
        return {"mlp": race(PAIRS["mlp"], 6, False)}
    return {
        name + "-compiled" * compiled: race(PAIRS[name], 20, compiled)
        for name in ("resnet18-64", "vit-64")
        for compiled in (False, True)
    }


def pictures(rows: int, size: int) -> MultimodalDataset:
    """Return samples with a picture and a vector each, as a store has them."""
    draws = np.random.default_rng(0)
    arrays = {
        "image": draws.integers(0, 255, (rows, 3, size, size), dtype=np.uint8),
        "numbers": draws.normal(size=(rows, 16)).astype(np.float32),
    }
    return MultimodalDataset(arrays, dict.fromkeys(arrays, np.arange(rows)), draws.integers(0, 6, rows))


def feed(tiny: bool) -> dict[str, Any]:
    """Return the samples a second that come from a store to the device."""
    rows, size, workers = (32, 8, 0) if tiny else (4096, 224, 4)
    batches = loader(pictures(rows, size), 64, 0, workers, DEVICE)
    start = clock()
    for batch in batches:
        batch.to(DEVICE, non_blocking=DEVICE.type == "cuda")
    return {"rows": rows, "size": size, "workers": workers, "samples_per_second": rows / (clock() - start)}


def nccl(tiny: bool) -> dict[str, Any]:
    """Return what collectives give in a group of one process."""
    with tempfile.TemporaryDirectory() as folder:
        backend = "cpu:gloo,cuda:nccl" if DEVICE.type == "cuda" else "gloo"
        distributed.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        ones = torch.ones(8 if tiny else 2**24, device=DEVICE)
        start = clock()
        distributed.all_reduce(ones)
        seconds = clock() - start
        average([ones])
        found = {"backend": backend, "sum": float(ones.mean()), "objects": all_gather_object({"rank": 0})}
        distributed.destroy_process_group()
    assert found["sum"] == 1.0, found
    return {**found, "seconds": seconds}


def table(folder: Path, rows: int) -> Path:
    """Write a table of two modalities of numbers, and return its path."""
    draws = np.random.default_rng(0)
    names = [f"{modality}_{i}" for modality in ("a", "b") for i in range(8)]
    lines = [",".join(["id", "label", *names])]
    for row in range(rows):
        values = draws.normal(row % 3, 1, len(names)).round(3)
        lines.append(",".join([str(row), f"class {row % 3}", *map(str, values)]))
    path = folder / "table.csv"
    path.write_text("\n".join(lines))
    return path


def resume(tiny: bool) -> dict[str, Any]:
    """Return the largest difference of weights between a resumed training and one that was not stopped."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = table(folder, 120 if tiny else 3000)
        common: dict[str, Any] = {"epochs": 3, "seed": 1, "quiet": True, "report": False, "logger": "none"}
        whole = altuna.fit(data, out=folder / "whole", **common)
        train_batch, taken = Loop.train_batch, []

        def interrupted(loop: Loop, batch: Any) -> None:
            taken.append(None)
            if len(taken) == 5:
                raise KeyboardInterrupt
            train_batch(loop, batch)

        common |= {"out": folder / "broken", "checkpoint_every": 1, "batch_size": 64}
        Loop.train_batch = interrupted  # type: ignore[method-assign]
        try:
            altuna.fit(data, **common)
        except KeyboardInterrupt:
            Loop.train_batch = train_batch  # type: ignore[method-assign]
        broken = altuna.fit(data, resume=True, **common)
        one, two = (load_file(run / "model.safetensors") for run in (whole, broken))
    return {"largest_difference": max(float((one[k] - two[k]).abs().max()) for k in one)}


def evaluation(tiny: bool) -> dict[str, Any]:
    """Return the rows a second that a validation pass takes: encoders, calibration, fusion, metrics."""
    rows, size = (32, 8) if tiny else (4096, 64)
    encoders = {
        "image": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * size * size, 64)),
        "numbers": torch.nn.Linear(16, 64),
    }
    data = pictures(rows, size)
    data.arrays["image"] = data.arrays["image"].astype(np.float32)
    loop = Loop(MLA(altuna.MultimodalClassifier(encoders, 6)), device=DEVICE)
    batches = [batch.to(DEVICE) for batch in loader(data, 64)]
    loop.validate(batches)
    start = clock()
    loop.validate(batches)
    return {"rows": rows, "rows_per_second": rows / (clock() - start)}


def recipe(tiny: bool) -> dict[str, Any]:
    """Return what an epoch of the paper's CREMA-D recipe costs, from generated files to metrics.json."""
    if tiny:  # the recipe's own tests train it on the CPU
        return {"step": race(PAIRS["mlp"], 4, False)["seconds"]["altuna"]}
    return paper.measure("cremad", torch.get_num_threads())


def tests(tiny: bool) -> dict[str, Any]:
    """Return what pytest says of the tests marked ``gpu``."""
    if tiny:
        return {"summary": "not run"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(HERE.parent / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    return {"exit_code": done.returncode, "summary": done.stdout.splitlines()[-1:]}


# Name to the check, and the seconds that it may take: 20 minutes in all.
CHECKS: dict[str, tuple[Callable[[bool], dict[str, Any]], int]] = {
    "steps": (steps, 480),
    "feed": (feed, 120),
    "nccl": (nccl, 60),
    "resume": (resume, 120),
    "evaluation": (evaluation, 60),
    "recipe": (recipe, 120),
    "tests": (tests, 240),
}


def run_check(name: str, tiny: bool) -> dict[str, Any]:
    """Return what a check found, in a process of its own, or why it failed."""
    command = [sys.executable, __file__, "--one", name, *["--tiny"] * tiny]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECKS[name][1])
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        error = "" if found else "\n".join(done.stderr.splitlines()[-15:])
    except subprocess.TimeoutExpired as late:
        found, error = {}, f"not done after {late.timeout} seconds"
    return {**found, **({"error": error} if error else {}), "wall_seconds": time.perf_counter() - start}


def main() -> None:
    """Run the checks and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checks", nargs="+", choices=[*CHECKS], default=[*CHECKS])
    parser.add_argument("--tiny", action="store_true", help="a small size, on the CPU too")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "gpu.json")
    parser.add_argument("--one", choices=[*CHECKS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(CHECKS[given.one][0](given.tiny)))
        return
    if DEVICE.type != "cuda" and not given.tiny:
        print("no GPU that PyTorch can use here: nothing was measured (--tiny runs the code on the CPU)")
        return
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "environment": environment(),
    }
    for name in given.checks:
        found[name] = run_check(name, given.tiny)
        print(name, json.dumps(found[name]), flush=True)
        given.results.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
