"""``altuna robustness``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altuna.cli.arguments import OtherData, Pattern, PrintFolder, Root, Runs, Split, Store
from altuna.errors import UserError


def robustness(
    runs: Runs,
    data: OtherData = None,
    split: Split = "test",
    rates: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Fractions of the cells to mask (default: 0,0.1,...,0.7). A cell is one modality of one "
            "sample. The default leaves out fractions at which a sample would lose all modalities. With "
            "--pattern only:NAME and never:NAME, the numbers are fractions of the samples, and the default "
            "also contains 1.",
        ),
    ] = None,
    pattern: Pattern = "random",
    masks: Annotated[
        int,
        typer.Option(
            help="Number of random masks for each fraction in --rates. altuna averages the metrics "
            "over all masks."
        ),
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results (default: the run directory, or runs/robustness for several runs)."
        ),
    ] = None,
    root: Root = None,
    store: Store = None,
    quiet: PrintFolder = False,
) -> None:
    """Evaluate runs with missing modalities, and print the tables."""
    given = _numbers("rates", rates)

    from altuna.comparison import robustness
    from altuna.runs.directory import read_json
    from altuna.terminal import tables
    from altuna.terminal.console import out as screen
    from altuna.terminal.console import reporter

    folder = robustness.robustness(
        runs,
        data=data,
        split=split,
        rates=given,
        pattern=pattern,
        masks=masks,
        out=out,
        root=root,
        store=store,
        reporter=reporter(quiet),
    )
    if quiet:
        typer.echo(folder)
        return
    result = read_json(folder, "robustness.json")
    for title, header, rows in robustness.tables(result):
        screen.print(tables.text_table(title, header, rows))
    typer.echo(robustness.legend(result))
    typer.echo(f"results in {folder} (open {folder / 'robustness.html'})")


def _numbers(name: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"{name}: write numbers with commas, got {text!r}") from None
