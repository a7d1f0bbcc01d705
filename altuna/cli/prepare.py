"""``altuna prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import Lists, PrintNothing
from altuna.recipes import RELEASES


def prepare(
    name: Annotated[str, typer.Argument(help="Name of the data set: " + ", ".join(RELEASES) + ".")],
    out: Annotated[Path, typer.Option(help="Table to write: a .csv or .parquet file.")],
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the files of the data set, as downloaded. For the data set icons, --root can "
            "also be the downloaded npm archive."
        ),
    ] = None,
    splits: Lists = None,
    seed: Annotated[int, typer.Option(help="Random seed for the train, val and test splits.")] = 0,
    download: Annotated[
        bool,
        typer.Option("--download", help="Download the files of the data set (only for av-digits)."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the table --out if it exists.")
    ] = False,
    quiet: PrintNothing = False,
) -> None:
    """Prepare a release, and print what was found in it."""
    from altuna.recipes.prepare import prepare as prepare_release
    from altuna.terminal import tables
    from altuna.terminal.console import reporter

    report = prepare_release(
        name,
        root,
        out,
        splits=splits,
        seed=seed,
        download=download,
        overwrite=overwrite,
        reporter=reporter(quiet),
    )
    if not quiet:
        tables.print_report(report)
