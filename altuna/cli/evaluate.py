"""``altuna evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import OtherData, Pattern, Root, Run, Split, Store


def evaluate(
    run: Run,
    data: OtherData = None,
    split: Split = "test",
    without: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY", help="Modality to leave out, or several: a,b.")
    ] = None,
    missing_rate: Annotated[
        float | None,
        typer.Option(
            help="Fraction of all cells to hide. Every sample keeps one modality: with two, the most is 0.5."
        ),
    ] = None,
    missing_pattern: Pattern = "random",
    missing_mask: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file that lists the cells to keep, such as present.parquet of another run."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the mask.")] = 0,
    fusion: Annotated[str | None, typer.Option(help="Fusion rule to use instead of that of the run.")] = None,
    one_rule: Annotated[
        bool,
        typer.Option("--one-rule", help="Compute metrics for the selected fusion rule only (2-3x faster)."),
    ] = False,
    root: Root = None,
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
) -> None:
    """Evaluate, and print the metrics."""
    from altuna.runs.evaluate import evaluate_run
    from altuna.terminal import console, tables

    metrics = evaluate_run(
        run,
        data,
        split=split,
        without=without or [],
        missing_rate=missing_rate,
        missing_pattern=missing_pattern,
        missing_mask=missing_mask,
        seed=seed,
        fusion=fusion,
        one_rule=one_rule,
        root=root,
        store=store,
        reporter=console.reporter(quiet or as_json),
    )
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
    else:
        console.out.print(tables.metrics_table(metrics))
