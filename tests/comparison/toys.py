"""A toy data set, and what comparisons of it wrote."""

import csv
import json
import random

FAST = {"epochs": 2, "batch_size": 16, "accelerator": "cpu"}


def write(path, seed=0, modalities="ab", empty=0.0):
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", *(f"{m}_{i}" for m in modalities for i in range(2))])
        for i in range(90):
            cells = []
            for m in modalities:
                numbers = [round(rng.gauss(2 * (i % 3), 1), 3) for _ in range(2)]
                cells += ["", ""] if m == "b" and rng.random() < empty else numbers
            split = ["train", "train", "train", "val", "test"][i // 3 % 5]
            writer.writerow([f"s{i}", split, f"c{i % 3}", *cells])
    return path


def read(out):
    return json.loads((out / "compare.json").read_text())


def status(out):
    return {run["folder"]: run["reason"] or run["status"] for run in read(out)["runs"]}


def arguments(manifest, out, *more):
    """Return the arguments of that comparison."""
    options = ["--methods", "mla,concat", "--seeds", "2", "--jobs", "2", "--quiet", "--accelerator", "cpu"]
    fast = ["--epochs", "2", "--set", "batch_size=16"]
    return ["compare", "--data", str(manifest), "--out", str(out), *options, *fast, *more]
