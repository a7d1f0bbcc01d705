"""Write ``report.html``: metrics, training curves, fusion weights and samples of a run, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from altuna.errors import UserError
from altuna.evaluation.imbalance import well_measured
from altuna.files import write_text
from altuna.report.drawing import Drawing, save
from altuna.report.frame import short
from altuna.report.gallery import gallery
from altuna.report.page import anchor, heading, page, shown
from altuna.report.runs import Run, read_runs
from altuna.report.sections import Section, sections

MAX_BYTES = 2_800_000  # of a page, so that it can be sent by mail and chat
MAX_RUNS = 8  # side by side
SAMPLES = "Samples"


def write_report(runs: Sequence[Path], out: Path | None = None, figures: Path | None = None) -> Path:
    """Write the report of a run, or of several runs side by side; return the page.

    Args:
        runs: Run directories.
        out: The page; None: ``report.html`` of the run, or ``runs/report.html`` for several.
        figures: Folder for every plot as PNG and PDF; None: do not write them.

    Raises:
        UserError: Not a finished run, too many runs, or matplotlib is missing and ``figures`` is given.
    """
    if not 1 <= len(runs) <= MAX_RUNS:
        raise UserError(f"name 1 to {MAX_RUNS} runs, got {len(runs)}; altuna compare can compare more")
    out = out or (runs[0] / "report.html" if len(runs) == 1 else Path("runs") / "report.html")
    if out.is_dir():
        raise UserError(f"{out}: is a folder, not a file")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: give a name that ends in .html")
    found = read_runs(runs)
    parts = sections(found)
    if figures is not None:
        save([d for part in parts for d in part.parts if isinstance(d, Drawing)], figures)
    body, left_out = [_section(part) for part in parts], ""
    if (excess := sum(len(part.encode()) for part in body) - MAX_BYTES) > 0:
        parts, left_out = _without_largest(parts, excess)
        body = [_section(part) for part in parts]
    body.append(_samples(found, MAX_BYTES - sum(len(part.encode()) for part in body)))
    out.parent.mkdir(parents=True, exist_ok=True)
    titles = [*(part.title for part in parts), SAMPLES]
    write_text(out, page(_title(found), body, _lead(found) + left_out + _contents(titles)))
    return out


def _samples(runs: Sequence[Run], room: int) -> str:
    """Return the section of samples of a single run, in at most ``room`` bytes; of several, where it is."""
    if len(runs) == 1:
        return f"<section>{heading(SAMPLES)}{gallery(runs[0], room)}</section>"
    own = ", ".join(f"{run.name}: {run.folder / 'report.html'}" for run in runs)
    return f"<section>{heading(SAMPLES)}<p>See the report of each run. {escape(own)}</p></section>"


def _without_largest(parts: Sequence[Section], excess: int) -> tuple[list[Section], str]:
    """Return the sections without their largest plots, ``excess`` bytes in all, and a remark on it."""
    sizes = {d.name: len(d.svg().encode()) for p in parts for d in p.parts if isinstance(d, Drawing)}
    out = set()
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if excess <= 0:
            break
        out.add(name)
        excess -= sizes[name]
    kept = [
        replace(p, parts=[d for d in p.parts if not (isinstance(d, Drawing) and d.name in out)])
        for p in parts
    ]
    remark = (
        f"{len(out):,} plots are left out: the page would be too large. altuna report --figures FOLDER "
        "writes these plots as files."
    )
    return kept, f"<p class=lead>{escape(remark)}</p>"


def weights_by_class(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return the mean fusion weight of every modality by true class, over the samples that have it.

    Args:
        table: Predictions, as in ``predictions.parquet``. A modality that no sample of a class has is left
            out there.
    """
    names = [c.removeprefix("weight_") for c in table.column_names if c.startswith("weight_")]
    # By their whole names: a modality may be named "label".
    weights = {f"weight_{m}": pc.if_else(table[f"present_{m}"], table[f"weight_{m}"], None) for m in names}
    known = pa.table({"label": table["label"], **weights})
    means = known.group_by("label").aggregate([(m, "mean") for m in weights]).sort_by("label").to_pylist()
    return {
        row["label"]: {m: w for m in names if (w := row[f"weight_{m}_mean"]) is not None} for row in means
    }


def _title(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    return f"{runs[0].metrics['method']} on {Path(runs[0].metrics['data']).stem}"


def _lead(runs: Sequence[Run]) -> str:
    """Return the first sentences and, of a single run, its main metrics."""
    splits = {run.metrics["split"] for run in runs}
    optimistic = (
        " There is no test split. The metrics are optimistic, because these samples also chose the epoch."
        * (splits != {"test"})
    )
    if len(runs) > 1:
        samples = "; ".join(
            f"{run.name}: {run.metrics['n']:,} samples of the {run.metrics['split']} split" for run in runs
        )
        return f"<p class=lead>{escape(samples)}.{optimistic}</p>"
    (run,) = runs
    metrics = run.metrics
    kind = "modalities" if len(run.modalities) > 1 else "modality"
    text = (
        f"{metrics['n']:,} samples of the {metrics['split']} split, {len(run.classes):,} classes, {kind} "
        f"{', '.join(map(short, run.modalities))}; seed {metrics['seed']}; run "
        f"{run.folder.absolute().name}.{optimistic}"
    )
    tiles = "".join(f"<div><dt>{escape(name)}<dd>{value}</div>" for name, value in _tiles(run).items())
    warnings = "".join(f"<p class=warning role=alert>{escape(text)}</p>" for text in metrics["warnings"])
    return f"<p class=lead>{escape(text)}</p>{warnings}<dl class=tiles>{tiles}</dl>"


def _tiles(run: Run) -> dict[str, str]:
    """Return the main metrics of a run."""
    metrics = run.metrics
    alone = {m: metrics["modalities"][m] for m in well_measured(metrics["modalities"])}
    best = max(alone, key=lambda m: alone[m]["accuracy"])
    n = f", {alone[best]['n']:,} samples" * (alone[best]["n"] < metrics["n"])
    return {
        "fused accuracy": f"{metrics['fused']['accuracy']:.1%}",
        f"best modality alone ({short(best)}{n})": f"{alone[best]['accuracy']:.1%}",
        "fusion gain (smallest over modalities)": f"{100 * metrics['imbalance']['fusion_gain']:+.1f} pt",
        "most frequent class": f"{run.majority:.1%}",
        "calibration error (ECE)": f"{metrics['fused']['ece']:.3f}",
    }


def _contents(titles: Sequence[str]) -> str:
    links = "".join(f"<li><a href='#{anchor(title)}'>{escape(title)}</a>" for title in titles)
    return f"<nav aria-label=Contents><ul>{links}</ul></nav>"


def _section(section: Section) -> str:
    parts = "".join(_parts(section.parts))
    return f"<section>{heading(section.title)}<p>{escape(section.lead)}</p>{parts}</section>"


def _parts(parts: Sequence[Drawing | str]) -> Iterator[str]:
    """Yield tables as they are, and consecutive plots side by side."""
    for drawn, some in groupby(parts, lambda part: isinstance(part, Drawing)):
        if drawn:
            drawings = [part for part in some if isinstance(part, Drawing)]
            small = " small" * (max(d.width for d in drawings) < 400)
            yield f"<div class='figures{small}'>{''.join(map(shown, drawings))}</div>"
        else:
            yield from (part for part in some if isinstance(part, str))
