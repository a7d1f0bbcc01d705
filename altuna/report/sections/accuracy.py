"""How good the answers are, which are taken for which, and whether their confidence can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from altuna.report import charts
from altuna.report.drawing import Drawing
from altuna.report.page import anchor, folded, table_of
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

MOST_MATRICES = 6  # confusion matrices and reliability diagrams of one run


def headline(runs: Sequence[Run]) -> Section:
    """Tell how good the modalities are, and all together."""

    def bars(run: Run) -> Drawing:
        found = {
            f"{m} alone": (f["accuracy"], look(run)[m][0])
            for m, f in run.metrics["modalities"].items()
            if f["n"]
        }
        fused = (run.metrics["fused"]["accuracy"], "ink")
        level = ("most frequent class", run.majority)
        shown = {FUSED: fused, **dict([*found.items()][:MOST_BARS])}
        return charts.bar_chart("accuracy", "Accuracy", shown, level=level)

    several = len(runs) > 1
    lines, strong, others = [], [], []
    for run in runs:
        own = f"{run.name}: " if several else ""
        chosen, n = run.metrics["fusion"]["rule"], run.metrics["n"]
        if not several:
            lines += [figures_of(f"{m} alone", f, f["n"]) for m, f in run.metrics["modalities"].items()]
        strong.append(f"{own}fused ({chosen.replace('_', ' ')})")
        lines.append(figures_of(strong[-1], run.metrics["fused"], n))
        lines.append([f"{own}most frequent class", f"{run.majority:.1%}", *("–",) * 3, f"{n:,}"])
        rules = run.metrics["fusion"]["rules"]
        others += [
            figures_of(f"{own}fused ({rule.replace('_', ' ')})", f, n)
            for rule, f in rules.items()
            if rule != chosen
        ]
    more = folded("Other rules of fusion", table_of(HEADER, others))
    lead = (
        "Each modality's figures are over the samples that have it. Fused answers weigh all modalities that "
        "a sample has."
    )
    return Section(
        "How good is each modality, and all together?",
        lead,
        [table_of(HEADER, lines, strong=strong), more, *each(runs, bars)],
    )


def ablation(runs: Sequence[Run]) -> Section | None:
    """Set the parts of MLA against each other, as far as the runs differ in them."""
    if len(runs) == 1:
        return None
    rules = ("mean", "entropy", "product", "calibrated_product", "joint")
    there = [r for r in rules if any(r in run.metrics["fusion"]["rules"] for run in runs)]
    said = {"mean": "equal weights", "entropy": "entropy (the paper's)", "product": "product"}
    fused = (f"fused by {said.get(r, r.replace('_', ' '))}" for r in there)
    header = ["", "head gradient modification", *fused, "gain", "gap"]
    lines = []
    for run in runs:
        modifies = bool(run.by_turn("train/head_gradient"))
        off = run.config["method"].get("project") == "off"
        accuracies = [run.metrics["fusion"]["rules"].get(r, {}).get("accuracy") for r in there]
        imbalance = run.metrics["imbalance"]
        lines.append(
            [
                run.name,
                "–" if not modifies else "off" if off else "on",
                *("–" if a is None else f"{a:.1%}" for a in accuracies),
                *(f"{100 * imbalance[figure]:+.1f}" for figure in ("fusion_gain", "gap")),
            ]
        )
    lead = (
        "Equal weights switch dynamic fusion off; --set method.project=off trains without head gradient "
        "modification. Gain: the least by which fusion is above a modality alone, on the samples that have "
        "it; gap: best above worst modality; both in points. One training each: differences of a point or "
        "two are within the noise of a seed."
    )
    caption = " and ".join(dict.fromkeys(f"{run.metrics['split']} accuracy" for run in runs)).capitalize()
    return Section("What does each ingredient add?", lead, [table_of(header, lines, caption)])


def reliability(runs: Sequence[Run]) -> Section:
    """Tell whether the confidence can be believed."""
    drawings = []
    for i, run in enumerate(runs):
        own, end = (f": {run.name}", f"-{i + 1}-{anchor(run.name)}") if len(runs) > 1 else ("", "")
        fused = run.predicted == run.truth
        ece = run.metrics["fused"]["ece"]
        drawings.append(
            charts.reliability_chart(
                f"reliability{end}", f"Fused{own}", run.numbers("confidence"), fused, "muted", ece
            )
        )
        for j, m in enumerate(_with_figures(runs)):
            here = run.present(m)
            if here.any():
                right, sure = (run.said(m) == run.truth)[here], run.numbers(f"confidence_{m}")[here]
                ece = run.metrics["modalities"][m]["ece"]
                name = f"reliability-modality-{j + 1}-{anchor(m)}"
                drawings.append(
                    charts.reliability_chart(name, f"{m} alone", sure, right, look(run)[m][0], ece)
                )
    lead = (
        "On the diagonal, 80% confidence is right in 80% of the cases. Bars below it: too sure; above: too "
        "modest. A bar of stronger colour holds more samples. ECE is the mean distance, over 15 bins; here "
        "are 10."
    )
    return Section("Can I believe the confidence?", lead + _of_few(runs), drawings)


def confusion(runs: Sequence[Run]) -> Section:
    """Tell which classes are taken for which."""

    def fused(run: Run) -> Drawing:
        return _matrix(run, "confusion", "Fused", run.predicted)

    drawings = [*each(runs, fused)]
    for i, m in enumerate(_with_figures(runs)):
        if runs[0].present(m).any():
            name = f"confusion-modality-{i + 1}-{anchor(m)}"
            drawings.append(_matrix(runs[0], name, f"{m} alone", runs[0].said(m)))
    lead = "A row is a true class: blue what was right, orange what it was taken for, stronger for more."
    return Section("What is taken for what?", lead + _of_few(runs), drawings)


def _with_figures(runs: Sequence[Run]) -> Sequence[str]:
    """Return the modalities with a figure of their own: of a single run the first, if it has several."""
    several = len(runs) == 1 and len(runs[0].modalities) > 1
    return runs[0].modalities[: MOST_MATRICES - 1] if several else ()


def _of_few(runs: Sequence[Run]) -> str:
    """Say that not every modality of a run has a figure."""
    there, shown = len(runs[0].modalities), len(_with_figures(runs))
    return f" Shown are the first {shown} of {there} modalities." * (0 < shown < there)


def _matrix(run: Run, name: str, title: str, said: NDArray[np.int64]) -> Drawing:
    """Draw a confusion matrix; of many classes those with the most mistakes."""
    counts = np.zeros((len(run.classes),) * 2, np.int64)
    here = (said >= 0) & (run.truth >= 0)
    np.add.at(counts, (run.truth[here], said[here]), 1)
    classes = np.arange(len(counts))
    if len(counts) > MOST_CLASSES:
        wrong = counts - np.diag(counts.diagonal())
        most = (wrong.sum(0) + wrong.sum(1)).argsort(kind="stable")[::-1]
        classes = np.sort(most[:MOST_CLASSES])
        title += f"; the {MOST_CLASSES} most confused of {len(counts)} classes"
    return charts.matrix_chart(
        name, title, counts[np.ix_(classes, classes)], [run.classes[c] for c in classes]
    )
