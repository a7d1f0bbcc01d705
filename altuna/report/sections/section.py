"""A section of a report, and what the sections share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from altuna.report.drawing import Drawing
from altuna.report.frame import colours
from altuna.report.page import anchor
from altuna.report.runs import Run

MAX_CLASSES = 20  # in one plot
MAX_BARS = 63  # as many as six modalities have subsets; of more modalities only some subsets are evaluated
FUSED = "fused"
HEADER = ["", "accuracy", "macro-F1", "NLL", "ECE", "samples"]


@dataclass(frozen=True)
class Section:
    """A title, an explanation (plain text), and plots and tables."""

    title: str
    lead: str
    parts: Sequence[Drawing | str]


def look(run: Run) -> dict[str, tuple[str, bool]]:
    """Return the colour of the lines of each modality and of the fusion, and whether they are dashed."""
    return {FUSED: ("ink", False), **colours(run.modalities)}


def each(runs: Sequence[Run], draw: Callable[[Run], Drawing | None]) -> Iterator[Drawing]:
    """Yield a plot for each run, with the run's name in the title if there are several."""
    for i, run in enumerate(runs):
        drawing = draw(run)
        if drawing and len(runs) > 1:
            drawing.name = f"{drawing.name}-{i + 1}-{anchor(run.name)}"
            drawing.title = f"{drawing.title}: {run.name}"
        if drawing:
            yield drawing


def metrics_row(name: str, metrics: Mapping[str, Any], n: int) -> list[str]:
    """Return a row of a table with the columns ``HEADER``."""
    if not n:
        return [name, *["–"] * 4, "0"]
    others = (f"{metrics[name]:.3f}" for name in ("macro_f1", "nll", "ece"))
    return [name, f"{metrics['accuracy']:.1%}", *others, f"{n:,}"]
