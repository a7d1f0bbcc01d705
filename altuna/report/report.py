"""``report.html``: one self-contained page that answers who learnt what, and whom the model trusts."""

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
from altuna.report.charts import short
from altuna.report.drawing import Drawing, save
from altuna.report.gallery import gallery
from altuna.report.page import anchor, heading, page, shown
from altuna.report.runs import Run, read_runs
from altuna.report.sections import Section, sections

MOST_BYTES = 2_800_000  # of a page: mail and chat carry it
MOST_RUNS = 8  # side by side
SAMPLES = "What does it look like, sample by sample?"


def write_report(runs: Sequence[Path], out: Path | None = None, figures: Path | None = None) -> Path:
    """Write the report of a run, or of several side by side; return the page.

    Args:
        runs: Run directories.
        out: The page; None: ``report.html`` of the run, or ``runs/report.html`` for several.
        figures: Folder to write every figure to, as PNG and PDF; None: do not.

    Raises:
        UserError: Not a finished run, too many, or matplotlib is not there for the figures.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise UserError(f"name 1 to {MOST_RUNS} runs, got {len(runs)}; altuna compare tabulates more")
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
    if (excess := sum(len(part.encode()) for part in body) - MOST_BYTES) > 0:
        parts, left_out = _without_largest(parts, excess)
        body = [_section(part) for part in parts]
    if len(found) == 1:
        room = MOST_BYTES - sum(len(part.encode()) for part in body)
        body.append(f"<section>{heading(SAMPLES)}{gallery(found[0], room)}</section>")
    else:
        own = ", ".join(f"{run.name}: {run.folder / 'report.html'}" for run in found)
        body.append(f"<section>{heading(SAMPLES)}<p>In each run's own report. {escape(own)}</p></section>")
    out.parent.mkdir(parents=True, exist_ok=True)
    titles = [*(part.title for part in parts), SAMPLES]
    write_text(out, page(_title(found), body, _lead(found) + left_out + _contents(titles)))
    return out


def _without_largest(parts: Sequence[Section], excess: int) -> tuple[list[Section], str]:
    """Return the parts without the largest figures, of ``excess`` bytes or more, and what to say of it."""
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
        f"{len(out):,} figures would make this page too large; altuna report --figures FOLDER draws them."
    )
    return kept, f"<p class=lead>{escape(remark)}</p>"


def trust_by_class(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return the mean weight of every modality by true class, over the samples that have it.

    Args:
        table: Of predictions. A class of which no sample has a modality is left out there.
    """
    names = [c.removeprefix("weight_") for c in table.column_names if c.startswith("weight_")]
    weights = {m: pc.if_else(table[f"present_{m}"], table[f"weight_{m}"], None) for m in names}
    known = pa.table({"label": table["label"], **weights})
    means = known.group_by("label").aggregate([(m, "mean") for m in names]).sort_by("label").to_pylist()
    return {row["label"]: {m: w for m in names if (w := row[f"{m}_mean"]) is not None} for row in means}


def _title(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    return f"{runs[0].metrics['method']} on {Path(runs[0].metrics['data']).stem}"


def _lead(runs: Sequence[Run]) -> str:
    """Return the first sentences and, of a single run, its figures in large."""
    splits = {run.metrics["split"] for run in runs}
    flattering = " There is no test split: the same samples chose the epoch, so the figures flatter." * (
        splits != {"test"}
    )
    if len(runs) > 1:
        said = "; ".join(
            f"{run.name}: {run.metrics['n']:,} samples of the {run.metrics['split']} split" for run in runs
        )
        return f"<p class=lead>{escape(said)}.{flattering}</p>"
    (run,) = runs
    metrics = run.metrics
    alone = {m: metrics["modalities"][m] for m in well_measured(metrics["modalities"])}
    best = max(alone, key=lambda m: alone[m]["accuracy"])
    n = f", {alone[best]['n']:,} samples" * (alone[best]["n"] < metrics["n"])
    tiles = {
        "fused accuracy": f"{metrics['fused']['accuracy']:.1%}",
        f"best alone ({short(best)}{n})": f"{alone[best]['accuracy']:.1%}",
        "fused minus alone, at the least": f"{100 * metrics['imbalance']['fusion_gain']:+.1f} pt",
        "most frequent class": f"{run.majority:.1%}",
        "calibration error": f"{metrics['fused']['ece']:.3f}",
    }
    figures = "".join(f"<div><dt>{escape(name)}<dd>{value}</div>" for name, value in tiles.items())
    kind = "modalities" if len(run.modalities) > 1 else "modality"
    said = (
        f"{metrics['n']:,} samples of the {metrics['split']} split, {len(run.classes):,} classes, {kind} "
        f"{', '.join(map(short, run.modalities))}; seed {metrics['seed']}; run "
        f"{run.folder.absolute().name}.{flattering}"
    )
    return f"<p class=lead>{escape(said)}</p><dl class=tiles>{figures}</dl>"


def _contents(titles: Sequence[str]) -> str:
    links = "".join(f"<li><a href='#{anchor(title)}'>{escape(title)}</a>" for title in titles)
    return f"<nav aria-label=Contents><ul>{links}</ul></nav>"


def _section(section: Section) -> str:
    parts = "".join(_parts(section.parts))
    return f"<section>{heading(section.title)}<p>{escape(section.lead)}</p>{parts}</section>"


def _parts(parts: Sequence[Drawing | str]) -> Iterator[str]:
    """Yield tables as they are, and figures that follow each other side by side."""
    for drawn, some in groupby(parts, lambda part: isinstance(part, Drawing)):
        if drawn:
            drawings = [part for part in some if isinstance(part, Drawing)]
            small = " small" * (max(d.width for d in drawings) < 400)
            yield f"<div class='figures{small}'>{''.join(map(shown, drawings))}</div>"
        else:
            yield from (part for part in some if isinstance(part, str))
