"""``altuna robustness``: runs met with ever fewer modalities, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.markup import escape as escape_markup
from rich.table import Table

from altuna.data.missing.masks import Missing, staying
from altuna.data.missing.patterns import NAMED, Codes, Mask, by_group, check_pattern, highest_rate
from altuna.data.samples import Samples
from altuna.data.table.manifest import Manifest
from altuna.data.table.splits import group_codes
from altuna.errors import UserError
from altuna.evaluation.robustness import RATES, by_rate, by_subset
from altuna.files import write_csv, write_json, write_text
from altuna.report.charts import Series, colours, line_chart
from altuna.report.page import heading, page, shown, table_of
from altuna.runs.directory import read_config, read_metrics, run_labels
from altuna.runs.evaluate import open_split
from altuna.runs.predictor import Predictor
from altuna.terminal import console
from altuna.text import grouped, markdown_table, unique_endings

FIGURES = ("accuracy", "macro_f1", "nll", "ece")


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
    quiet: bool = False,
) -> Path:
    """Test runs at missing rates and with every subset of modalities; return the folder of the result.

    Runs of one method with several seeds are one line. ``OUT/robustness.json`` has everything, ``.csv`` the
    same as a table, ``.md`` and ``.html`` (with the curves) are to be read.

    Args:
        runs: Run directories.
        data: Other data than each run's own.
        split: ``train``, ``val`` or ``test``.
        rates: Shares of the cells to take away; None: 0, 0.1 .. 0.7, as far as every sample keeps a modality.
        pattern: Which cells, see ``altuna.data.missing.patterns.pattern_mask``.
        masks: How many masks are drawn at each rate.
        out: Folder; None: that of the run, or ``runs/robustness`` for several.
        root: Raw files of av-digits.
        store: Folder for decoded data.
        quiet: No progress bar.

    Raises:
        UserError: Not a run, unknown split or pattern, or a rate outside its range.
    """
    if not runs:
        raise UserError("name a run")
    if repeated := next((run for run in runs if [*runs].count(run) > 1), None):
        raise UserError(f"{repeated}: stands there twice")
    if masks < 1:
        raise UserError(f"masks must be at least 1, got {masks}")
    out = out or (runs[0] if len(runs) == 1 else Path("runs") / "robustness")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder")
    rates = None if rates is None else sorted({*rates})
    modalities = [m for run in runs for m in read_metrics(run)["modalities"]]
    configs = [read_config(run) for run in runs]
    labels = run_labels(configs, unique_endings(runs), joined=True)
    kind, named = check_pattern(pattern, modalities)
    tested = []
    for run, config, label in zip(runs, configs, labels, strict=True):
        predictor = Predictor(run)
        manifest, samples, *_ = open_split(predictor, config, data, split, root, store, quiet)
        # A run without the modality that the pattern names has no figures by rate.
        its = rates if named is None or named in manifest.modalities else []
        if its is None:
            its = _rates(kind, samples.dataset.present, group_codes(manifest)[samples.rows])
        figures = _figures(predictor, manifest, samples, pattern, its, masks)
        said = {"data": data or str(config["data"]), "label": label, "seed": config["seed"]}
        tested.append({"run": str(run), **said, **figures})
    result = {
        "split": split,
        "pattern": pattern,
        "masks": masks,
        "results": [*_joined(tested)],
        "runs": tested,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "robustness.json", result)
    write_csv(out / "robustness.csv", _rows(result))
    write_text(out / "robustness.md", _markdown(result))
    write_text(out / "robustness.html", _html(result))
    if not quiet:
        for title, header, lines in _tables(result):
            table = Table(title=escape_markup(title))
            for i, name in enumerate(header):
                table.add_column(escape_markup(name), justify="right" if i else "left", overflow="fold")
            for line in lines:
                table.add_row(*map(escape_markup, line))
            console.out.print(table)
        console.out.print(_said(result), markup=False)
        console.out.print(f"results in {out} (open {out / 'robustness.html'})", soft_wrap=True)
    return out


def _figures(
    predictor: Predictor,
    manifest: Manifest,
    samples: Samples,
    pattern: str,
    rates: Sequence[float],
    masks: int,
) -> dict[str, Any]:
    """Return a run's figures by rate and by subset."""
    names, present, rows = [*manifest.modalities], samples.dataset.present, samples.rows

    def draw(rate: float, seed: int) -> Mask:
        return staying(Missing(rate, pattern), manifest, rows, present, samples.dataset.labels, seed)

    features = predictor.features(samples.dataset)
    model = predictor.model.cpu()
    each = by_rate(model, features, names, rates, masks, draw)
    return {
        "rates": {str(rate): one for rate, one in zip(rates, each, strict=True) if one},
        "subsets": by_subset(model, features),
    }


def _rates(pattern: str, present: Mask, groups: Codes) -> list[float]:
    """Return the usual rates, as far as a pattern leaves every sample a modality."""
    if pattern in NAMED:
        return [*RATES, 1.0]
    have = by_group(present, groups)[0] if pattern == "group" else present
    return [rate for rate in RATES if rate <= highest_rate(have) + 1e-9]


def _joined(runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the seeds of each method on each data set give together."""
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
    """Return mean and standard deviation of every figure: over runs or, of a single one, over its masks."""
    found: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        some = [run[key] for run in runs if key in run]
        found[key] = {"n": some[0][0]["n"]}
        for figure in FIGURES:
            each = [mean(mask[figure] for mask in masks) for masks in some]
            spread = each if len(some) > 1 else [mask[figure] for mask in some[0]]
            found[key][figure] = {"mean": mean(each), "sd": stdev(spread) if len(spread) > 1 else None}
    return found


def _rows(result: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the rows of ``robustness.csv``."""
    yield [
        "data",
        "method",
        "what",
        "value",
        "n",
        *(f"{f} {part}" for f in FIGURES for part in ("mean", "sd")),
    ]
    for one in result["results"]:
        for what, part in (("rate", "rates"), ("subset", "subsets")):
            for value, figures in one[part].items():
                numbers = [figures[f][part] for f in FIGURES for part in ("mean", "sd")]
                yield [one["data"], one["label"], what, value, figures["n"], *numbers]


def _tables(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and rows of what there is to read."""
    for data, results in grouped(result["results"]):
        columns = {
            f"accuracy in % by missing rate ({result['pattern']})": ("rates", "accuracy"),
            "accuracy in % of each subset of modalities": ("subsets", "accuracy"),
            "ECE of each subset of modalities": ("subsets", "ece"),
        }
        for title, (part, figure) in columns.items():
            values = [*dict.fromkeys(value for one in results for value in one[part])]
            lines = [[value, *(_cell(one[part].get(value), figure) for one in results)] for value in values]
            yield f"{data}: {title}", ["", *(one["label"] for one in results)], lines


def _cell(figures: Mapping[str, Any] | None, figure: str) -> str:
    if figures is None:
        return "-"
    times, digits = (1, 3) if figure == "ece" else (100, 1)
    value, sd = figures[figure]["mean"], figures[figure]["sd"]
    return f"{times * value:.{digits}f}" + (f" ± {times * sd:.{digits}f}" if sd is not None else "")


def _said(result: Mapping[str, Any]) -> str:
    """Say what the figures are."""
    return (
        f"Of the {result['split']} split. ±: standard deviation over the runs of a line (their seeds) or, "
        f"if it is one run, over its masks ({result['masks']})."
    )


def _markdown(result: Mapping[str, Any]) -> str:
    lines = ["# Robustness", "", _said(result), ""]
    for title, header, body in _tables(result):
        lines += [f"## {title}", "", *markdown_table(header, body), ""]
    return "\n".join(lines)


def _html(result: Mapping[str, Any]) -> str:
    body = [f"<p>{escape(_said(result))}</p>"]
    for data, results in grouped(result["results"]):
        looks = colours([one["label"] for one in results])
        series = [
            Series(
                one["label"],
                [(float(rate), figures["accuracy"]["mean"]) for rate, figures in one["rates"].items()],
                *looks[one["label"]],
                [figures["accuracy"]["sd"] or 0.0 for figures in one["rates"].values()],
            )
            for one in results
        ]
        body.append(heading(f"{data}: accuracy by missing rate ({result['pattern']})"))
        body.append(
            shown(line_chart("rates", "Accuracy by missing rate", series, "missing rate", "accuracy"))
        )
    for title, header, lines in _tables(result):
        body += [heading(title), table_of(header, lines)]
    return page("What if modalities are missing?", body)
