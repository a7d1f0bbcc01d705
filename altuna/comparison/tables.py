"""Tables of a comparison: CSV, Markdown and terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from textwrap import wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from altuna.text import _plain, grouped, markdown_table

Cell = Callable[[Mapping[str, Any]], str]

LONGEST_HEADING = 8

GAP = 2  # between the terminal's columns

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
        rows = ([_method(r, results), *(cell(r) for cell in columns.values())] for r in results)
        lines += ["", f"## {_plain(data)}", "", *markdown_table(["method", *columns], rows)]
    if ranking := comparison["ranking"]:
        rows = ([method, f"{rank:.2f}"] for method, rank in ranking["mean_rank"].items())
        lines += ["", "## Ranks", "", *markdown_table(["method", "mean rank"], rows), "", ranked(ranking)]
    if remarks := notes(comparison):
        lines += ["", "## Remarks", "", *(f"- {_plain(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def terminal(comparison: Mapping[str, Any], width: int = 80) -> Iterator[Table | str]:
    """Yield what the terminal shows: the columns that most look at, as many as its width has room for."""
    for data, results in by_data(comparison):
        columns: dict[str, Cell] = {
            "method": partial(_method, results=results),
            **_accuracies(results, sd=False),
            **{name.removeprefix("macro-"): cell for name, cell in _quality(sd=False).items()},
            "s": _figure("seconds", 1, 0, sd=False),
            **_versus(comparison),
        }
        texts = {
            name: [*wrap(name, LONGEST_HEADING), *(cell(r).replace(" ± ", "±") for r in results)]
            for name, cell in columns.items()
        }
        least = ["method", "accuracy", *_versus(comparison)]
        for name in [n for n in reversed(columns) if n not in least]:
            if sum(GAP + max(map(len, lines)) for lines in texts.values()) > width - 1:
                del texts[name]
        table = Table(title=escape(data), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name, lines in texts.items():
            head = Text("\n".join(lines[: -len(results)]))
            table.add_column(head, justify="left" if name == "method" else "right", no_wrap=True)
        for i, result in enumerate(results, -len(results)):
            style = "bold" if result["method"] == comparison["reference"] else None
            table.add_row(*(escape(lines[i]) for lines in texts.values()), style=style)
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
    """Yield each data set's name and results, the best method first, those tested on fewer samples last."""
    for name, results in grouped(comparison["results"]):
        ordered = sorted(results, key=lambda one: (not is_whole(one, results), -_mean(one, "accuracy", -1.0)))
        yield name, ordered


def is_whole(result: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a method was tested on as many samples as any of ``results`` on the same data."""
    others = (_mean(one, "samples", 0.0) for one in results if one["data"] == result["data"])
    return _mean(result, "samples", 0.0) == max(others)


def _method(result: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    """Return a method's name, and on how many samples it was tested if not on all."""
    name = str(result["method"])
    if not result["figures"] or is_whole(result, results):
        return name
    most = max(_mean(one, "samples", 0.0) for one in results)
    return f"{name} ({_mean(result, 'samples', 0.0):,.0f} of {most:,.0f} samples)"


def said(comparison: Mapping[str, Any]) -> str:
    """Say what the figures are."""
    several = comparison["seeds"] > 1
    splits = {result["split"] for result in comparison["results"]} - {None, "test"}
    where = "test split" + " (or, where there is none, validation split)" * bool(splits)
    return (
        f"Accuracy in % on the {where}"
        + (f", mean ± standard deviation over {comparison['seeds']} seeds" if several else ", one seed")
        + f"; every method has {BUDGETS[comparison['budget']]}. "
        + "Without a test split the figures flatter: the same samples chose epochs and temperatures. "
        * bool(splits)
        + f"vs: difference from {comparison['reference']} in points; p: of a paired bootstrap over samples"
        + (" and seeds" if several else " (one seed: it compares two trained networks, not two methods)")
        + ", Holm-corrected for the number of methods."
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
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in comparison["left_out"]:
        reasons.setdefault((one["data"], one["reason"]), []).append(one["method"])
    return found + [
        f"left out on {data}: {', '.join(methods)}: {reason}" for (data, reason), methods in reasons.items()
    ]


def _accuracies(results: Sequence[Mapping[str, Any]], *, sd: bool = True) -> dict[str, Cell]:
    """Return the columns of the fused accuracy and of each modality's (with its ``sd``)."""
    end = "/accuracy"
    ordered = sorted(
        results, key=lambda r: -len(r["figures"])
    )  # those with all modalities have the data's order
    names = dict.fromkeys(n for r in ordered for n in r["figures"] if n.endswith(end) and n.count("/") == 1)
    return {
        "accuracy": _figure("accuracy", 100, 1),
        **{name.removesuffix(end): _figure(name, 100, 1, sd=sd) for name in names},
    }


def _quality(*, sd: bool = True) -> dict[str, Cell]:
    return {
        "macro-F1": _figure("macro_f1", 1, 3, sd=sd),
        "NLL": _figure("nll", 1, 3, sd=sd),
        "ECE": _figure("ece", 1, 3, sd=sd),
    }


def _cost() -> dict[str, Cell]:
    return {
        "calibrated": _figure("fusion/calibrated_product/accuracy", 100, 1),
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
