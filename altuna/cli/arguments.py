"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="Run directory.")]
Runs = Annotated[list[Path], typer.Argument(help="Run directories.")]
OtherData = Annotated[str | None, typer.Option(help="Use these data instead of the run's.")]
Split = Annotated[str, typer.Option(help="Split: train, val or test.")]
Pattern = Annotated[
    str, typer.Option(help="Which cells to mask: random, group, label, only:MODALITY or never:MODALITY.")
]
Root = Annotated[Path | None, typer.Option(help="Folder of the raw files of av-digits.")]
Store = Annotated[
    Path | None, typer.Option(help="Folder of the prepared data (default: in the user's cache).")
]
Lists = Annotated[Path | None, typer.Option(help="Folder of the authors' published lists of splits.")]
PrintFolder = Annotated[bool, typer.Option("--quiet", help="Print only the folder.")]
PrintNothing = Annotated[bool, typer.Option("--quiet", help="Print nothing.")]
