"""Format a comparison: the rows of ``compare.csv``, the text of ``compare.md``, and cells for any table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from altuna.text import grouped, markdown_table, markdown_text

FEW_GROUPS = 10  # fewer tell little about other groups

Cell = Callable[[Mapping[str, Any]], str]

BUDGETS = {
    "updates": "the same number of encoder updates",
    "epochs": "the same number of epochs",
    "time": "the training time of the reference",
}


def rows(comparison: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of ``compare.csv``: one for each method and data set, two columns a metric."""
    results = comparison["results"]
    names = [*dict.fromkeys(name for result in results for name in result["metrics"])]
    versus = ("reference", "samples", "groups", "mean", "low", "high", "p", "p_holm", "detectable")
    header = ["data", "method", "seeds", "failed", *(f"{n} {part}" for n in names for part in ("mean", "sd"))]
    found: list[list[Any]] = [header + [f"versus {name}" for name in versus]]
    for result in results:
        row = [result["data"], result["method"], len(result["seeds"]), result["failed"]]
        for name in names:
            metric = result["metrics"].get(name, {})
            row += [metric.get("mean"), metric.get("sd")]
        found.append(row + [(result["versus"] or {}).get(name) for name in versus])
    return found


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return the text of ``compare.md``."""
    lines = ["# Comparison", "", legend(comparison)]
    for data, results in by_data(comparison):
        columns = {**_accuracies(results), **_quality(), **_cost(), **_versus(comparison)}
        rows = ([_method(r, results), *(cell(r) for cell in columns.values())] for r in results)
        lines += ["", f"## {markdown_text(data)}", "", *markdown_table(["method", *columns], rows)]
    if ranking := comparison["ranking"]:
        rows = ([name, f"{rank:.2f}"] for name, rank in ranking["mean_rank"].items())
        header = ["method", "mean rank"]
        lines += ["", "## Ranks", "", *markdown_table(header, rows), "", rank_legend(ranking)]
    if remarks := notes(comparison):
        lines += ["", "## Remarks", "", *(f"- {markdown_text(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def summary_columns(comparison: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Cell]:
    """Return the columns that most people look at, by heading; a cell is a function of a result."""
    return {
        "method": lambda result: _method(result, results),
        **_accuracies(results, sd=False),
        "NLL": _metric("nll", 1, 3, sd=False),
        "seconds": _metric("seconds", 1, 0, sd=False),
        **_versus(comparison),
    }


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
    if not result["metrics"] or is_whole(result, results):
        return name
    most = max(_mean(one, "samples", 0.0) for one in results)
    return f"{name} ({_mean(result, 'samples', 0.0):,.0f} of {most:,.0f} samples)"


def legend(comparison: Mapping[str, Any]) -> str:
    """Return what the metrics of a comparison mean, for people to read."""
    several = comparison["seeds"] > 1
    splits = {result["split"] for result in comparison["results"]} - {None, "test"}
    where = "test split" + " (or, where there is none, validation split)" * bool(splits)
    return (
        f"Accuracy in % on the {where}"
        + (f", mean ± standard deviation over {comparison['seeds']} seeds" if several else ", one seed")
        + f"; every method has {BUDGETS[comparison['budget']]}. "
        + "Without a test split the metrics are optimistic, because the same samples select checkpoints and "
        "temperatures. "
        * bool(splits)
        + f"vs {comparison['reference']}: difference in percentage points; p: test by groups of samples"
        + (" and by seeds" if several else " (one seed: it compares two trained networks, not two methods)")
        + ", Holm-corrected for the number of methods; detectable: the smallest true difference, in "
        "percentage points, that this test would have found with a probability of 80 % (before the "
        "correction)."
    )


def rank_legend(ranking: Mapping[str, Any]) -> str:
    """Return what the ranks mean, for people to read."""
    return (
        f"Over {len(ranking['data'])} data sets; mean ranks less than {ranking['critical_difference']:.2f} "
        f"apart do not differ significantly (Nemenyi test, level {ranking['level']}); "
        f"Friedman test: p = {ranking['friedman']['p']:.3f}."
    )


def notes(comparison: Mapping[str, Any]) -> list[str]:
    """Return a line for each run that failed or was killed, for what was left out and for few groups."""
    runs = comparison["runs"]
    groups = {r["data"]: r["versus"]["groups"] for r in comparison["results"] if r["versus"]}
    found = [
        f"{data}: the test samples are in {number} group{'s' * (number > 1)}; with fewer than {FEW_GROUPS}, "
        "take the differences as a description of these groups only"
        for data, number in groups.items()
        if number < FEW_GROUPS
    ]
    found += [f"failed: {run['folder']}: {run['reason']}" for run in runs if run["reason"]]
    found += [f"killed once and resumed: {run['folder']}" for run in runs if run["killed_once"]]
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in comparison["left_out"]:
        reasons.setdefault((one["data"], one["reason"]), []).append(one["method"])
    return found + [
        f"left out on {data}: {', '.join(methods)}: {reason}" for (data, reason), methods in reasons.items()
    ]


def _accuracies(results: Sequence[Mapping[str, Any]], *, sd: bool = True) -> dict[str, Cell]:
    """Return columns of the fused accuracy, with its standard deviation, and of each modality's."""
    end = "/accuracy"
    # Methods that use all modalities have them in the order of the data.
    ordered = sorted(results, key=lambda r: -len(r["metrics"]))
    names = dict.fromkeys(n for r in ordered for n in r["metrics"] if n.endswith(end) and n.count("/") == 1)
    return {
        "accuracy": _metric("accuracy", 100, 1),
        **{name.removesuffix(end): _metric(name, 100, 1, sd=sd) for name in names},
    }


def _quality() -> dict[str, Cell]:
    return {
        "macro-F1": _metric("macro_f1", 1, 3),
        "NLL": _metric("nll", 1, 3),
        "ECE": _metric("ece", 1, 3),
    }


def _cost() -> dict[str, Cell]:
    return {
        "evidence": _metric("fusion/evidence/accuracy", 100, 1),
        "gap": _metric("imbalance/gap", 100, 1),
        "laziness": _metric("imbalance/laziness", 100, 1),
        "best epoch": _metric("best_epoch", 1, 0, sd=False, plus=1),
        "updates": _metric("updates", 1, 0, sd=False),
        "seconds": _metric("seconds", 1, 0),
        "memory MB": _metric("peak_memory", 1e-6, 0, sd=False),
        "MFLOP per batch": _metric("flops_per_batch", 1e-6, 1, sd=False),
        "parameters": _metric("parameters", 1, 0, sd=False),
    }


def _versus(comparison: Mapping[str, Any]) -> dict[str, Cell]:
    """Return columns of the difference in accuracy from the reference, of its p-value and of the power."""

    def cell(name: str, times: float, form: str) -> Cell:
        def text(result: Mapping[str, Any]) -> str:
            value = (result["versus"] or {}).get(name)
            return "" if value is None else format(times * value, form)

        return text

    return {
        f"vs {comparison['reference']}": cell("mean", 100, "+.1f"),
        "p": cell("p_holm", 1, ".3f"),
        "detectable": cell("detectable", 100, ".1f"),
    }


def _metric(name: str, times: float, digits: int, *, sd: bool = True, plus: int = 0) -> Cell:
    def cell(result: Mapping[str, Any]) -> str:
        value = result["metrics"].get(name)
        if value is None:
            return ""
        text = f"{times * value['mean'] + plus:,.{digits}f}"
        return f"{text} ± {times * value['sd']:.{digits}f}" if sd and value["sd"] is not None else text

    return cell


def _mean(result: Mapping[str, Any], name: str, otherwise: float) -> float:
    return float(result["metrics"].get(name, {"mean": otherwise})["mean"])
