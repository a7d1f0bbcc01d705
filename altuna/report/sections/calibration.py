"""Calibration of the confidence, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from altuna.report import charts
from altuna.report.drawing import Drawing
from altuna.report.page import anchor
from altuna.report.runs import Run
from altuna.report.sections.section import MAX_CLASSES, Section, each, look

MAX_PLOTS = 6  # of one run, for the fusion and its first modalities


def calibration(runs: Sequence[Run]) -> Section:
    """Return a reliability diagram of the fusion and, of a single run, of its modalities."""
    drawings = []
    for i, run in enumerate(runs):
        own, end = (f": {run.name}", f"-{i + 1}-{anchor(run.name)}") if len(runs) > 1 else ("", "")
        correct, confidence = run.predicted == run.truth, run.numbers("confidence")
        ece = run.metrics["fused"]["ece"]
        drawings.append(
            charts.reliability_chart(f"reliability{end}", f"Fused{own}", confidence, correct, "muted", ece)
        )
        for j, m in enumerate(_plotted(runs)):
            here = run.present(m)
            if here.any():
                correct, confidence = (
                    (run.predicted_by(m) == run.truth)[here],
                    run.numbers(f"confidence_{m}")[here],
                )
                ece = run.metrics["modalities"][m]["ece"]
                name = f"reliability-modality-{j + 1}-{anchor(m)}"
                title, colour = f"{m} alone", look(run)[m][0]
                drawings.append(charts.reliability_chart(name, title, confidence, correct, colour, ece))
    lead = (
        "On the diagonal, the model is correct in 80% of the predictions with 80% confidence. If bars are "
        "below the diagonal, the model is overconfident; if they are above, it is underconfident. Darker "
        "bars have more samples. ECE (expected calibration error) is the mean distance from the diagonal "
        "over 15 bins, while the plots have 10 bins."
    )
    return Section("Calibration", lead + _omitted(runs), drawings)


def confusion(runs: Sequence[Run]) -> Section:
    """Return the confusion matrix of the fusion and, of a single run, of its modalities."""

    def fused(run: Run) -> Drawing:
        return _matrix(run, "confusion", "Fused", run.predicted)

    drawings = [*each(runs, fused)]
    for i, m in enumerate(_plotted(runs)):
        if runs[0].present(m).any():
            name = f"confusion-modality-{i + 1}-{anchor(m)}"
            drawings.append(_matrix(runs[0], name, f"{m} alone", runs[0].predicted_by(m)))
    lead = (
        "Each row is a true class, and each column is a predicted class. Correct predictions are blue and "
        "errors are orange. Darker cells have a larger share of their row."
    )
    return Section("Confusion matrix", lead + _omitted(runs), drawings)


def _plotted(runs: Sequence[Run]) -> Sequence[str]:
    """Return the modalities with a plot of their own: the first ones of a single run with several."""
    several = len(runs) == 1 and len(runs[0].modalities) > 1
    return runs[0].modalities[: MAX_PLOTS - 1] if several else ()


def _omitted(runs: Sequence[Run]) -> str:
    """Return a remark if not every modality of a run is plotted."""
    there, shown = len(runs[0].modalities), len(_plotted(runs))
    return f" Shown are the first {shown} of {there} modalities." * (0 < shown < there)


def _matrix(run: Run, name: str, title: str, predicted: NDArray[np.int64]) -> Drawing:
    """Draw a confusion matrix; of many classes, those with the most errors."""
    counts = np.zeros((len(run.classes),) * 2, np.int64)
    here = (predicted >= 0) & (run.truth >= 0)
    np.add.at(counts, (run.truth[here], predicted[here]), 1)
    classes = np.arange(len(counts))
    if len(counts) > MAX_CLASSES:
        wrong = counts - np.diag(counts.diagonal())
        most = (wrong.sum(0) + wrong.sum(1)).argsort(kind="stable")[::-1]
        classes = np.sort(most[:MAX_CLASSES])
        title += f"; the {MAX_CLASSES} most confused of {len(counts)} classes"
    names = [run.classes[c] for c in classes]
    return charts.matrix_chart(name, title, counts[np.ix_(classes, classes)], names)
