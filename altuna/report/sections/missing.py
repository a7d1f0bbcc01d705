"""Whom the model trusts, and what is left if modalities are gone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np

from altuna.core.subsets import subsets
from altuna.report import charts
from altuna.report.charts import Series, colours
from altuna.report.drawing import Drawing
from altuna.report.page import folded, table_of
from altuna.report.runs import Run
from altuna.report.sections.section import (
    FUSED,
    HEADER,
    MOST_BARS,
    MOST_CLASSES,
    Section,
    each,
    figures_of,
    look,
)

MOST_SPREADS = 160  # boxes of one figure


def trust(runs: Sequence[Run]) -> Section | None:
    """Tell whom the model trusts, by class."""
    several = [run for run in runs if len(run.modalities) > 1]

    def weights(run: Run) -> Drawing | None:
        if len(run.modalities) == 1:
            return None
        frequent = np.bincount(run.truth, minlength=len(run.classes)).argsort(kind="stable")[::-1]
        most = max(1, min(MOST_CLASSES, MOST_SPREADS // len(run.modalities)))
        some = sorted(c for c in frequent[:most].tolist() if (run.truth == c).any())
        values = {
            run.classes[c]: {
                m: run.numbers(f"weight_{m}")[(run.truth == c) & run.present(m)] for m in run.modalities
            }
            for c in some
        }
        title = "Fusion weights by true class: median, middle half (box), middle nine tenths (line)"
        if len(some) < len(run.classes):
            title += f"; the {len(some)} most frequent of {len(run.classes)} classes"
        return charts.spread_chart("trust", title, values, {m: look(run)[m][0] for m in run.modalities})

    lead = "A weight near 100% means that this modality decides; a wide box, that it depends on the sample."
    return Section("Whom does the model trust, and when?", lead, [*each(runs, weights)]) if several else None


def missing(runs: Sequence[Run]) -> Section | None:
    """Tell what is left if modalities are gone."""
    several = [run for run in runs if len(run.modalities) > 1]
    if not several:
        return None
    shades = colours([run.name for run in several])
    series = []
    for run in several:
        found = {float(rate): [f["accuracy"] for f in each] for rate, each in run.metrics["rates"].items()}
        colour, dashed = shades[run.name] if len(runs) > 1 else ("ink", False)
        points = [(rate, mean(values)) for rate, values in found.items()]
        spread = [stdev(values) if len(values) > 1 else 0.0 for values in found.values()]
        series.append(Series(run.name if len(runs) > 1 else FUSED, points, colour, dashed, spread))
    levels = {"most frequent class": several[0].majority} if len({r.majority for r in several}) == 1 else {}
    title = "Accuracy by the share of cells that are taken away at random"
    curve = charts.line_chart(
        "missing", title, series, "share missing", "accuracy", levels=levels, shares=True
    )

    def by_subset(run: Run) -> Drawing | None:
        if len(run.modalities) == 1:
            return None
        known = run.metrics["subsets"]
        found = {s: known["+".join(s)] for s in subsets(run.modalities) if "+".join(s) in known}
        # All of them first among equals: what the others are compared with.
        ranked = sorted(found, key=lambda s: (len(s) < len(run.modalities), -found[s]["accuracy"]))
        best = sorted(ranked[:MOST_BARS], key=lambda subset: -found[subset]["accuracy"])
        bars = {
            _subset(subset, run.modalities): (
                found[subset]["accuracy"],
                look(run)[subset[0]][0] if len(subset) == 1 else "ink",
            )
            for subset in best
        }
        counts = [found[subset]["n"] for subset in best]
        title = "Accuracy with nothing but some modalities, on the samples that have them (how many)"
        if len(best) < len(found):
            title += f"; all, and the best {len(best) - 1} of the other {len(found) - 1}"
        return charts.bar_chart(
            "subsets", title, bars, level=("most frequent class", run.majority), counts=counts
        )

    tables = []
    for run in several:
        known = run.metrics["subsets"]
        lines = [
            figures_of(_subset(s, run.modalities), known["+".join(s)], known["+".join(s)]["n"])
            for s in subsets(run.modalities)
            if "+".join(s) in known
        ]
        own = f" of {run.name}" if len(runs) > 1 else ""
        table = table_of(HEADER, lines, f"With nothing but some modalities{own}")
        tables.append(folded(f"Figures and ECE of each subset{own}", table))
    lead = "An absent modality just has no say. The band is a standard deviation over masks."
    return Section("What if modalities are gone?", lead, [curve, *each(runs, by_subset), *tables])


def _subset(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """Name a subset by what is there or, if that is shorter, by what is not."""
    absent = [m for m in modalities if m not in subset]
    if len(subset) <= max(len(absent), 2):
        return " + ".join(subset)
    return f"all but {', '.join(absent)}" if absent else "all"
