"""The parts of a report. Each takes any number of runs: one is shown in full, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from altuna.report.runs import Run
from altuna.report.sections.answers import ablation, confusion, headline, reliability
from altuna.report.sections.geometry import geometry
from altuna.report.sections.learning import balance, cost, interference, learning, material
from altuna.report.sections.presence import missing, trust
from altuna.report.sections.section import Section

__all__ = ["Section", "sections"]


def sections(runs: Sequence[Run]) -> list[Section]:
    """Return all parts that have something to show."""
    makers: list[Callable[[Sequence[Run]], Section | None]] = [
        headline,
        ablation,
        learning,
        balance,
        interference,
        trust,
        missing,
        reliability,
        confusion,
        geometry,
        material,
        cost,
    ]
    return [section for make in makers if (section := make(runs)) is not None]
