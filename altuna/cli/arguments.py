"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altuna.training.option_fields import MISSING_PATTERN_HELP, STORE_HELP

Run = Annotated[Path, typer.Argument(help="Run directory, as written by `altuna fit`.")]
Runs = Annotated[list[Path], typer.Argument(help="Run directories, as written by `altuna fit`.")]
OtherData = Annotated[
    str | None, typer.Option(help="Table or data set to evaluate on (default: the data of the run).")
]
Split = Annotated[str, typer.Option(help="Split to evaluate: train, val or test.")]
Pattern = Annotated[str, typer.Option(help=MISSING_PATTERN_HELP)]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the raw files of the data set av-digits (default: the folder of the run)."
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(help=STORE_HELP),
]
Lists = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the lists of train and test samples that the authors published. altuna takes the "
        "splits from these lists and leaves out all other samples."
    ),
]
PrintFolder = Annotated[bool, typer.Option("--quiet", help="Print only the path of the output folder.")]
PrintNothing = Annotated[bool, typer.Option("--quiet", help="Print nothing.")]
