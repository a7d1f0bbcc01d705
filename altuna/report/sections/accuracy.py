"""Accuracy of the modalities and of their fusion, and of the parts of MLA."""

from __future__ import annotations

from collections.abc import Sequence

from altuna.report import charts
from altuna.report.drawing import Drawing
from altuna.report.page import folded, table_of
from altuna.report.runs import Run
from altuna.report.sections.section import FUSED, HEADER, MAX_BARS, Section, each, look, metrics_row

RULES = {  # of the ablation, with their headings
    "evidence": "evidence",
    "mean": "equal weights",
    "entropy": "entropy (as in the paper)",
    "product": "product",
    "calibrated_product": "calibrated product",
    "joint": "joint",
}


def accuracy(runs: Sequence[Run]) -> Section:
    """Return the metrics of each modality and of the fusion."""

    def bars(run: Run) -> Drawing:
        alone = {
            f"{m} alone": (metrics["accuracy"], look(run)[m][0])
            for m, metrics in run.metrics["modalities"].items()
            if metrics["n"]
        }
        shown = {FUSED: (run.metrics["fused"]["accuracy"], "ink"), **dict([*alone.items()][:MAX_BARS])}
        return charts.bar_chart("accuracy", "Accuracy", shown, level=("most frequent class", run.majority))

    several = len(runs) > 1
    lines, strong, others = [], [], []
    for run in runs:
        own = f"{run.name}: " if several else ""
        chosen, n = run.metrics["fusion"]["rule"], run.metrics["n"]
        if not several:
            lines += [metrics_row(f"{m} alone", of, of["n"]) for m, of in run.metrics["modalities"].items()]
        strong.append(f"{own}fused ({chosen.replace('_', ' ')})")
        lines.append(metrics_row(strong[-1], run.metrics["fused"], n))
        lines.append([f"{own}most frequent class", f"{run.majority:.1%}", *("–",) * 3, f"{n:,}"])
        others += [
            metrics_row(f"{own}fused ({rule.replace('_', ' ')})", metrics, n)
            for rule, metrics in run.metrics["fusion"]["rules"].items()
            if rule != chosen
        ]
    more = folded("Other fusion rules", table_of(HEADER, others))
    lead = (
        "The metrics of a modality alone are for the samples that have this modality. A fused prediction "
        "combines all modalities that a sample has."
    )
    return Section("Accuracy", lead, [table_of(HEADER, lines, strong=strong), more, *each(runs, bars)])


def ablation(runs: Sequence[Run]) -> Section | None:
    """Return the accuracy with and without the parts of MLA, as far as the runs differ in them."""
    if len(runs) == 1:
        return None
    there = {
        r: title for r, title in RULES.items() if any(r in run.metrics["fusion"]["rules"] for run in runs)
    }
    header = ["", "head gradient modification", *(f"fused by {title}" for title in there.values())]
    lines = []
    for run in runs:
        modifies = bool(run.by_turn("train/head_gradient"))
        off = run.config["method"].get("project") == "off"
        accuracies = [run.metrics["fusion"]["rules"].get(r, {}).get("accuracy") for r in there]
        known = run.metrics["imbalance"]
        lines.append(
            [
                run.name,
                "–" if not modifies else "off" if off else "on",
                *("–" if a is None else f"{a:.1%}" for a in accuracies),
                *(f"{100 * known[metric]:+.1f}" for metric in ("fusion_gain", "gap")),
            ]
        )
    lead = (
        "Fusion with equal weights shows the model without dynamic fusion. --set method.project=off trains "
        "without head gradient modification. The gain is the fused accuracy minus the accuracy of a "
        "modality alone, on the samples that have the modality (minimum over the modalities). The gap is "
        "the accuracy of the best modality minus that of the worst. Gain and gap are in percentage points. "
        "Each row is one training, so differences of one or two points may be due to the seed."
    )
    caption = " and ".join(dict.fromkeys(f"{run.metrics['split']} accuracy" for run in runs)).capitalize()
    return Section("Ablation", lead, [table_of([*header, "gain", "gap"], lines, caption)])
