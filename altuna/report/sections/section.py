"""A part of a report, and what the parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from altuna.report.charts import colours
from altuna.report.drawing import Drawing
from altuna.report.page import anchor
from altuna.report.runs import Run

MOST_CLASSES = 20  # within one figure
MOST_BARS = 63  # as many as six modalities have subsets; of more only some are measured
FUSED = "fused"
HEADER = ["", "accuracy", "macro-F1", "NLL", "ECE", "samples"]


@dataclass(frozen=True)
class Section:
    """A part: a question, what one should know to read the answer (plain texts), figures and tables."""

    title: str
    lead: str
    parts: Sequence[Drawing | str]


def look(run: Run) -> dict[str, tuple[str, bool]]:
    """Return the colour of each modality's and of the fusion's lines, and whether they are dashed."""
    return {FUSED: ("ink", False), **colours(run.modalities)}


def each(runs: Sequence[Run], draw: Callable[[Run], Drawing | None]) -> Iterator[Drawing]:
    """Yield a figure a run; beside others it says whose it is."""
    for i, run in enumerate(runs):
        drawing = draw(run)
        if drawing and len(runs) > 1:
            drawing.name = f"{drawing.name}-{i + 1}-{anchor(run.name)}"
            drawing.title = f"{drawing.title}: {run.name}"
        if drawing:
            yield drawing


def figures_of(name: str, figures: dict[str, Any], n: int) -> list[str]:
    """Return a row of a table with the columns ``HEADER``."""
    shares = [f"{figures['accuracy']:.1%}"] if n else ["–"]
    return [name, *shares, *(f"{figures[f]:.3f}" if n else "–" for f in ("macro_f1", "nll", "ece")), f"{n:,}"]
