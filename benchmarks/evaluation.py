"""How fast are 100,000 rows of features of three modalities evaluated?

    python benchmarks/evaluation.py [--threads 1 2] [--repeats 30]

Parts: ``fuse``, one rule on logits; ``figures``, all rules and every modality's own figures from
logits, as ``altuna evaluate`` has them; ``evaluate``, the same from stored features through heads (encoders
are the identity); ``evaluate, one rule``, likewise with the model's own fusion alone (``--one-rule``).

The machine may have other work: given is the best of many repeats, in wall-clock time and in processor time
of all threads (``rows_per_cpu_second``: what one core to itself would do), with the load average. Written to
``benchmarks/results/evaluation.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from mla import HERE
from torch import nn

from altuna import MultimodalClassifier, fuse
from altuna.comparison.summary import environment
from altuna.core.fusion import RULES
from altuna.data.dataset import MultimodalDataset
from altuna.evaluation.metrics import BLOCK, Evaluation
from altuna.runs.predictor import Predictor

ROWS, CLASSES, SIZE, NAMES = 100_000, 10, 64, ("a", "b", "c")


class Bare(Predictor):
    """A predictor of a model that no run directory has."""

    def __init__(self, model: MultimodalClassifier) -> None:
        self.model, self.device = model, torch.device("cpu")


def case() -> tuple[Predictor, MultimodalDataset]:
    """Return a model of identity encoders, and features of which 30 % are missing."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    encoders = {m: nn.Identity() for m in NAMES}
    model = MultimodalClassifier(encoders, CLASSES, feature_sizes=dict.fromkeys(NAMES, SIZE))
    arrays = {m: random.normal(size=(ROWS, SIZE)).astype(np.float32) for m in NAMES}
    position = {m: np.where(random.random(ROWS) < 0.7, np.arange(ROWS), -1) for m in NAMES}
    position["a"] = np.where(np.stack([*position.values()]).max(0) < 0, np.arange(ROWS), position["a"])
    return Bare(model), MultimodalDataset(arrays, position, random.integers(CLASSES, size=ROWS))


def best(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Return rows per second of each, by wall clock and processor time: best of repeats."""
    wall, cpu = (dict.fromkeys(functions, float("inf")) for _ in range(2))
    for _ in range(repeats):
        for name, function in functions.items():
            started, used = time.perf_counter(), time.process_time()
            function()
            cpu[name] = min(cpu[name], time.process_time() - used)
            wall[name] = min(wall[name], time.perf_counter() - started)
    return {
        n: {"rows_per_second": round(ROWS / wall[n]), "rows_per_cpu_second": round(ROWS / cpu[n])}
        for n in functions
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    predictor, dataset = case()
    outputs, labels = predictor.outputs(dataset)
    blocks = [*outputs.split(BLOCK)]

    def figures() -> None:
        evaluation = Evaluation(predictor.model)
        evaluation.update(outputs, labels)
        evaluation.compute()

    def evaluate(one_rule: bool = False) -> None:
        evaluation = Evaluation(predictor.model, one_rule=one_rule)
        for batch, mine in predictor.outputs_in_batches(dataset):
            evaluation.update(batch, mine)
        evaluation.compute()

    ones = torch.ones(len(NAMES))
    functions: dict[str, Callable[[], object]] = {
        f"fuse, {name}": lambda name=name, given=ones if rule.calibrated else None: [
            fuse(b.logits, b.present, name, given) for b in blocks
        ]
        for name, rule in RULES.items()
        if rule.joint in ("unused", "optional")
    }
    functions |= {"figures": figures, "evaluate": evaluate, "evaluate, one rule": lambda: evaluate(True)}
    result: dict[str, object] = {"rows": ROWS, "modalities": len(NAMES), "classes": CLASSES, "features": SIZE}
    with torch.inference_mode():
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            result[f"threads {threads}"] = best(functions, arguments.repeats)
    result |= {"load_average": os.getloadavg(), "environment": environment()}
    print(json.dumps(result, indent=1))
    (HERE / "results" / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
