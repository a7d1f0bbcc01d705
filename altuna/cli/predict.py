"""``altuna predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import PrintNothing, Run, Store


def predict(
    run: Run,
    data: Annotated[
        str, typer.Option(help="Table with the samples to predict. The table needs no label column.")
    ],
    out: Annotated[Path, typer.Option(help="File to write the predictions to: .parquet or .csv.")],
    store: Store = None,
    quiet: PrintNothing = False,
) -> None:
    """Predict, and print how many predictions were written."""
    from altuna.runs.predict import predict_to_file
    from altuna.terminal.console import reporter

    number = predict_to_file(run, data, out, store=store, reporter=reporter(quiet))
    if not quiet:
        typer.echo(f"{number:,} predictions in {out}")
