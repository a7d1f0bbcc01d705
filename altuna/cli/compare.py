"""``altuna compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from altuna.cli.flags import given_options, resumable_by_same_command, with_flags
from altuna.comparison.config import CompareConfig, run_options


@with_flags({**CompareConfig.model_fields, **run_options()})
def compare(config: Path | None, set_: list[str] | None, **flags: Any) -> None:
    """Compare, and print the tables."""
    given = given_options(config, set_, flags)
    quiet = bool(given.get("quiet"))

    from altuna.comparison.compare import AllFailedError
    from altuna.comparison.compare import compare as train_all
    from altuna.terminal.console import reporter

    try:
        with resumable_by_same_command():
            folder = train_all(**given, reporter=reporter(quiet))
    except AllFailedError as error:
        if not quiet:
            show(error.folder)
        raise
    typer.echo(folder) if quiet else show(folder)


def show(folder: Path) -> None:
    """Print a comparison's tables and where things are."""
    from altuna.runs.directory import read_json
    from altuna.terminal import tables
    from altuna.terminal.console import out

    out.print(*tables.comparison_tables(read_json(folder, "compare.json")), sep="\n")
    out.print(f"compared in {folder} (compare.json, compare.csv, compare.md)", soft_wrap=True, markup=False)
