"""How far `fuse` and the projector are from float64 NumPy, and a prediction from itself in another batch.

    python benchmarks/agreement.py

Differences are the largest of any case, as a share of the largest entry of the reference (float32 inputs); of
the batch, the largest absolute difference of logits. Written to ``benchmarks/results/agreement.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.core.fusion import RULES
from altuna.data.dataset import MultimodalDataset
from altuna.runs.evaluate import Predictor

sys.path.insert(0, str(HERE.parent / "tests"))
from references import fusion, projector

CASES = 300


def share(got: torch.Tensor, want: np.ndarray) -> float:
    return float(np.abs(got.double().numpy() - want).max() / np.abs(want).max())


def fusion_difference(rng: np.random.Generator) -> float:
    worst = 0.0
    for case in range(CASES):
        m, b, c = rng.integers(1, 7), rng.integers(1, 6), rng.integers(2, 1001)
        scale = 10 ** rng.uniform(-1, 4)
        logits = rng.uniform(-scale, scale, (m, b, c)).astype(np.float32)
        present = rng.random((m, b)) < 0.6
        present[rng.integers(m, size=b), np.arange(b)] = True
        temperatures = np.exp(rng.uniform(-1, 2, m)).astype(np.float32) if case % 2 else None
        rule = RULES[case // 2 % len(RULES)]
        want = fusion.fuse(logits.astype(np.float64), present, rule, temperatures)
        tensors = None if temperatures is None else torch.from_numpy(temperatures)
        got = altuna.fuse(torch.from_numpy(logits), torch.from_numpy(present), rule, tensors)
        worst = max(worst, *(share(g, w) for g, w in zip(got, want, strict=True)))
    return worst


def projector_difference(rng: np.random.Generator) -> float:
    worst = 0.0
    for _ in range(CASES // 10):
        dim, alpha = int(rng.integers(1, 65)), float(10 ** rng.uniform(-2, 1))
        ours, p = altuna.OrthogonalProjector(dim, alpha), np.eye(dim)
        for _ in range(int(rng.integers(1, 9))):
            features = rng.normal(size=(16, dim)).astype(np.float32)
            ours.update(torch.from_numpy(features))
            p = projector.step(p, features.astype(np.float64).mean(axis=0), alpha)
        grad = rng.normal(size=(7, dim)).astype(np.float32)
        worst = max(worst, share(ours.P, p), share(ours.project(torch.from_numpy(grad)), grad @ p))
    return worst


def batch_difference() -> dict[str, float]:
    """Logits of 256 emoji alone, in batches of 8, and shuffled, against batches of 64."""
    with tempfile.TemporaryDirectory() as folder:
        run = altuna.fit(epochs=1, out=Path(folder) / "run", store=Path(folder) / "store", quiet=True)
        predictor = Predictor(run)
        rng = np.random.default_rng(0)
        reader = predictor.description.readers["image"]
        arrays = {"image": rng.integers(256, size=(256, *reader.shape), dtype=np.uint8)}
        text = predictor.description.readers["text"]
        arrays["text"] = np.stack(
            [text.read(f"{a} {b} face") for a in "abcdefghijklmnop" for b in "abcdefghijklmnop"]
        )
        order = rng.permutation(256)

        def logits(rows: np.ndarray, size: int) -> torch.Tensor:
            position = {m: rows.copy() for m in arrays}
            dataset = MultimodalDataset(arrays, position, np.full(256, -1))
            return predictor.model.fuse(predictor.outputs(dataset, size)[0]).logits

        want = logits(np.arange(256), 64)
        difference = {
            f"batches of {n}": float((logits(np.arange(256), n) - want).abs().max()) for n in (1, 8)
        }
        difference["shuffled"] = float((logits(order, 64) - want[order]).abs().max())
    return difference


def main() -> None:
    rng = np.random.default_rng(0)
    results = {
        "fuse": fusion_difference(rng),
        "projector": projector_difference(rng),
        "batch": batch_difference(),
    }
    print(json.dumps(results, indent=1))
    results["environment"] = environment()
    (HERE / "results" / "agreement.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
