"""What a training step costs: MLA by altuna, by a bare loop, and in the released code's order of work.

    python benchmarks/step.py [--pairs mlp resnet18-8 ...] [--steps 20] [--compile] [--peaks 5]

For each pair of encoders, in one process, step by step in turn, medians:

- ``altuna``: the loop of ``altuna.fit``, with its logging;
- ``bare``: for each modality forward, backward and SGD step, and nothing else, at the same precision and
  memory format;
- ``encoders``: forward and backward of the encoders alone, which no order of work can go below;
- ``released``: forward of all, then backward and step in turn with all graphs kept, float32, contiguous,
  its optimizer not fused.

Then each one's peak memory, in processes of its own, of which the median counts (what the allocator keeps
differs by a twentieth from one to the next). Written to ``benchmarks/results/step.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mla import HERE
from torch import nn
from torch.nn.functional import cross_entropy

import altuna
from altuna.comparison.summary import environment
from altuna.core.batch import Batch
from altuna.encoders.base import OverTime
from altuna.encoders.mlp import MLP
from altuna.encoders.resnet import ResNet
from altuna.encoders.vit import ViT
from altuna.hardware import choose_precision, peak_memory, reset_peak_memory
from altuna.methods.mla import MLA
from altuna.training import loggers
from altuna.training.loop import Loop
from altuna.training.optimizers import sgd

CLASSES = 6
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def picture(*shape: int) -> Any:
    """What a network asks of the front end before it."""
    return SimpleNamespace(shape=shape, small=False, stem=4)


@dataclass(frozen=True)
class Pair:
    """Two encoders and the shapes of their inputs."""

    encoders: Callable[[], dict[str, nn.Module]]
    shapes: dict[str, tuple[int, ...]]
    rows: int
    precision: str


def resnets() -> dict[str, nn.Module]:
    return {
        "audio": ResNet(picture(1, 257, 299), "resnet18"),
        "visual": OverTime(ResNet(picture(3, 224, 224), "resnet18")),
    }


def mlps() -> dict[str, nn.Module]:
    return {name: MLP(SimpleNamespace(shape=(20,)), hidden=64, out_features=32) for name in ("a", "b")}


def vits() -> dict[str, nn.Module]:
    return {
        name: ViT(picture(3, 224, 224), dimension=768, depth=12, heads=12, patch=16) for name in ("a", "b")
    }


AUTO = choose_precision("auto", "auto")
SOUND_AND_FRAMES = {"audio": (1, 257, 299), "visual": (3, 3, 224, 224)}
PICTURES = {"a": (3, 224, 224), "b": (3, 224, 224)}
PAIRS = {
    "mlp": Pair(mlps, {"a": (20,), "b": (20,)}, 64, "32-true"),
    "resnet18-8": Pair(resnets, SOUND_AND_FRAMES, 8, AUTO),
    "resnet18-8-float32": Pair(resnets, SOUND_AND_FRAMES, 8, "32-true"),
    "resnet18-64": Pair(resnets, SOUND_AND_FRAMES, 64, AUTO),
    "vit-64": Pair(vits, PICTURES, 64, AUTO),
}


def batch_of(pair: Pair) -> Batch:
    draws = torch.Generator().manual_seed(0)
    everyone = torch.arange(pair.rows)
    return Batch(
        {name: torch.randn(pair.rows, *shape, generator=draws) for name, shape in pair.shapes.items()},
        dict.fromkeys(pair.shapes, everyone),
        torch.randint(CLASSES, (pair.rows,), generator=draws),
        everyone,
    ).to(DEVICE)


class Networks:
    """Encoders, a shared head and SGD, as small a training as can be."""

    def __init__(self, pair: Pair, batch: Batch, compiled: bool, precision: str) -> None:
        torch.manual_seed(0)
        self.encoders = {name: encoder.to(DEVICE) for name, encoder in pair.encoders().items()}
        width = next(iter(self.encoders.values())).out_features
        assert isinstance(width, int)
        self.head = nn.Linear(width, CLASSES).to(DEVICE)
        networks = nn.ModuleList([*self.encoders.values(), self.head])
        self.optimizer = sgd(networks.parameters(), 1e-3)
        self.batch, self.precision = batch, precision
        if compiled:
            for encoder in self.encoders.values():
                encoder.compile()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(DEVICE.type, torch.bfloat16) if "bf16" in self.precision else nullcontext()

    def bare(self) -> None:
        """Take a step for each modality."""
        for name, encoder in self.encoders.items():
            self.optimizer.zero_grad()
            with self._autocast():
                loss = cross_entropy(self.head(encoder(self.batch.inputs[name])), self.batch.labels)
            loss.backward()
            self.optimizer.step()

    def encode(self) -> None:
        """Only encode, forward and backward."""
        for name, encoder in self.encoders.items():
            self.optimizer.zero_grad()
            with self._autocast():
                features = encoder(self.batch.inputs[name])
            features.sum().backward()

    def released(self) -> None:
        """Encode all first, then take the steps."""
        features = {name: encoder(self.batch.inputs[name]) for name, encoder in self.encoders.items()}
        for name in self.encoders:
            self.optimizer.zero_grad()
            cross_entropy(self.head(features[name]), self.batch.labels).backward()
            self.optimizer.step()


def as_released(pair: Pair, batch: Batch) -> Networks:
    """Return networks in float32 and contiguous memory."""
    networks = Networks(pair, batch, False, "32-true")
    for encoder in networks.encoders.values():
        for module in encoder.modules():
            if isinstance(module, ResNet):
                module.format = torch.contiguous_format
        encoder.to(memory_format=torch.contiguous_format)
    parameters = networks.optimizer.param_groups[0]["params"]
    networks.optimizer = torch.optim.SGD(parameters, 1e-3, momentum=0.9)
    return networks


class Feed:
    """The same batch again and again; what the loop does between two of them is a step of altuna.

    The others take their steps in between, so that all meet the same machine.
    """

    def __init__(self, batch: Batch, steps: int, others: dict[str, Callable[[], None]]) -> None:
        self.batch, self.steps, self.others = batch, steps, others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("altuna", *others)}

    @property
    def sampler(self) -> Feed:
        """Itself: it has an epoch and a start."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all epochs are alike."""

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.steps):
            for name, step in self.others.items():
                self.seconds[name].append(timed(step))
            start = clock()
            yield self.batch
            self.seconds["altuna"].append(clock() - start)


def clock() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(step: Callable[[], None]) -> float:
    start = clock()
    step()
    return clock() - start


def train(pair: Pair, feed: Feed, compiled: bool) -> None:
    """Train MLA on a feed as ``altuna.fit`` does."""
    torch.manual_seed(0)
    model = altuna.MultimodalClassifier(pair.encoders(), CLASSES)
    if compiled:
        model.compile()
    loop = Loop(MLA(model), optimizer="sgd", precision=pair.precision, device=DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        curves = loggers.build(["tensorboard"], Path(folder), {}, quiet=True)
        loop.run(feed, [feed.batch], loggers=curves)
        for logger in curves:
            logger.close(failed=False)


def race(pair: Pair, steps: int, compiled: bool) -> dict[str, Any]:
    batch = batch_of(pair)
    same = (pair, batch, compiled, pair.precision)
    others = {"bare": Networks(*same).bare, "encoders": Networks(*same).encode}
    others["released"] = as_released(pair, batch).released
    feed = Feed(batch, steps, others)
    train(pair, feed, compiled)
    # The first ones warm up: allocations, choice of kernels, compilation.
    median = {name: statistics.median(times[WARM:]) for name, times in feed.seconds.items()}
    return {
        "seconds": median,
        "samples_per_second": pair.rows / median["altuna"],
        "of_bare": median["altuna"] / median["bare"],
        "of_released": median["altuna"] / median["released"],
        "outside_encoders": 1 - median["encoders"] / median["altuna"],
    }


def peak(name: str, order: str, compiled: bool) -> None:
    """Print the peak memory of three steps in one order of work, and what was held before them."""
    pair = PAIRS[name]
    batch = batch_of(pair)
    before = peak_memory(DEVICE)
    reset_peak_memory(DEVICE)
    if order == "altuna":
        train(pair, Feed(batch, 3, {}), compiled)
    else:
        same = (pair, batch, compiled, pair.precision)
        networks = as_released(pair, batch) if order == "released" else Networks(*same)
        for _ in range(3):
            getattr(networks, order)()
    print(json.dumps({"peak": peak_memory(DEVICE), "before": before}))


def memory(name: str, compiled: bool, peaks: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for order in ("altuna", "bare", "released"):
        command = [sys.executable, __file__, "--pairs", name, "--memory-of", order]
        command += ["--compile"] * compiled
        said = [
            subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(peaks)
        ]
        each = [json.loads(one.splitlines()[-1]) for one in said]
        found[order] = {k: statistics.median(peak[k] for peak in each) for k in each[0]}
    return {**found, "of_released": found["altuna"]["peak"] / found["released"]["peak"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cpu = ["mlp", "resnet18-8", "resnet18-8-float32"]
    parser.add_argument("--pairs", nargs="+", choices=[*PAIRS], default=cpu)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peaks", type=int, default=5, help="processes of which the median peak counts")
    parser.add_argument("--memory-of", choices=["altuna", "bare", "released"], help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "step.json")
    given = parser.parse_args()
    if given.memory_of:
        peak(given.pairs[0], given.memory_of, given.compile)
        return
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    for name in given.pairs:
        pair = PAIRS[name]
        steps = given.steps * (50 if name == "mlp" else 1)
        figures = race(pair, steps, given.compile)
        key = name + "-compiled" * given.compile
        results[key] = {
            **figures,
            "memory": memory(name, given.compile, given.peaks),
            "rows": pair.rows,
            "precision": pair.precision,
            "steps": steps,
            "peaks": given.peaks,
            "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "environment": environment(),
        }
        print(key, json.dumps({k: v for k, v in results[key].items() if k != "environment"}), flush=True)
        given.results.write_text(json.dumps(results, indent=2) + "\n")


WARM = 3

if __name__ == "__main__":
    main()
