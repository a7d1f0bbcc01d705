"""``report.html``: one self-contained page that answers who learnt what, and whom the model trusts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa

from altuna.files import write_text
from altuna.report.svg import line_chart

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
tr.fused { font-weight: 700; } td.wrong { color: #c2453e; }
.scroll { overflow-x: auto; } figure { margin: 0; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; font-size: 11px; }
"""
MOST_SAMPLES = 50


def write_report(
    path: Path,
    metrics: dict[str, Any],
    history: list[dict[str, float]],
    table: pa.Table,
    answers: dict[str, list[str]],
) -> None:
    """Write the report of a run.

    Args:
        path: Where.
        metrics: The contents of ``metrics.json``.
        history: The rows of ``log.csv``.
        table: The contents of ``predictions.parquet``.
        answers: Modality to the class that it alone says, one a row of ``table``; empty where absent.
    """
    title = f"{metrics['method']} on {Path(metrics['data']).stem}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{metrics['n']:,} samples of the {metrics['split']} split, seed {metrics['seed']}. "
        f"Epoch {metrics['cost']['best_epoch'] + 1} of {metrics['cost']['epochs']} was chosen by validation; "
        f"training took {metrics['cost']['seconds']:.0f} s.</p>",
        "<h2>How good is each modality, and all together?</h2>",
        _headline(metrics),
        "<h2>How did validation accuracy grow?</h2>",
        _curves(history),
        "<h2>What if modalities are gone?</h2>",
        "<p>Fused, with nothing but these, on the samples that have all of them.</p>",
        _figures({name.replace("+", " + "): f for name, f in metrics["subsets"].items()}),
        "<h2>What was there to learn from?</h2>",
        *(f"<p>{escape(remark)}</p>" for remark in metrics["training"]["remarks"]),
        _balance(metrics["training"]),
        "<h2>Whom does the model trust?</h2>",
        "<p>Mean fusion weight of each modality, by true class.</p>",
        _trust(table),
        "<h2>What if they disagree?</h2>",
        f"<p>Up to {MOST_SAMPLES} samples whose modalities disagree: what each says, how much it counts, and "
        "the fused answer.</p>",
        _disagreements(table, answers),
    ]
    write_text(path, page(title, body))


def page(title: str, body: Iterable[str]) -> str:
    """Return a self-contained page."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style>{''.join(body)}</html>\n"
    )


def trust_by_class(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return the mean weight of every modality by true class, from a table of predictions."""
    names = [c for c in table.column_names if c.startswith("weight_")]
    means = table.group_by("label").aggregate([(name, "mean") for name in names]).sort_by("label")
    return {
        row["label"]: {name.removeprefix("weight_"): row[f"{name}_mean"] for name in names}
        for row in means.to_pylist()
    }


def table_of(head: str, lines: Iterable[str]) -> str:
    """Return a table of rows, which begin with ``<tr>``; a narrow screen scrolls it."""
    return f"<div class=scroll><table>{head}{''.join(lines)}</table></div>"


def _headline(metrics: dict[str, Any]) -> str:
    rule = metrics["fusion"]["rule"]
    rows = {f"{name} alone": figures for name, figures in metrics["modalities"].items()}
    chosen = f"fused ({rule})"
    rows[chosen] = {**metrics["fused"], "n": metrics["n"]}
    for other, figures in metrics["fusion"]["rules"].items():
        if other != rule:
            rows[f"fused ({other})"] = {**figures, "n": metrics["n"]}
    return _figures(rows, chosen)


def _figures(rows: Mapping[str, Mapping[str, Any]], chosen: str = "") -> str:
    lines = []
    for name, figures in rows.items():
        style = " class=fused" if name == chosen else ""
        cells = "<td>-" * 4
        if figures["n"]:
            cells = (
                f"<td>{figures['accuracy']:.1%}<td>{figures['macro_f1']:.3f}"
                f"<td>{figures['nll']:.3f}<td>{figures['ece']:.3f}"
            )
        lines.append(f"<tr{style}><td>{escape(name)}{cells}<td>{figures['n']:,}")
    head = "<tr><th><th>accuracy<th>macro-F1<th>NLL<th>ECE<th>samples"
    return table_of(head, lines)


def _balance(training: Mapping[str, Any]) -> str:
    head = "<tr><th><th>training samples<th>share<th>rarest class<th>most frequent class"
    lines = []
    for name, counts in training["classes"].items():
        total, order = sum(counts.values()), sorted(counts, key=lambda c: counts[c])
        ends = "".join(f"<td>{escape(c)} <small>{counts[c]:,}</small>" for c in (order[0], order[-1]))
        lines.append(f"<tr><td>{escape(name)}<td>{total:,}<td>{total / training['n']:.0%}{ends}")
    return table_of(head, lines)


def _trust(table: pa.Table) -> str:
    trust = trust_by_class(table)
    names = [*next(iter(trust.values()))]
    head = "<tr><th>" + "".join(f"<th>{escape(name)}" for name in names)
    lines = [
        f"<tr><td>{escape(label)}" + "".join(f"<td>{weights[n]:.2f}" for n in names)
        for label, weights in trust.items()
    ]
    return table_of(head, lines)


def _disagreements(table: pa.Table, answers: dict[str, list[str]]) -> str:
    head = "<tr><th>sample<th>truth" + "".join(f"<th>{escape(name)}" for name in answers) + "<th>fused"
    lines: list[str] = []
    rows = [i for i, said in enumerate(zip(*answers.values(), strict=True)) if len({*said} - {""}) > 1]
    shown = ["id", "label", "prediction", *(f"weight_{name}" for name in answers)]
    for i in rows[:MOST_SAMPLES]:
        (row,) = table.slice(i, 1).select(shown).to_pylist()
        said = {name: answer[i] for name, answer in answers.items() if answer[i]}
        cells = [
            f"{escape(said[n])} <small>{row[f'weight_{n}']:.0%}</small>" if n in said else "-"
            for n in answers
        ]
        right = "" if row["prediction"] == row["label"] else " class=wrong"
        lines.append(
            f"<tr><td>{escape(row['id'])}<td>{escape(row['label'])}"
            + "".join(f"<td>{cell}" for cell in cells)
            + f"<td{right}>{escape(row['prediction'])}"
        )
    return table_of(head, lines)


def _curves(history: list[dict[str, float]]) -> str:
    """Draw validation accuracy by epoch, a line a modality and one for the fusion."""
    start = "val/accuracy/"
    series = {
        key.removeprefix(start): [(e, row[key]) for e, row in enumerate(history) if key in row]
        for key in history[-1]
        if key.startswith(start)
    }
    ends = ("epoch 1", str(len(history)))
    return line_chart("validation accuracy by epoch", series, ends, (0, max(1, len(history) - 1)), {"fused"})
