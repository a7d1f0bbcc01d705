"""Does an export predict as the model does, and how long does one sample take?

    python benchmarks/export.py --runs FOLDER --root DIR

A run of each built-in data, trained for an epoch or two where the folder lacks it, for neither answer depends
on how good it is (default encoders, but ResNets of 16 channels on av-digits-hard, as in ``grid.py``), is
written as ONNX and compared on 200 test samples, from every subset of the modalities. Then single prepared
samples with all modalities are predicted by PyTorch and by ONNX Runtime in turn, in one process, on one
thread each. Written to ``benchmarks/results/export.json``, data by data.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from grid import WIDTH
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.export.export import export, samples_of
from altuna.reporting import SILENT

ROUNDS = 200
NARROW = {"image": {"width": WIDTH}, "audio": {"width": WIDTH}}
DATA: dict[str, dict[str, Any]] = {
    "emoji": {"epochs": 1},
    "htad": {"epochs": 1},
    "av-digits": {"epochs": 1},
    "av-digits-hard": {"epochs": 2, "encoders": NARROW},
}


def latencies(run: Path, folder: Path, root: Path | None) -> dict[str, float]:
    """Return the median milliseconds of one sample on one thread, by PyTorch and by ONNX Runtime."""
    predictor = altuna.load(run, "cpu")
    model, dataset = predictor.model, samples_of(predictor, run, None, root, None, SILENT).dataset
    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    said = json.loads((folder / "export.json").read_text())
    sessions = [onnxruntime.InferenceSession(str(folder / m["file"]), options) for m in said["modalities"]]
    fusion = onnxruntime.InferenceSession(str(folder / said["fusion"]["file"]), options)
    seconds: dict[str, list[float]] = {"pytorch": [], "onnx": []}
    whole = np.flatnonzero(dataset.present.all(0))
    for i in range(-10, ROUNDS):  # the first ten warm up
        batch = dataset[[int(whole[i % len(whole)])]]
        cells = [batch.inputs[m] for m in model.modalities]
        arrays = [x.numpy() for x in cells]
        begun = time.perf_counter()
        with torch.inference_mode():
            theirs = model(dict(zip(model.modalities, cells, strict=True))).probabilities
        between = time.perf_counter()
        features = [s.run(None, {"cells": x})[0] for s, x in zip(sessions, arrays, strict=True)]
        given = {"present": np.ones((1, len(cells)), bool)} | {
            f"features_{i}": f for i, f in enumerate(features)
        }
        mine = fusion.run(None, given)[0]
        ended = time.perf_counter()
        assert np.abs(mine - theirs.numpy()).max() <= 1e-4
        if i >= 0:
            seconds["pytorch"].append(between - begun)
            seconds["onnx"].append(ended - between)
    return {name: round(1000 * statistics.median(values), 3) for name, values in seconds.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--runs", type=Path, required=True, help="folder of runs, by the name of their data"
    )
    arguments.add_argument("--root", type=Path, help="raw files of av-digits")
    arguments.add_argument("--data", nargs="+", default=[*DATA], choices=[*DATA])
    given = arguments.parse_args()
    path = HERE / "results" / "export.json"
    results = json.loads(path.read_text())["data"] if path.exists() else {}
    for data in given.data:
        run, root = given.runs / data, given.root if data.startswith("av-digits") else None
        if not run.is_dir():
            altuna.fit(data, root=root, out=run, quiet=True, report=False, **DATA[data])
        folder = run / "export" / "onnx"
        shutil.rmtree(folder, ignore_errors=True)
        _, checked = export(run, "onnx", root=root)
        said = {**checked, "median_milliseconds": latencies(run, folder, root)}
        results[data] = {**said, "onnxruntime": onnxruntime.__version__, "environment": environment()}
        print(f"{data}: {said}", flush=True)
        path.write_text(json.dumps({"rounds": ROUNDS, "data": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
