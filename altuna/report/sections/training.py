"""How modalities learnt, whether one is lazy, what turns did to each other, and what it all cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from statistics import mean
from typing import Any

from altuna.evaluation.imbalance import MOST_MODALITIES
from altuna.report import charts
from altuna.report.charts import Series, colours
from altuna.report.drawing import Drawing
from altuna.report.page import table_of
from altuna.report.runs import Run
from altuna.report.sections.section import Section, each, look
from altuna.text import readable_bytes


def learning(runs: Sequence[Run]) -> Section:
    """Tell how accuracy and losses went."""

    def accuracy(run: Run) -> Drawing:
        found = run.by_turn("val/accuracy")
        series = [Series(n, points, *look(run).get(n, ("muted", True))) for n, points in found.items()]
        best = run.metrics["cost"]["best_epoch"]
        chosen = (float(best + 1), run.history[best]["val/accuracy/fused"])
        title = "Validation accuracy by epoch; the ring marks the chosen epoch, that of the lowest NLL"
        return charts.line_chart("learning", title, series, "epoch", "accuracy", chosen=chosen)

    def losses(run: Run) -> Drawing:
        found = run.by_turn("train/loss")
        shades = colours([*dict.fromkeys([*run.modalities, *found])])  # of modalities as everywhere
        series = [Series(n, points, *shades[n]) for n, points in found.items()]
        title = "Training loss of each turn, by epoch"
        return charts.line_chart("turns", title, series, "epoch", "loss", share=False)

    lead = (
        "A modality that stands still while another climbs is lazy; one whose loss falls while its accuracy "
        "does not, overfits."
    )
    parts = [d for pair in zip(each(runs, accuracy), each(runs, losses), strict=True) for d in pair]
    if len(runs) > 1:
        parts = [*_convergence(runs), *parts]
    return Section("How did each modality learn?", lead, parts)


def _convergence(runs: Sequence[Run]) -> Iterator[Drawing]:
    """Yield fused validation accuracy of all runs by epoch, by updates and by time."""
    shades = colours([run.name for run in runs])
    axes: dict[str, Callable[[Run], list[float]]] = {
        "epoch": lambda run: [row["epoch"] + 1 for row in run.history],
        "encoder updates": lambda run: [row["updates"] for row in run.history],
        "training seconds": lambda run: [*accumulate(row["seconds"] for row in run.history)],
    }
    for x, places in axes.items():
        series = [
            Series(
                run.name,
                [*zip(places(run), (row["val/accuracy/fused"] for row in run.history), strict=True)],
                *shades[run.name],
            )
            for run in runs
        ]
        name = f"convergence-{x.replace(' ', '-')}"
        yield charts.line_chart(name, f"Fused validation accuracy by {x}", series, x, "accuracy")


def balance(runs: Sequence[Run]) -> Section:
    """Tell whether a modality is lazy."""
    header = ["", "accuracy alone", "Shapley value", "head gradient kept", "turns in conflict"]
    parts: list[Drawing | str] = []
    for run in runs:
        known, lines = run.metrics["imbalance"], []
        for m, figures in run.metrics["modalities"].items():
            shares = [known[f].get(m) for f in ("shapley", "gradient_kept", "conflict")]
            alone = f"{figures['accuracy']:.1%}" if figures["n"] else "–"
            lines.append([m, alone, *("–" if s is None else f"{s:.1%}" for s in shares)])
        said = (
            f"{run.name}: gap {100 * known['gap']:.1f} points between the best and the worst modality; "
            f"fused against each alone, where it is there: at least {100 * known['fusion_gain']:+.1f}"
        )
        parts.append(table_of(header, lines, said))

    def shapley(run: Run) -> Drawing | None:
        values = run.metrics["imbalance"]["shapley"]
        bars = {m: (v, look(run)[m][0]) for m, v in values.items()}
        title = "Shapley value of each modality for the fused accuracy"
        return charts.bar_chart("shapley", title, bars) if len(bars) > 1 else None

    lead = (
        "The Shapley value shares the fused accuracy (above guessing) out among the modalities. Head "
        "gradient kept: what projection leaves of it. In conflict: turns whose gradient undoes some of the "
        "turn before."
    )
    if any(len(run.modalities) > MOST_MODALITIES for run in runs):
        lead += f" Shapley values take all subsets: too many of more than {MOST_MODALITIES} modalities."
    return Section("Is a modality lazy?", lead, [*parts, *each(runs, shapley)])


def interference(runs: Sequence[Run]) -> Section | None:
    """Tell what turns do to each other in a shared head, and what projection takes away of it."""

    def change(run: Run) -> Drawing | None:
        found = run.by_turn("train/interference")
        series = [Series(f"turn of {n}", p, *look(run).get(n, ("muted", True))) for n, p in found.items()]
        title = "Change of the previous turn's loss by each turn's step of the head"
        levels = {"no interference": 0.0}
        return (
            charts.line_chart(
                "interference", title, series, "epoch", "change of loss", share=False, levels=levels
            )
            if series
            else None
        )

    def norms(run: Run) -> Drawing | None:
        if not run.by_turn("train/interference"):  # nothing is projected away from anything
            return None
        before, after = run.by_turn("train/head_gradient"), run.by_turn("train/head_gradient_projected")
        series = [
            Series(f"{what}: {n}", found[n], look(run).get(n, ("muted", True))[0], dashed)
            for what, found, dashed in (("as it is", before, True), ("projected", after, False))
            for n in found
        ]
        title = "Norm of the head's gradient, with and without projection"
        return charts.line_chart("gradient", title, series, "epoch", "norm", share=False) if series else None

    drawings = [*each(runs, change), *each(runs, norms)]
    if not drawings:
        return None
    if len(runs) > 1:
        shades = colours([run.name for run in runs])
        together = [Series(run.name, _mean_by_epoch(run), *shades[run.name]) for run in runs]
        title = "Mean change of the previous turn's loss, over all turns"
        levels = {"no interference": 0.0}
        drawings.insert(
            0,
            charts.line_chart(
                "interference-together",
                title,
                [s for s in together if s.points],
                "epoch",
                "change of loss",
                share=False,
                levels=levels,
            ),
        )
    lead = (
        "Turns share a head. Above zero, a turn's step makes the turn before it worse. Head gradient "
        "modification projects the step away from the features of earlier turns. To see training without it, "
        "train a second run with --set method.project=off and put both side by side: altuna report RUN RUN."
    )
    return Section("Do turns undo each other?", lead, drawings)


def _mean_by_epoch(run: Run) -> list[tuple[float, float]]:
    values: dict[float, list[float]] = {}
    for points in run.by_turn("train/interference").values():
        for epoch, value in points:
            values.setdefault(epoch, []).append(value)
    return [(epoch, mean(some)) for epoch, some in values.items()]


def material(runs: Sequence[Run]) -> Section:
    """Tell what there was to learn from."""
    header = ["", "training samples", "share", "rarest class", "most frequent class"]
    parts: list[str] = []
    for run in runs:
        training, lines = run.metrics["training"], []
        for m, counts in training["classes"].items():
            total, order = sum(counts.values()), sorted(counts, key=lambda c: counts[c])
            ends = (
                [f"{charts.short(c)} ({counts[c]:,})" for c in (order[0], order[-1])] if order else ["–", "–"]
            )
            lines.append([m, f"{total:,}", f"{total / training['n']:.0%}", *ends])
        remarks = " ".join(f"{remark}." for remark in training["remarks"])
        parts.append(table_of(header, lines, f"{run.name}. {remarks}" if len(runs) > 1 else remarks))
    return Section("What was there to learn from?", "How many training samples have each modality.", parts)


def cost(runs: Sequence[Run]) -> Section:
    """Tell what the training cost."""
    shown: dict[str, Callable[[dict[str, Any]], str]] = {
        "training time": lambda c: f"{c['seconds']:,.0f} s",
        "epochs": lambda c: f"{c['epochs']:,}",
        "epoch chosen by validation": lambda c: f"{c['best_epoch'] + 1:,}",
        "encoder updates": lambda c: f"{c['updates']:,}",
        "parameters": lambda c: f"{c['parameters']:,}",
        "GFLOP a batch": lambda c: f"{c['flops_per_batch'] / 1e9:,.2f}",
        "peak memory": lambda c: readable_bytes(c["peak_memory"]),
    }
    lines = [[name, *(say(run.metrics["cost"]) for run in runs)] for name, say in shown.items()]
    header = ["", *(run.name for run in runs)]
    parts: list[Drawing | str] = [table_of(header, lines)]
    if len(runs) > 1:
        shades = colours([run.name for run in runs])
        bars = {run.name: (run.metrics["cost"]["seconds"], shades[run.name][0]) for run in runs}
        parts.append(charts.bar_chart("seconds", "Training time in seconds", bars, share=False))
    return Section("What did it cost?", "Time depends on the machine and on what else it did.", parts)
