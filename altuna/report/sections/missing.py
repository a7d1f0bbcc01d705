"""Accuracy if modalities are missing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from altuna.core.subsets import subsets
from altuna.report import charts
from altuna.report.charts import Series
from altuna.report.drawing import Drawing
from altuna.report.frame import colours
from altuna.report.page import folded, table_of
from altuna.report.runs import Run
from altuna.report.sections.section import (
    FUSED,
    HEADER,
    MAX_BARS,
    Section,
    each,
    look,
    metrics_row,
)


def missing(runs: Sequence[Run]) -> Section | None:
    """Return the accuracy by missing rate and with each subset of the modalities."""
    several = [run for run in runs if len(run.modalities) > 1]
    if not several:
        return None
    levels = {"most frequent class": several[0].majority} if len({r.majority for r in several}) == 1 else {}
    title = "Accuracy by the fraction of cells masked at random"
    series = _by_rate(several, named=len(runs) > 1)
    curve = charts.line_chart(
        "missing", title, series, "missing rate", "accuracy", levels=levels, shares=True
    )
    tables = []
    for run in several:
        known = run.metrics["subsets"]
        lines = [
            metrics_row(_subset(s, run.modalities), known["+".join(s)], known["+".join(s)]["n"])
            for s in subsets(run.modalities)
            if "+".join(s) in known
        ]
        own = f" of {run.name}" if len(runs) > 1 else ""
        table = table_of(HEADER, lines, f"Metrics with each subset{own}")
        tables.append(folded(f"All metrics of each subset{own}", table))
    lead = (
        "Fusion ignores missing modalities. The band around a line is the standard deviation over random "
        "masks. Each bar is for predictions from the named modalities only."
    )
    return Section("Missing modalities", lead, [curve, *each(runs, _by_subset), *tables])


def _by_rate(runs: Sequence[Run], named: bool) -> list[Series]:
    """Return a line of accuracies by missing rate for each run."""
    shades, series = colours([run.name for run in runs]), []
    for run in runs:
        found = {float(rate): [m["accuracy"] for m in each] for rate, each in run.metrics["rates"].items()}
        colour, dashed = shades[run.name] if named else ("ink", False)
        points = [(rate, mean(values)) for rate, values in found.items()]
        spread = [stdev(values) if len(values) > 1 else 0.0 for values in found.values()]
        series.append(Series(run.name if named else FUSED, points, colour, dashed, spread))
    return series


def _by_subset(run: Run) -> Drawing | None:
    """Draw the accuracies with the subsets of the modalities, the best first."""
    if len(run.modalities) == 1:
        return None
    known = run.metrics["subsets"]
    found = {s: known["+".join(s)] for s in subsets(run.modalities) if "+".join(s) in known}
    # All modalities come first among equals: the others are compared with them.
    ranked = sorted(found, key=lambda s: (len(s) < len(run.modalities), -found[s]["accuracy"]))
    best = sorted(ranked[:MAX_BARS], key=lambda subset: -found[subset]["accuracy"])
    shades = look(run)
    bars = {
        _subset(s, run.modalities): (found[s]["accuracy"], shades[s[0]][0] if len(s) == 1 else "ink")
        for s in best
    }
    counts = [found[subset]["n"] for subset in best]
    title = "Accuracy with a subset of the modalities (number of samples that have all of it)"
    if len(best) < len(found):
        title += f"; all, and the best {len(best) - 1} of the other {len(found) - 1}"
    level = ("most frequent class", run.majority)
    return charts.bar_chart("subsets", title, bars, level=level, counts=counts)


def _subset(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """Return the name of a subset: the modalities that it has or, if that is shorter, those it lacks."""
    absent = [m for m in modalities if m not in subset]
    if len(subset) <= max(len(absent), 2):
        return " + ".join(subset)
    return f"all but {', '.join(absent)}" if absent else "all"
