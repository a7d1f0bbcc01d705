"""A comparison as rows, Markdown and tables of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

Cell = Callable[[Mapping[str, Any]], str]
LONGEST_HEADING = 8
BUDGETS = {
    "updates": "as many encoder updates",
    "epochs": "as many epochs",
    "time": "as much training time as the reference's",
}


def rows(comparison: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of ``compare.csv``: one a method on a data set, two columns a figure."""
    results = comparison["results"]
    names = [*dict.fromkeys(name for result in results for name in result["figures"])]
    versus = ("reference", "samples", "mean", "low", "high", "p", "p_holm")
    header = ["data", "method", "seeds", "failed", *(f"{n} {part}" for n in names for part in ("mean", "sd"))]
    found: list[list[Any]] = [header + [f"versus {name}" for name in versus]]
    for result in results:
        row = [result["data"], result["method"], len(result["seeds"]), result["failed"]]
        for name in names:
            figure = result["figures"].get(name, {})
            row += [figure.get("mean"), figure.get("sd")]
        found.append(row + [(result["versus"] or {}).get(name) for name in versus])
    return found


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return ``compare.md``."""
    lines = ["# Comparison", "", said(comparison)]
    for data, results in by_data(comparison):
        columns = {**_accuracies(results), **_quality(), **_cost(), **_versus(comparison)}
        lines += ["", f"## {_plain(Path(data).name)}", "", *_table(["method", *columns])]
        for result in results:
            cells = [result["method"], *(cell(result) for cell in columns.values())]
            lines.append("| " + " | ".join(map(_plain, cells)) + " |")
    if ranking := comparison["ranking"]:
        lines += ["", "## Ranks", "", *_table(["method", "mean rank"])]
        lines += [f"| {_plain(m)} | {rank:.2f} |" for m, rank in ranking["mean_rank"].items()]
        lines += ["", ranked(ranking)]
    if remarks := notes(comparison):
        lines += ["", "## Remarks", "", *(f"- {_plain(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def terminal(comparison: Mapping[str, Any]) -> Iterator[Table | str]:
    """Yield what the terminal shows: the columns that most look at."""
    for data, results in by_data(comparison):
        quality = {name.removeprefix("macro-"): cell for name, cell in _quality().items()}
        seconds = {"s": _figure("seconds", 1, 0, sd=False)}
        columns = _accuracies(results, sd=False) | quality | seconds | _versus(comparison)
        table = Table(title=escape(Path(data).name), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("method", overflow="fold")
        for name in columns:
            table.add_column(Text("\n".join(wrap(name, LONGEST_HEADING))), justify="right", no_wrap=True)
        for result in results:
            style = "bold" if result["method"] == comparison["reference"] else None
            cells = [result["method"], *(cell(result).replace(" ± ", "±") for cell in columns.values())]
            table.add_row(*map(escape, cells), style=style)
        yield table
    yield escape(said(comparison))
    if ranking := comparison["ranking"]:
        table = Table("method", "mean rank", title="ranks")
        for method, rank in ranking["mean_rank"].items():
            table.add_row(escape(method), f"{rank:.2f}")
        yield table
        yield ranked(ranking)
    yield from map(escape, notes(comparison))


def by_data(comparison: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield each data set's results, the best method first."""
    for data, results in groupby(comparison["results"], lambda result: result["data"]):
        yield data, sorted(results, key=lambda result: -_mean(result, "accuracy", -1.0))


def said(comparison: Mapping[str, Any]) -> str:
    """Say what the figures are."""
    seeds = f"{comparison['seeds']} seed{'s' if comparison['seeds'] > 1 else ''}"
    return (
        f"Test accuracy in %, mean ± standard deviation over {seeds}; every method has "
        f"{BUDGETS[comparison['budget']]}. vs: difference from {comparison['reference']} in points; p: of a "
        "paired bootstrap over samples and seeds, Holm-corrected for the number of methods."
    )


def ranked(ranking: Mapping[str, Any]) -> str:
    """Say what the ranks mean."""
    return (
        f"Over {len(ranking['data'])} data sets; mean ranks that are less than "
        f"{ranking['critical_difference']:.2f} apart do not differ (Nemenyi, level {ranking['level']}); "
        f"Friedman: p = {ranking['friedman']['p']:.3f}."
    )


def notes(comparison: Mapping[str, Any]) -> list[str]:
    """Say what failed, was killed, or was left out."""
    runs = comparison["runs"]
    found = [f"failed: {run['folder']}: {run['reason']}" for run in runs if run["reason"]]
    found += [f"killed once, resumed: {run['folder']}" for run in runs if run["killed_once"]]
    return found + [f"left out: {o['method']} on {o['data']}: {o['reason']}" for o in comparison["left_out"]]


def _accuracies(results: Sequence[Mapping[str, Any]], *, sd: bool = True) -> dict[str, Cell]:
    """Return the columns of the fused accuracy and of each modality's (with its ``sd``)."""
    end = "/accuracy"
    names = dict.fromkeys(n for r in results for n in r["figures"] if n.endswith(end) and n.count("/") == 1)
    return {
        "accuracy": _figure("accuracy", 100, 1),
        **{name.removesuffix(end): _figure(name, 100, 1, sd=sd) for name in names},
    }


def _quality() -> dict[str, Cell]:
    return {
        "macro-F1": _figure("macro_f1", 1, 3, sd=False),
        "NLL": _figure("nll", 1, 3, sd=False),
        "ECE": _figure("ece", 1, 3, sd=False),
    }


def _cost() -> dict[str, Cell]:
    return {
        "gap": _figure("imbalance/gap", 100, 1),
        "laziness": _figure("imbalance/laziness", 100, 1),
        "epoch": _figure("best_epoch", 1, 0, sd=False),
        "updates": _figure("updates", 1, 0, sd=False),
        "seconds": _figure("seconds", 1, 0),
        "memory MB": _figure("peak_memory", 1e-6, 0, sd=False),
        "MFLOP a batch": _figure("flops_per_batch", 1e-6, 1, sd=False),
        "parameters": _figure("parameters", 1, 0, sd=False),
    }


def _versus(comparison: Mapping[str, Any]) -> dict[str, Cell]:
    def difference(result: Mapping[str, Any]) -> str:
        return f"{100 * result['versus']['mean']:+.1f}" if result["versus"] else ""

    def p(result: Mapping[str, Any]) -> str:
        return f"{result['versus']['p_holm']:.3f}" if result["versus"] else ""

    return {f"vs {comparison['reference']}": difference, "p": p}


def _figure(name: str, times: float, digits: int, *, sd: bool = True) -> Cell:
    def cell(result: Mapping[str, Any]) -> str:
        figure = result["figures"].get(name)
        if figure is None:
            return ""
        text = f"{times * figure['mean']:,.{digits}f}"
        return f"{text} ± {times * figure['sd']:.{digits}f}" if sd and figure["sd"] is not None else text

    return cell


def _mean(result: Mapping[str, Any], name: str, otherwise: float) -> float:
    return float(result["figures"].get(name, {"mean": otherwise})["mean"])


def _table(header: Sequence[str]) -> list[str]:
    return [
        "| " + " | ".join(map(_plain, header)) + " |",
        "|---|" + "---:|" * (len(header) - 1),
    ]


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, within a table too."""
    return " ".join(text.replace("|", "\\|").split())
