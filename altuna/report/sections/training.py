"""Training curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from altuna.report import charts
from altuna.report.charts import Series
from altuna.report.drawing import Drawing
from altuna.report.frame import colours
from altuna.report.runs import Run
from altuna.report.sections.section import Section, each, look


def training_curves(runs: Sequence[Run]) -> Section:
    """Return validation accuracy and training losses by epoch."""

    def accuracy(run: Run) -> Drawing:
        found = run.by_turn("val/accuracy")
        series = [Series(n, points, *look(run).get(n, ("muted", True))) for n, points in found.items()]
        best = run.metrics["cost"]["best_epoch"]
        chosen = (float(best + 1), run.history[best]["val/accuracy/fused"])
        title = "Validation accuracy by epoch; ring: lowest validation NLL"
        return charts.line_chart("learning", title, series, "epoch", "accuracy", chosen=chosen)

    def losses(run: Run) -> Drawing:
        found = run.by_turn("train/loss")
        shades = colours(
            [*dict.fromkeys([*run.modalities, *found])]
        )  # modalities have the same colours everywhere
        series = [Series(n, points, *shades[n]) for n, points in found.items()]
        title = "Training loss of each turn by epoch"
        return charts.line_chart("turns", title, series, "epoch", "loss", share=False)

    lead = (
        "A modality is under-trained if its accuracy stays flat while the accuracy of another modality "
        "rises. A modality overfits if its training loss falls while its validation accuracy does not rise."
    )
    parts = [d for pair in zip(each(runs, accuracy), each(runs, losses), strict=True) for d in pair]
    if len(runs) > 1:
        parts = [*_convergence(runs), *parts]
    return Section("Training curves", lead, parts)


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
