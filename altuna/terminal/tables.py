"""Tables that commands print."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table

from altuna.comparison import tables
from altuna.data.store.arrays import Store
from altuna.data.table.manifest import SPLITS
from altuna.recipes.prepare import Report
from altuna.terminal.console import PLAIN, out
from altuna.text import clipped, readable_bytes

LETTERS = 40  # of a class, within a table


def print_report(report: Report) -> None:
    """Print what a preparation made: samples by class and split, problems with names, and leakage."""
    splits = [split for split in SPLITS if any(s == split for _, s in report.counts)]
    labels = sorted({label for label, _ in report.counts})
    table = Table(title=f"{escape(report.title)}: {sum(report.counts.values()):,} samples")
    table.add_column("class", overflow="fold")
    for name in (*splits, "all"):
        table.add_column(name, justify="right")
    for label in labels:
        counts = [report.counts.get((label, split), 0) for split in splits]
        table.add_row(escape(label), *(f"{n:,}" for n in (*counts, sum(counts))))
    totals = [sum(n for (_, s), n in report.counts.items() if s == split) for split in splits]
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in (*totals, sum(totals))))
    out.print(table)
    kinds: dict[tuple[str, str], list[str]] = {}
    for p in report.problems:
        what = {"left out": "sample left out", "missing": f"{p.column} missing"}.get(p.kind, p.kind)
        kinds.setdefault((what, p.reason), []).append(
            p.file if p.kind == "note" and p.file else p.id or p.file
        )
    largest = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    for (what, reason), names in largest[:20]:
        more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
        out.print(f"{what}, {len(names):,}: {reason}: {', '.join(names[:8])}{more}", **PLAIN)
    if report.problems:
        if len(largest) > 20:
            out.print(f"and {len(largest) - 20:,} other reasons", **PLAIN)
        out.print(f"all problems with their files: {report.problems_file}", **PLAIN)
    out.print(f"leakage: {report.leakage}", **PLAIN)
    flag = "" if report.leakage.startswith(("0 ", "none")) else " --allow-shared-groups"
    out.print(f"wrote {report.out}; train with: altuna fit --data {report.out}{flag}", **PLAIN)


def stores_table(stores: Mapping[str, Store]) -> Table:
    """Return the table that ends a preparation: what each modality has on disk."""
    table = Table(title="prepared data")
    for name in ("", "cells", "not read", "shape", "size", "folder"):
        right = name in ("cells", "not read", "size")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for name, store in stores.items():
        unread = sum(problem.kind == "unread" for problem in store.problems)
        shape = " x ".join(map(str, store.array.shape[1:])) + f" {store.array.dtype}"
        folder = store.folder.name if store.folder else "-"
        cells = int((store.position >= 0).sum())
        table.add_row(escape(name), f"{cells:,}", f"{unread:,}", shape, readable_bytes(store.size), folder)
    return table


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Return the table that ends a training or an evaluation."""
    chosen = metrics["fusion"]["rule"]
    which = f"{metrics['split']} split" if metrics["split"] else "all rows"
    table = Table(title=escape(f"{metrics['data']}: {metrics['method']}, {which}, {metrics['n']:,} samples"))
    for name in ("", "accuracy", "macro-F1", "NLL", "ECE", "samples"):
        table.add_column(name, justify="left" if not name else "right")
    for name, scores in metrics["modalities"].items():
        if scores["n"]:
            table.add_row(escape(f"{name} alone"), *_scores(scores), f"{scores['n']:,}")
        else:
            table.add_row(escape(f"{name} alone"), *["-"] * 4, "0")
    table.add_section()
    table.add_row(f"fused ({chosen})", *_scores(metrics["fused"]), f"{metrics['n']:,}", style="bold")
    for rule in ("calibrated_product", "entropy"):  # the product of experts and the rule of MLA's paper
        scores = metrics["fusion"]["rules"].get(rule)
        if chosen != rule and scores:
            table.add_row(f"fused ({rule})", *_scores(scores), f"{metrics['n']:,}")
    return table


def weights_table(weights: dict[str, dict[str, float]]) -> Table:
    """Return a table of fusion weights by class, a row a modality: mean, highest and lowest.

    Args:
        weights: By true class, the mean weight of every modality that its samples have.
    """
    table = Table(title="fusion weights by class (mean over samples with the modality)")
    table.add_column("", overflow="fold")
    for name in ("mean", "highest", "in class", "lowest", "in class"):
        table.add_column(name, justify="left" if name == "in class" else "right", overflow="fold")
    for modality in dict.fromkeys(m for of in weights.values() for m in of):
        by_class = {label: of[modality] for label, of in weights.items() if modality in of}
        ends = (end(by_class, key=by_class.__getitem__) for end in (max, min))
        cells = (
            cell for label in ends for cell in (f"{by_class[label]:.2f}", escape(clipped(label, LETTERS)))
        )
        table.add_row(escape(modality), f"{mean(by_class.values()):.2f}", *cells)
    return table


def comparison_tables(comparison: Mapping[str, Any]) -> Iterator[Table | str]:
    """Yield what a comparison prints: a table for each data set, the ranks, and remarks.

    If every run failed, only the remarks: which runs failed, and why.
    """
    if not any(result["metrics"] for result in comparison["results"]):
        yield from map(escape, tables.notes(comparison))
        return
    for data, results in tables.by_data(comparison):
        columns = tables.summary_columns(comparison, results)
        table = Table(title=escape(data), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name in columns:
            justify: JustifyMethod = "left" if name == "method" else "right"
            table.add_column(escape(name), justify=justify, overflow="fold")
        for result in results:
            cells = (escape(cell(result).replace("± ", "±")) for cell in columns.values())
            table.add_row(*cells, style="bold" if result["method"] == comparison["reference"] else None)
        yield table
    yield escape(tables.legend(comparison))
    if ranking := comparison["ranking"]:
        rows = [[name, f"{rank:.2f}"] for name, rank in ranking["mean_rank"].items()]
        yield text_table("ranks", ["method", "mean rank"], rows)
        yield tables.rank_legend(ranking)
    yield from map(escape, tables.notes(comparison))


def csv_table(title: str, path: Path) -> Table:
    """Return the table of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return text_table(title, header, rows)


def text_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of texts, the first column aligned to the left."""
    table = Table(title=escape(title))
    for i, name in enumerate(header):
        table.add_column(escape(name), justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _scores(scores: dict[str, float]) -> list[str]:
    return [
        f"{scores['accuracy']:.1%}",
        f"{scores['macro_f1']:.3f}",
        f"{scores['nll']:.3f}",
        f"{scores['ece']:.3f}",
    ]
