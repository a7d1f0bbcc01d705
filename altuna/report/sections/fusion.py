"""The weights of the modalities in the fusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from altuna.report import charts
from altuna.report.drawing import Drawing
from altuna.report.runs import Run
from altuna.report.sections.section import MAX_CLASSES, Section, each, look

MAX_SPREADS = 160  # boxes in one plot


def fusion_weights(runs: Sequence[Run]) -> Section | None:
    """Return the distribution of the fusion weights by class."""
    several = [run for run in runs if len(run.modalities) > 1]

    def weights(run: Run) -> Drawing | None:
        if len(run.modalities) == 1:
            return None
        frequent = np.bincount(run.truth, minlength=len(run.classes)).argsort(kind="stable")[::-1]
        most = max(1, min(MAX_CLASSES, MAX_SPREADS // len(run.modalities)))
        some = sorted(c for c in frequent[:most].tolist() if (run.truth == c).any())
        values = {
            run.classes[c]: {
                m: run.numbers(f"weight_{m}")[(run.truth == c) & run.present(m)] for m in run.modalities
            }
            for c in some
        }
        title = "Fusion weights by true class: median, 25th to 75th percentile (box), 5th to 95th (line)"
        if len(some) < len(run.classes):
            title += f"; the {len(some)} most frequent of {len(run.classes)} classes"
        return charts.spread_chart("weights", title, values, {m: look(run)[m][0] for m in run.modalities})

    lead = (
        "A weight near 100% means that the modality decides the prediction. A wide box means that the "
        "weight varies from sample to sample."
    )
    return Section("Fusion weights by class", lead, [*each(runs, weights)]) if several else None
