"""``altuna reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from altuna.cli.arguments import Lists, PrintFolder
from altuna.cli.flags import Assignments, apply_flags, resumable_by_same_command


def reproduce(
    table: Annotated[
        str,
        typer.Argument(
            help="Table of the MLA paper to reproduce. complete: MLA and eight other methods on five data "
            "sets. missing: the data sets CREMA-D and IEMOCAP with 0, 20 and 50 % missing inputs. "
            "ablation: MLA with and without gradient projection, and with the fusion rules entropy and mean. "
            "clip: the data set Food-101 with CLIP encoders."
        ),
    ],
    data_root: Annotated[
        Path,
        typer.Option(
            help="Folder with the data sets. Each data set is either a subfolder with the downloaded "
            "files, such as cremad, or a table from `altuna prepare`, such as cremad.csv."
        ),
    ],
    data: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Use only these data sets (default: all).")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Use only these methods (default: all methods of the table)."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Number of trainings per method, with the seeds 0, 1, 2 and so on.")
    ] = 3,
    jobs: Annotated[
        int | None, typer.Option(help="Number of trainings to run at the same time (default: 1).")
    ] = None,
    splits: Lists = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results (default: runs/reproduce-TABLE).")
    ] = None,
    quiet: PrintFolder = False,
    set_: Assignments = None,
) -> None:
    """Reproduce, and print the table beside the published one."""
    from altuna.comparison.reproduce import reproduce as run
    from altuna.terminal import tables
    from altuna.terminal.console import out as screen
    from altuna.terminal.console import reporter

    options: dict[str, Any] = apply_flags({}, set_, {})
    with resumable_by_same_command():
        folder = run(
            table,
            data_root,
            data=data.split(",") if data else None,
            methods=methods.split(",") if methods else None,
            seeds=seeds,
            jobs=jobs,
            splits=splits,
            out=out,
            reporter=reporter(quiet),
            **options,
        )
    if quiet:
        typer.echo(folder)
    else:
        screen.print(tables.csv_table(table, folder / "reproduce.csv"))
        typer.echo(f"results in {folder} (reproduce.md, reproduce.csv)")
