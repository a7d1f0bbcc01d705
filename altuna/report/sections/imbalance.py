"""Imbalance between modalities, and interference between the turns of a shared head."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from altuna.evaluation.imbalance import MAX_MODALITIES
from altuna.report import charts
from altuna.report.charts import Series
from altuna.report.drawing import Drawing
from altuna.report.frame import colours
from altuna.report.page import table_of
from altuna.report.runs import Run
from altuna.report.sections.section import Section, each, look


def imbalance(runs: Sequence[Run]) -> Section:
    """Return how much each modality contributes and how well it is trained."""
    header = ["", "accuracy alone", "Shapley value", "head gradient kept", "conflicting turns"]
    parts: list[Drawing | str] = []
    for run in runs:
        known, lines = run.metrics["imbalance"], []
        for m, metrics in run.metrics["modalities"].items():
            shares = [known[name].get(m) for name in ("shapley", "gradient_kept", "conflict")]
            alone = f"{metrics['accuracy']:.1%}" if metrics["n"] else "–"
            lines.append([m, alone, *("–" if s is None else f"{s:.1%}" for s in shares)])
        caption = (
            f"{run.name}: gap between the best and the worst modality {100 * known['gap']:.1f} points; "
            f"fused accuracy minus accuracy alone, minimum over the modalities: "
            f"{100 * known['fusion_gain']:+.1f} points"
        )
        parts.append(table_of(header, lines, caption))

    def shapley(run: Run) -> Drawing | None:
        values = run.metrics["imbalance"]["shapley"]
        bars = {m: (v, look(run)[m][0]) for m, v in values.items()}
        title = "Shapley value of each modality for the fused accuracy"
        return charts.bar_chart("shapley", title, bars) if len(bars) > 1 else None

    lead = (
        "The Shapley values divide the fused accuracy above chance among the modalities. Head gradient "
        "kept is the norm of the projected gradient divided by the norm before projection. Conflicting turns "
        "is the fraction of turns whose gradient has a negative inner product with the previous turn's "
        "gradient."
    )
    if any(len(run.modalities) > MAX_MODALITIES for run in runs):
        lead += f" Shapley values are computed for up to {MAX_MODALITIES} modalities only."
    return Section("Modality imbalance", lead, [*parts, *each(runs, shapley)])


def interference(runs: Sequence[Run]) -> Section | None:
    """Return how the turns on a shared head change each other's loss, with and without projection."""
    drawings = [*each(runs, _loss_changes), *each(runs, _gradient_norms)]
    if not drawings:
        return None
    if len(runs) > 1:
        shades = colours([run.name for run in runs])
        together = [Series(run.name, _mean_by_epoch(run), *shades[run.name]) for run in runs]
        title = "Change in the previous turn's loss, mean over all turns"
        drawings.insert(0, _change_chart("interference-together", title, [s for s in together if s.points]))
    lead = (
        "All turns update the same head. A value above zero means that a turn's update increases the "
        "previous turn's loss. Head gradient modification projects the gradient away from the features of "
        "earlier turns. To compare with training without this projection, train a second run with --set "
        "method.project=off, and run: altuna report RUN RUN."
    )
    return Section("Interference between turns", lead, drawings)


def _loss_changes(run: Run) -> Drawing | None:
    found = run.by_turn("train/interference")
    series = [Series(f"turn of {n}", p, *look(run).get(n, ("muted", True))) for n, p in found.items()]
    title = "Change in the previous turn's loss caused by each turn's update of the head"
    return _change_chart("interference", title, series) if series else None


def _change_chart(name: str, title: str, series: Sequence[Series]) -> Drawing:
    levels = {"no interference": 0.0}
    return charts.line_chart(name, title, series, "epoch", "change in loss", share=False, levels=levels)


def _gradient_norms(run: Run) -> Drawing | None:
    if not run.by_turn("train/interference"):  # nothing is projected
        return None
    before, after = run.by_turn("train/head_gradient"), run.by_turn("train/head_gradient_projected")
    series = [
        Series(f"{what}: {n}", found[n], look(run).get(n, ("muted", True))[0], dashed)
        for what, found, dashed in (("unmodified", before, True), ("projected", after, False))
        for n in found
    ]
    title = "Norm of the head's gradient, with and without projection"
    return charts.line_chart("gradient", title, series, "epoch", "norm", share=False) if series else None


def _mean_by_epoch(run: Run) -> list[tuple[float, float]]:
    values: dict[float, list[float]] = {}
    for points in run.by_turn("train/interference").values():
        for epoch, value in points:
            values.setdefault(epoch, []).append(value)
    return [(epoch, mean(some)) for epoch, some in values.items()]
