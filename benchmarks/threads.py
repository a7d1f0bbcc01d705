"""From what work on are two threads faster than one? The constant ``MANY_FLOPS`` of ``altuna.hardware``.

    python benchmarks/threads.py [--steps 60]

Forward, backward and step of two-layer networks of growing width, batch 64, with one thread and with all that
there are, in turn. ``flops`` are those of the forward pass. Written to ``benchmarks/results/threads.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from mla import HERE
from torch import nn

from altuna.comparison.summary import environment
from altuna.hardware import MANY_FLOPS
from altuna.training.optimizers import adamw

BATCH = 64
WIDTHS = (64, 128, 256, 512, 768, 1024, 1536, 2048)


def step_of(width: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor]:
    network = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
    return network, adamw(network.parameters(), 1e-3), torch.randn(BATCH, width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "threads.json")
    given = parser.parse_args()
    most, found = torch.get_num_threads(), []
    for width in WIDTHS:
        network, optimizer, x = step_of(width)
        times: dict[int, list[float]] = {1: [], most: []}
        for _ in range(given.steps):
            for threads, taken in times.items():
                torch.set_num_threads(threads)
                start = time.perf_counter()
                optimizer.zero_grad()
                network(x).square().mean().backward()
                optimizer.step()
                taken.append(time.perf_counter() - start)
        one, all_ = (statistics.median(taken[5:]) for taken in times.values())
        flops = 2 * 2 * BATCH * width * width
        found.append({"width": width, "flops": flops, "one": one, "all": all_, "speedup": one / all_})
        print(
            f"width {width}: {flops / 1e6:.0f} MFLOPs, {1000 * one:.2f} ms, {1000 * all_:.2f} ms", flush=True
        )
    content = {"threads": most, "MANY_FLOPS": MANY_FLOPS, "results": found, "environment": environment()}
    given.results.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
