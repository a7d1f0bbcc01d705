"""``altuna fit``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import typer

from altuna.cli.flags import apply_flags, given_options, naming, with_flags
from altuna.errors import StoppedError, UserError
from altuna.options import validate
from altuna.training.config import FitConfig, options
from altuna.training.option_fields import COMMON

Table = Annotated[
    str | None,
    typer.Argument(
        help="Table or data set to train on. `altuna fit TABLE` is short for `altuna fit --data TABLE`."
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        help="Name of the label column (default: label). --label NAME is short for --set columns.label=NAME.",
        rich_help_panel=COMMON,
    ),
]


@with_flags(options(), table=Table, label=Label)
def fit(
    config: Path | None, set_: list[str] | None, table: str | None, label: str | None, **flags: Any
) -> None:
    """Train, and print the tables of the run."""
    if table is not None and flags.get("data") is not None:
        raise UserError(f"give the data once: {table!r} or --data {flags['data']!r}")
    flags["data"] = flags.get("data") or table
    set_ = [*(set_ or []), *([f"columns.label={json.dumps(label)}"] if label else [])]
    if flags.get("resume") and config is None:
        options, file = _options_of_resumed(flags), flags["out"] / "config.yaml"
    else:
        options, file = given_options(config, None, {}), config
    if options:
        validate(FitConfig, options, str(file))
    given = apply_flags(deepcopy(options), set_, flags)
    quiet = validate(FitConfig, given).quiet

    from altuna.core.collectives import rank  # with torch, which help does without
    from altuna.terminal.console import reporter
    from altuna.training.fit import fit as train

    try:
        with naming(file, options, given):
            run = train(**given, reporter=reporter(quiet))
    except KeyboardInterrupt as stop:
        more = f"; continue with: altuna fit --resume --out {stop.args[0]}" if stop.args else ""
        raise StoppedError(f"interrupted{more}") from None
    if rank() == 0:
        typer.echo(run) if quiet else show(run)


def _options_of_resumed(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the run to resume was started with, none if it had not begun."""
    run: Path | None = flags.get("out")
    if run is None:
        raise UserError("--resume needs --out, the run directory to continue")
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file, not a run directory")
    if not (run / "config.yaml").exists():
        # A kill at the very start may leave a file that was being written.
        if run.exists() and any(not path.name.endswith(".unfinished") for path in run.iterdir()):
            raise UserError(f"{run}: is not a run directory: no config.yaml")
        if flags.get("data") is None:
            raise UserError(f"{run}: there is no training to continue; give --data to start a new one")
        return {}
    from altuna.runs.directory import read_config

    return read_config(run)


def show(run: Path) -> None:
    """Print a finished run's tables and where things are."""
    from altuna.report import weights_by_class
    from altuna.runs.directory import read_metrics, read_predictions
    from altuna.terminal import tables
    from altuna.terminal.console import out

    metrics = read_metrics(run)
    out.print(tables.metrics_table(metrics))
    for warning in metrics["warnings"]:
        out.print(f"warning: {warning}", style="bold yellow", markup=False, soft_wrap=True)
    out.print(tables.weights_table(weights_by_class(read_predictions(run))))
    show_problems(run / "problems.csv")
    page = run / "report.html"
    out.print(f"results in {run}" + f" (open {page})" * page.exists(), soft_wrap=True, markup=False)


def show_problems(path: Path, most: int = 5) -> None:
    """Print the first problems of a ``problems.csv``."""
    from altuna.data.store.problems import Problem
    from altuna.terminal.console import PLAIN, out

    with path.open(encoding="utf-8", newline="") as file:
        problems = [Problem(**{**row, "row": int(row["row"])}) for row in csv.DictReader(file)]  # type: ignore[arg-type]
    if problems:
        out.print(f"{len(problems)} remark{'s' * (len(problems) > 1)} on the data: {path}", **PLAIN)
    for problem in problems[:most]:
        out.print(f"  {problem}", **PLAIN)
