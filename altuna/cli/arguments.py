"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="Run directory.")]
Runs = Annotated[list[Path], typer.Argument(help="Run directories.")]
OtherData = Annotated[str | None, typer.Option(help="Data to use instead of those of the run.")]
Split = Annotated[str, typer.Option(help="Split to use: train, val or test.")]
Pattern = Annotated[
    str,
    typer.Option(
        help="Which cells to mask: random (cells at random), group (one modality in a whole group), "
        "label (a modality that depends on the class), only:NAME (every modality except NAME) or "
        "never:NAME (modality NAME)."
    ),
]
Root = Annotated[Path | None, typer.Option(help="Folder of the raw files of av-digits.")]
Store = Annotated[
    Path | None, typer.Option(help="Folder of the store of decoded data (default: in the user's cache).")
]
Lists = Annotated[
    Path | None, typer.Option(help="Folder of the split lists that the authors of a paper published.")
]
PrintFolder = Annotated[bool, typer.Option("--quiet", help="Print only the path of the output folder.")]
PrintNothing = Annotated[bool, typer.Option("--quiet", help="Print nothing.")]
