"""Evaluate runs at increasing missing rates and with every subset of modalities, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from altuna.data.missing.masks import Missing, staying
from altuna.data.missing.patterns import NAMED, Codes, Mask, by_group, check_pattern, highest_rate
from altuna.data.samples import Samples
from altuna.data.table.manifest import Manifest
from altuna.data.table.splits import group_codes
from altuna.errors import UserError
from altuna.evaluation.robustness import RATES, by_rate, by_subset
from altuna.files import write_csv, write_json, write_text
from altuna.report.charts import Series, line_chart
from altuna.report.frame import colours
from altuna.report.page import heading, page, shown, table_of
from altuna.reporting import SILENT, Reporter
from altuna.runs.data import open_split
from altuna.runs.directory import read_config, read_metrics
from altuna.runs.evaluate import training_warnings
from altuna.runs.labels import run_labels
from altuna.runs.predictor import Predictor
from altuna.text import grouped, markdown_table, unique_endings

METRICS = ("accuracy", "macro_f1", "nll", "ece")


def robustness(
    runs: Sequence[Path],
    *,
    data: str | None = None,
    split: str = "test",
    rates: Sequence[float] | None = None,
    pattern: str = "random",
    masks: int = 5,
    out: Path | None = None,
    root: Path | None = None,
    store: Path | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Evaluate runs at missing rates and with every subset of modalities; return the folder of the results.

    Runs that differ only in their seed are averaged. ``OUT/robustness.json`` and ``.csv`` hold all numbers,
    ``.md`` and ``.html`` (with plots) are for reading.

    Args:
        runs: Run directories.
        data: Data other than each run's own.
        split: ``train``, ``val`` or ``test``.
        rates: Missing rates; None: those of 0, 0.1 .. 0.7 at which every sample keeps a modality.
        pattern: Which cells to mask, see ``altuna.data.missing.patterns.pattern_mask``.
        masks: Number of masks drawn at each rate.
        out: Folder; None: that of the run, or ``runs/robustness`` for several.
        root: Folder of the raw files of av-digits.
        store: Folder for decoded data.
        reporter: Reports progress.

    Raises:
        UserError: Not a run, unknown split or pattern, or a rate outside its range.
    """
    if not runs:
        raise UserError("give at least one run directory")
    if repeated := next((run for run in runs if [*runs].count(run) > 1), None):
        raise UserError(f"{repeated}: is given twice")
    if masks < 1:
        raise UserError(f"masks must be at least 1, got {masks}")
    out = out or (runs[0] if len(runs) == 1 else Path("runs") / "robustness")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder")
    check_pattern(pattern, [m for run in runs for m in read_metrics(run)["modalities"]])
    rates = None if rates is None else sorted({*rates})
    labels = run_labels([read_config(run) for run in runs], unique_endings(runs), joined=True)
    tested = []
    for run, label in zip(runs, labels, strict=True):
        predictor, config = Predictor(run), read_config(run)
        manifest, samples, *_ = open_split(predictor.description, config, data, split, root, store, reporter)
        for warning in training_warnings(run, predictor.description.folds, data, split, manifest, samples):
            reporter.note(f"{run}: {warning}")
        metrics = _metrics(predictor, manifest, samples, pattern, rates, masks)
        own = {"data": data or str(config["data"]), "label": label, "seed": config["seed"]}
        tested.append({"run": str(run), **own, **metrics})
    settings = {"split": split, "pattern": pattern, "masks": masks}
    _write(out, {**settings, "results": [*_joined(tested)], "runs": tested})
    return out


def _write(out: Path, result: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "robustness.json", result)
    write_csv(out / "robustness.csv", _rows(result))
    write_text(out / "robustness.md", _markdown(result))
    write_text(out / "robustness.html", _html(result))


def _metrics(
    predictor: Predictor,
    manifest: Manifest,
    samples: Samples,
    pattern: str,
    rates: Sequence[float] | None,
    masks: int,
) -> dict[str, Any]:
    """Return a run's metrics by missing rate and by subset of modalities."""
    names, present, rows = [*manifest.modalities], samples.dataset.present, samples.rows
    kind, _, named = pattern.partition(":")
    if named and named not in names:
        rates = []  # a pattern of a modality that the run lacks
    if rates is None:
        rates = _rates(kind, present, group_codes(manifest)[rows])

    def draw(rate: float, seed: int) -> Mask:
        return staying(Missing(rate, pattern), manifest, rows, present, samples.dataset.labels, seed)

    features = predictor.features(samples.dataset)
    model = predictor.model.cpu()
    by_mask = by_rate(model, features, names, rates, masks, draw)
    return {
        "rates": {str(rate): one for rate, one in zip(rates, by_mask, strict=True) if one},
        "subsets": by_subset(model, features),
    }


def _rates(pattern: str, present: Mask, groups: Codes) -> list[float]:
    """Return the default rates at which the pattern leaves every sample a modality."""
    if pattern in NAMED:
        return [*RATES, 1.0]
    have = by_group(present, groups)[0] if pattern == "group" else present
    return [rate for rate in RATES if rate <= highest_rate(have) + 1e-9]


def _joined(runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the mean metrics of each method on each data set over its seeds."""
    for data, label in dict.fromkeys((run["data"], run["label"]) for run in runs):
        mine = [run for run in runs if (run["data"], run["label"]) == (data, label)]
        yield {
            "data": data,
            "label": label,
            "seeds": [run["seed"] for run in mine],
            "rates": _together([run["rates"] for run in mine]),
            "subsets": _together([{s: [f] for s, f in run["subsets"].items()} for run in mine]),
        }


def _together(runs: Sequence[Mapping[str, Sequence[Mapping[str, float]]]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation of every metric: over runs or, of a single run, over its masks."""
    found: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        some = [run[key] for run in runs if key in run]
        found[key] = {"n": some[0][0]["n"]}
        for metric in METRICS:
            each = [mean(mask[metric] for mask in masks) for masks in some]
            spread = each if len(some) > 1 else [mask[metric] for mask in some[0]]
            found[key][metric] = {"mean": mean(each), "sd": stdev(spread) if len(spread) > 1 else None}
    return found


def _rows(result: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the rows of ``robustness.csv``."""
    columns = [(metric, part) for metric in METRICS for part in ("mean", "sd")]
    yield ["data", "method", "what", "value", "n", *(f"{metric} {part}" for metric, part in columns)]
    for one in result["results"]:
        for what, key in (("rate", "rates"), ("subset", "subsets")):
            for value, metrics in one[key].items():
                numbers = [metrics[metric][part] for metric, part in columns]
                yield [one["data"], one["label"], what, value, metrics["n"], *numbers]


def tables(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and rows of the tables of a result: the content of ``robustness.json``."""
    for data, results in grouped(result["results"]):
        columns = {
            f"accuracy in % by missing rate ({result['pattern']})": ("rates", "accuracy"),
            "accuracy in % with each subset of modalities": ("subsets", "accuracy"),
            "ECE with each subset of modalities": ("subsets", "ece"),
        }
        for title, (part, metric) in columns.items():
            values = [*dict.fromkeys(value for one in results for value in one[part])]
            lines = [[value, *(_cell(one[part].get(value), metric) for one in results)] for value in values]
            yield f"{data}: {title}", ["", *(one["label"] for one in results)], lines


def _cell(metrics: Mapping[str, Any] | None, metric: str) -> str:
    if metrics is None:
        return "-"
    times, digits = (1, 3) if metric == "ece" else (100, 1)
    value, sd = metrics[metric]["mean"], metrics[metric]["sd"]
    return f"{times * value:.{digits}f}" + (f" ± {times * sd:.{digits}f}" if sd is not None else "")


def legend(result: Mapping[str, Any]) -> str:
    """Return what the numbers of a result mean, for people to read."""
    return (
        f"Evaluated on the {result['split']} split. ± is the standard deviation over seeds or, for a single "
        f"run, over {result['masks']} random masks."
    )


def _markdown(result: Mapping[str, Any]) -> str:
    lines = ["# Robustness", "", legend(result), ""]
    for title, header, body in tables(result):
        lines += [f"## {title}", "", *markdown_table(header, body), ""]
    return "\n".join(lines)


def _html(result: Mapping[str, Any]) -> str:
    body = [f"<p>{escape(legend(result))}</p>"]
    for data, results in grouped(result["results"]):
        looks = colours([one["label"] for one in results])
        series = [
            Series(
                one["label"],
                [(float(rate), metrics["accuracy"]["mean"]) for rate, metrics in one["rates"].items()],
                *looks[one["label"]],
                [metrics["accuracy"]["sd"] or 0.0 for metrics in one["rates"].values()],
            )
            for one in results
        ]
        body.append(heading(f"{data}: accuracy by missing rate ({result['pattern']})"))
        body.append(
            shown(line_chart("rates", "Accuracy by missing rate", series, "missing rate", "accuracy"))
        )
    for title, header, lines in tables(result):
        body += [heading(title), table_of(header, lines)]
    return page("Robustness to missing modalities", body)
