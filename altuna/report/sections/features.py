"""Maps of the features of all modalities, and their distances."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from altuna.evaluation.feature_map import feature_map
from altuna.evaluation.features import FILE as FEATURES
from altuna.report import charts
from altuna.report.drawing import PALETTE, Drawing
from altuna.report.page import anchor, folded, table_of
from altuna.report.runs import Run
from altuna.report.sections.section import MAX_BARS, Section, look

MAX_DOTS = 1600  # of all feature maps together
MAX_LINES = 15  # of a table that is not folded


def features(runs: Sequence[Run]) -> Section | None:
    """Return maps of the features, and the modality gap and alignment of each pair of modalities."""
    drawings: list[Drawing | str] = []
    for i, run in enumerate(runs):
        end = f"-{i + 1}-{anchor(run.name)}" if len(runs) > 1 else ""
        drawings += _maps(run, end, MAX_DOTS // len(runs))
    lines = []
    for run in runs:
        known = run.metrics["imbalance"]
        own = f"{run.name}: " if len(runs) > 1 else ""
        for pair, gap in [*known["modality_gap"].items()][:MAX_BARS]:
            near = known["alignment"].get(pair)
            name = own + pair.replace("+", " + ")
            lines.append([name, f"{gap:.3f}", "–" if near is None else f"{near:.3f}"])
    lead = (
        "The maps show the features of some samples, normalised to length 1. The modality gap is the "
        "distance between the mean features of two modalities, from 0 to 2 (Liang et al., 2022). The "
        "alignment is the mean squared distance between two modalities' features of the same sample, from 0 "
        "to 4. Points that are close in a map have similar features. Long distances in a map mean little."
    )
    lost = ", ".join(str(run.folder / FEATURES) for run in runs if not run.features)
    notes = [f"<p class=note>No map: {escape(lost)} is missing or damaged.</p>"] if lost else []
    gaps = table_of(["modalities", "modality gap", "alignment"], lines)
    if len(lines) > MAX_LINES:
        pairs = sum(len(run.metrics["imbalance"]["modality_gap"]) for run in runs)
        few = f"{len(lines):,} of " * (len(lines) < pairs)
        gaps = folded(f"Modality gap and alignment of {few}{pairs:,} pairs", gaps)
    parts = [*drawings, *notes, *([gaps] if lines else [])]
    return Section("Feature space", lead, parts) if parts else None


def _maps(run: Run, end: str, most: int) -> list[Drawing]:
    """Draw the features of all modalities of one size in one map: by modality, and by class."""
    found = run.features
    sizes = [f.shape[1] for f in found.of.values() if len(f)] if found else []
    if not found or not sizes:
        return []
    size = max(set(sizes), key=sizes.count)  # others do not fit into one map
    names = [m for m, f in found.of.items() if f.shape[1] == size]
    step = -(-2 * sum(len(found.of[m]) for m in names) // most)
    places, how = feature_map(np.concatenate([found.of[m][::step] for m in names]))
    rows = np.concatenate([found.rows[m][::step] for m in names])
    of = [m for m in names for _ in found.rows[m][::step]]
    frequent = np.bincount(run.truth[rows], minlength=len(run.classes)).argsort(kind="stable")[::-1]
    shown = sorted(frequent[: PALETTE - 1 if len(run.classes) > PALETTE else PALETTE].tolist())
    by_class = {c: f"c{i}" for i, c in enumerate(shown)}
    ids = run.table["id"].to_pylist()
    tooltips = [f"{ids[r]}: {run.classes[run.truth[r]]}, {m}" for r, m in zip(rows, of, strict=True)]
    at = [(float(x), float(y)) for x, y in places]
    legend = {run.classes[c]: colour for c, colour in by_class.items()}
    if len(run.classes) > PALETTE:
        legend["other classes"] = "muted"
    own = f": {run.name}" if end else ""
    return [
        charts.scatter_chart(
            f"map-modality{end}",
            f"{how} of the features, by modality{own}",
            [*zip(at, (look(run)[m][0] for m in of), tooltips, strict=True)],
            {m: look(run)[m][0] for m in names},
        ),
        charts.scatter_chart(
            f"map-class{end}",
            f"{how} of the features, by class{own}",
            [*zip(at, (by_class.get(run.truth[r], "muted") for r in rows), tooltips, strict=True)],
            legend,
        ),
    ]
