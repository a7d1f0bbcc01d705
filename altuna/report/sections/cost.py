"""What a run was trained on, and what the training cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from altuna.report import charts
from altuna.report.drawing import Drawing
from altuna.report.frame import colours, short
from altuna.report.page import table_of
from altuna.report.runs import Run
from altuna.report.sections.section import Section
from altuna.text import readable_bytes

COSTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "training time": lambda cost: f"{cost['seconds']:,.0f} s",
    "epochs": lambda cost: f"{cost['epochs']:,}",
    "epoch with the lowest validation NLL": lambda cost: f"{cost['best_epoch'] + 1:,}",
    "encoder updates": lambda cost: f"{cost['updates']:,}",
    "parameters": lambda cost: f"{cost['parameters']:,}",
    "GFLOP per batch": lambda cost: f"{cost['flops_per_batch'] / 1e9:,.2f}",
    "peak memory": lambda cost: readable_bytes(cost["peak_memory"]),
}


def training_data(runs: Sequence[Run]) -> Section:
    """Return the number of training samples of each modality."""
    header = ["", "training samples", "share", "rarest class", "most frequent class"]
    parts: list[str] = []
    for run in runs:
        training, lines = run.metrics["training"], []
        for m, counts in training["classes"].items():
            total, order = sum(counts.values()), sorted(counts, key=lambda c: counts[c])
            ends = ["–", "–"]
            if order:
                ends = [f"{short(c)} ({counts[c]:,})" for c in (order[0], order[-1])]
            lines.append([m, f"{total:,}", f"{total / training['n']:.0%}", *ends])
        remarks = " ".join(f"{remark}." for remark in training["remarks"])
        parts.append(table_of(header, lines, f"{run.name}. {remarks}" if len(runs) > 1 else remarks))
    return Section("Training data", "The number of training samples that have each modality.", parts)


def cost(runs: Sequence[Run]) -> Section:
    """Return time, updates, parameters, operations and memory of the training."""
    lines = [[name, *(show(run.metrics["cost"]) for run in runs)] for name, show in COSTS.items()]
    parts: list[Drawing | str] = [table_of(["", *(run.name for run in runs)], lines)]
    if len(runs) > 1:
        shades = colours([run.name for run in runs])
        bars = {run.name: (run.metrics["cost"]["seconds"], shades[run.name][0]) for run in runs}
        parts.append(charts.bar_chart("seconds", "Training time in seconds", bars, share=False))
    lead = "Training time depends on the machine and on its load."
    return Section("Compute cost", lead, parts)
