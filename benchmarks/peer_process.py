"""The process of one learner of ``peers.py``: read arrays and a job, time the learner, write its predictions.

It imports numpy alone, so that a learner's memory is its own and an environment of its own can run it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FLOOR = 1e-3  # a forest's probability of exactly 0 would rule a class out
TEMPERATURES = np.geomspace(0.05, 20, 120)


class Fits:
    """What a learner hands back: predictions for the test rows, and time since the process began to learn.

    Example:
        >>> fits = Fits()
        >>> fits.add("train", np.zeros((3, 2)))
        >>> sorted(fits.costs["train"])
        ['cpu_seconds', 'seconds']
    """

    def __init__(self) -> None:
        self.predictions: dict[str, Array] = {}
        self.costs: dict[str, dict[str, float]] = {}
        self.notes: dict[str, Any] = {}
        self._start = time.perf_counter(), time.process_time()

    def add(self, rows: str, log_probabilities: Array) -> None:
        """Keep the test predictions [rows, C] of the learner fitted on ``rows``, and the time so far."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.predictions[rows] = log_probabilities
        self.costs[rows] = {"seconds": wall - self._start[0], "cpu_seconds": cpu - self._start[1]}


def normalised(log_probabilities: Array) -> Array:
    """Return log-probabilities [..., C] whose probabilities sum to 1."""
    shifted = log_probabilities - log_probabilities.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def nll(log_probabilities: Array, labels: Array) -> float:
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def best_temperature(log_probabilities: Array, labels: Array) -> float:
    """Return the temperature of the lowest NLL. A sum of opinions and their average differ only by one."""
    return float(min(TEMPERATURES, key=lambda t: nll(normalised(log_probabilities / t), labels)))


def peak_mb() -> float | None:
    """Return this process's peak memory; ``ru_maxrss`` would count what started it too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def serve(learn: Callable[[Mapping[str, Array], Mapping[str, Any]], Fits]) -> None:
    """Run ``learn(arrays, job)`` of ``argv`` (arrays.npz, job.json, folder), and write what it found."""
    arrays, job, out = sys.argv[1:]
    with np.load(arrays) as file:
        fits = learn(dict(file), json.loads(Path(job).read_text()))
    np.savez(Path(out) / "predictions.npz", **fits.predictions)
    found = {"costs": fits.costs, "peak_mb": peak_mb(), "notes": fits.notes}
    (Path(out) / "found.json").write_text(json.dumps(found))
