"""The sections of a report. Each takes any number of runs: one is shown in full, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from altuna.report.runs import Run
from altuna.report.sections.accuracy import ablation, accuracy
from altuna.report.sections.calibration import calibration, confusion
from altuna.report.sections.columns import columns
from altuna.report.sections.cost import cost, training_data
from altuna.report.sections.features import features
from altuna.report.sections.fusion import fusion_weights
from altuna.report.sections.imbalance import imbalance, interference
from altuna.report.sections.missing import missing
from altuna.report.sections.section import Section
from altuna.report.sections.training import training_curves

__all__ = ["Section", "sections"]


def sections(runs: Sequence[Run]) -> list[Section]:
    """Return all sections that have something to show."""
    makers: list[Callable[[Sequence[Run]], Section | None]] = [
        accuracy,
        ablation,
        training_curves,
        imbalance,
        interference,
        fusion_weights,
        missing,
        calibration,
        confusion,
        features,
        training_data,
        columns,
        cost,
    ]
    return [section for make in makers if (section := make(runs)) is not None]
