"""``altuna evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import OtherData, Root, Run, Split, Store
from altuna.training.option_fields import (
    MISSING_MASK_HELP,
    MISSING_PATTERN_HELP,
    MISSING_RATE_HELP,
    NAMED_PATTERN_HELP,
)

MissingPattern = Annotated[str, typer.Option(help=MISSING_PATTERN_HELP + NAMED_PATTERN_HELP)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Hide the progress bar.")]
MissingMask = Annotated[
    Path | None,
    typer.Option(help=MISSING_MASK_HELP),
]


def evaluate(
    run: Run,
    data: OtherData = None,
    split: Split = "test",
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODALITY", help="Modality to leave out, or several modalities separated by commas."
        ),
    ] = None,
    missing_rate: Annotated[float | None, typer.Option(help=MISSING_RATE_HELP)] = None,
    missing_pattern: MissingPattern = "random",
    missing_mask: MissingMask = None,
    seed: Annotated[
        int, typer.Option(help="Random seed for the selection of the cells that --missing-rate masks.")
    ] = 0,
    fusion: Annotated[
        str | None,
        typer.Option(
            help="Rule that combines the predictions of the modalities into one prediction (default: the "
            "rule of the run). `altuna fit --help` lists the rules."
        ),
    ] = None,
    one_rule: Annotated[
        bool,
        typer.Option(
            "--one-rule",
            help="Compute only the metrics of the fusion rule that --fusion sets. By default, altuna "
            "computes the metrics of all fusion rules, which takes 2-3 times as long.",
        ),
    ] = False,
    root: Root = None,
    store: Store = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the metrics as JSON instead of a table.")
    ] = False,
    quiet: Quiet = False,
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
    for warning in metrics["warnings"]:
        console.err.print(warning, markup=False)
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
    else:
        console.out.print(tables.metrics_table(metrics))
