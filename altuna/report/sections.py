"""The parts of a report. Each takes any number of runs: one is shown in full, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altuna.data.store import readable
from altuna.evaluation.feature_map import feature_map
from altuna.evaluation.features import FILE as FEATURES
from altuna.evaluation.imbalance import MOST_MODALITIES
from altuna.evaluation.robustness import subsets
from altuna.report import charts
from altuna.report.charts import Series, colours
from altuna.report.drawing import PALETTE, Drawing
from altuna.report.page import anchor, folded, table_of
from altuna.report.runs import Run

MOST_CLASSES = 20  # within one figure
MOST_MATRICES = 6  # confusion matrices and reliability diagrams of one run
MOST_DOTS = 1600  # of all feature maps together
MOST_BARS = 63  # as many as six modalities have subsets; of more only some are measured
MOST_SPREADS = 160  # boxes of one figure
MOST_LINES = 15  # of a table that is open at once
FUSED = "fused"
HEADER = ["", "accuracy", "macro-F1", "NLL", "ECE", "samples"]


@dataclass(frozen=True)
class Section:
    """A part: a question, what one should know to read the answer (plain texts), figures and tables."""

    title: str
    lead: str
    parts: Sequence[Drawing | str]


def sections(runs: Sequence[Run]) -> list[Section]:
    """Return all parts that have something to show."""
    makers: list[Callable[[Sequence[Run]], Section | None]] = [
        headline,
        ablation,
        learning,
        balance,
        interference,
        trust,
        missing,
        reliability,
        confusion,
        geometry,
        material,
        cost,
    ]
    return [section for make in makers if (section := make(runs)) is not None]


def look(run: Run) -> dict[str, tuple[str, bool]]:
    """Return the colour of each modality's and of the fusion's lines, and whether they are dashed."""
    return {FUSED: ("ink", False), **colours(run.modalities)}


def each(runs: Sequence[Run], draw: Callable[[Run], Drawing | None]) -> Iterator[Drawing]:
    """Yield a figure a run; beside others it says whose it is."""
    for i, run in enumerate(runs):
        drawing = draw(run)
        if drawing and len(runs) > 1:
            drawing.name = f"{drawing.name}-{i + 1}-{anchor(run.name)}"
            drawing.title = f"{drawing.title}: {run.name}"
        if drawing:
            yield drawing


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
            lines += [_figures(f"{m} alone", f, f["n"]) for m, f in run.metrics["modalities"].items()]
        strong.append(f"{own}fused ({chosen.replace('_', ' ')})")
        lines.append(_figures(strong[-1], run.metrics["fused"], n))
        lines.append([f"{own}most frequent class", f"{run.majority:.1%}", *("–",) * 3, f"{n:,}"])
        rules = run.metrics["fusion"]["rules"]
        others += [
            _figures(f"{own}fused ({rule.replace('_', ' ')})", f, n)
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


def _figures(name: str, figures: dict[str, Any], n: int) -> list[str]:
    shares = [f"{figures['accuracy']:.1%}"] if n else ["–"]
    return [name, *shares, *(f"{figures[f]:.3f}" if n else "–" for f in ("macro_f1", "nll", "ece")), f"{n:,}"]


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


def learning(runs: Sequence[Run]) -> Section:
    """Tell how accuracy and losses went."""

    def accuracy(run: Run) -> Drawing:
        found = run.by_turn("val/accuracy")
        series = [Series(n, points, *look(run).get(n, ("muted", True))) for n, points in found.items()]
        best = run.metrics["cost"]["best_epoch"]
        chosen = (float(best + 1), run.history[best]["val/accuracy/fused"])
        title = "Validation accuracy by epoch; the ring marks the epoch that was chosen"
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


def trust(runs: Sequence[Run]) -> Section | None:
    """Tell whom the model trusts, by class."""
    several = [run for run in runs if len(run.modalities) > 1]

    def weights(run: Run) -> Drawing:
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
    return (
        Section("Whom does the model trust, and when?", lead, [*each(several, weights)]) if several else None
    )


def missing(runs: Sequence[Run]) -> Section | None:
    """Tell what is left if modalities are gone."""
    several = [run for run in runs if len(run.modalities) > 1]
    if not several:
        return None
    shades = colours([run.name for run in several])
    series = []
    for run in several:
        found = {float(rate): [f["accuracy"] for f in each] for rate, each in run.metrics["rates"].items()}
        colour, dashed = shades[run.name] if len(several) > 1 else ("ink", False)
        points = [(rate, mean(values)) for rate, values in found.items()]
        spread = [stdev(values) if len(values) > 1 else 0.0 for values in found.values()]
        series.append(Series(run.name if len(several) > 1 else FUSED, points, colour, dashed, spread))
    levels = {"most frequent class": several[0].majority} if len({r.majority for r in several}) == 1 else {}
    title = "Accuracy by the share of cells that are taken away at random"
    curve = charts.line_chart(
        "missing", title, series, "share missing", "accuracy", levels=levels, shares=True
    )

    def by_subset(run: Run) -> Drawing:
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
            _figures(_subset(s, run.modalities), known["+".join(s)], known["+".join(s)]["n"])
            for s in subsets(run.modalities)
            if "+".join(s) in known
        ]
        own = f" of {run.name}" if len(several) > 1 else ""
        table = table_of(HEADER, lines, f"With nothing but some modalities{own}")
        tables.append(folded(f"Figures and ECE of each subset{own}", table))
    lead = "An absent modality just has no say. The band is a standard deviation over masks."
    return Section("What if modalities are gone?", lead, [curve, *each(several, by_subset), *tables])


def _subset(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """Name a subset by what is there or, if that is shorter, by what is not."""
    absent = [m for m in modalities if m not in subset]
    if len(subset) <= max(len(absent), 2):
        return " + ".join(subset)
    return f"all but {', '.join(absent)}" if absent else "all"


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


def geometry(runs: Sequence[Run]) -> Section | None:
    """Tell where features lie."""
    drawings: list[Drawing | str] = []
    for i, run in enumerate(runs):
        end = f"-{i + 1}-{anchor(run.name)}" if len(runs) > 1 else ""
        drawings += _maps(run, end, MOST_DOTS // len(runs))
    lines = []
    for run in runs:
        known = run.metrics["imbalance"]
        own = f"{run.name}: " if len(runs) > 1 else ""
        for pair, gap in [*known["modality_gap"].items()][:MOST_BARS]:
            near = known["alignment"].get(pair)
            said = own + pair.replace("+", " + ")
            lines.append([said, f"{gap:.3f}", "–" if near is None else f"{near:.3f}"])
    lead = (
        "Features of some samples, on the unit sphere. Modality gap: distance of two modalities' means, from "
        "0 to 2 (Liang et al., 2022). Alignment: mean squared distance of one sample's features (0 to 4). In "
        "a map near points are alike; distances between far ones mean little."
    )
    lost = ", ".join(str(run.folder / FEATURES) for run in runs if not run.features)
    notes = [f"<p class=note>No map: {escape(lost)} is missing or damaged.</p>"] if lost else []
    gaps = table_of(["modalities", "modality gap", "alignment"], lines)
    if len(lines) > MOST_LINES:
        gaps = folded(f"Modality gap and alignment of {len(lines):,} pairs", gaps)
    parts = [*drawings, *notes, *([gaps] if lines else [])]
    return Section("Where do the features lie?", lead, parts) if parts else None


def _maps(run: Run, end: str, most: int) -> list[Drawing]:
    """Draw the features of all modalities of one size in one map: by modality, and by class."""
    features = run.features
    sizes = [f.shape[1] for f in features.of.values() if len(f)] if features else []
    if not features or not sizes:
        return []
    size = max(set(sizes), key=sizes.count)  # others cannot be put on one map
    names = [m for m, f in features.of.items() if f.shape[1] == size]
    step = -(-2 * sum(len(features.of[m]) for m in names) // most)
    places, how = feature_map(np.concatenate([features.of[m][::step] for m in names]))
    rows = np.concatenate([features.rows[m][::step] for m in names])
    of = [m for m in names for _ in features.rows[m][::step]]
    frequent = np.bincount(run.truth[rows], minlength=len(run.classes)).argsort(kind="stable")[::-1]
    shown = sorted(frequent[: PALETTE - 1 if len(run.classes) > PALETTE else PALETTE].tolist())
    by_class = {c: f"c{i}" for i, c in enumerate(shown)}
    ids = run.table["id"].to_pylist()
    said = [f"{ids[r]}: {run.classes[run.truth[r]]}, {m}" for r, m in zip(rows, of, strict=True)]
    at = [(float(x), float(y)) for x, y in places]
    legend = {run.classes[c]: colour for c, colour in by_class.items()}
    if len(run.classes) > PALETTE:
        legend["other classes"] = "muted"
    own = f": {run.name}" if end else ""
    return [
        charts.scatter_chart(
            f"map-modality{end}",
            f"{how} of the features, by modality{own}",
            [*zip(at, (look(run)[m][0] for m in of), said, strict=True)],
            {m: look(run)[m][0] for m in names},
        ),
        charts.scatter_chart(
            f"map-class{end}",
            f"{how} of the features, by class{own}",
            [*zip(at, (by_class.get(run.truth[r], "muted") for r in rows), said, strict=True)],
            legend,
        ),
    ]


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
        "peak memory": lambda c: readable(c["peak_memory"]),
    }
    lines = [[name, *(say(run.metrics["cost"]) for run in runs)] for name, say in shown.items()]
    header = ["", *(run.name for run in runs)]
    parts: list[Drawing | str] = [table_of(header, lines)]
    if len(runs) > 1:
        shades = colours([run.name for run in runs])
        bars = {run.name: (run.metrics["cost"]["seconds"], shades[run.name][0]) for run in runs}
        parts.append(charts.bar_chart("seconds", "Training time in seconds", bars, share=False))
    return Section("What did it cost?", "Time depends on the machine and on what else it did.", parts)
