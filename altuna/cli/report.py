"""``altuna report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import Runs


def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write (default: report.html in the run directory, or runs/report.html for "
            "several runs)."
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Also write every plot as PNG and PDF to this folder. --figures requires `pip install "
            "'altuna\\[report]'`."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the path of the report.")] = False,
) -> None:
    """Write the report, and print where it is."""
    from altuna.report import write_report
    from altuna.terminal.console import reporter

    with reporter(quiet).waiting("writing the report"):
        page = write_report(runs, out, figures)
    typer.echo(page if quiet else f"wrote {page}" + (f", plots in {figures}" if figures else ""))
