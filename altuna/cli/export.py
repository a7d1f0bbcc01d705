"""``altuna export``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from altuna.cli.arguments import PrintFolder, Root, Run, Store


def export(
    run: Run,
    format: Annotated[str, typer.Option(help="File format: onnx, torch-export or safetensors.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the exported files (default: export/FORMAT in the run directory)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Table or data set with samples, on which altuna checks the exported files (default: "
            "the data of the run)."
        ),
    ] = None,
    root: Root = None,
    store: Store = None,
    quiet: PrintFolder = False,
) -> None:
    """Export, and print how well the files' predictions agree with the model's."""
    from altuna.export.export import export as write
    from altuna.terminal.console import reporter

    folder, checked = write(run, format, out=out, data=data, root=root, store=store, reporter=reporter(quiet))
    if quiet:
        typer.echo(folder)
    else:
        _show(folder, checked)


def _show(folder: Path, checked: Mapping[str, Any]) -> None:
    some, all_ = checked["subsets"], checked["of_subsets"]
    subsets = "every subset" if some == all_ else f"{some:,} of {all_:,} subsets"
    typer.echo(
        f"wrote {folder}; its predictions of {checked['samples']:,} samples from {subsets} of the "
        f"modalities equal the model's within {checked['largest_difference']:.1g}"
    )
    for modality in checked["without_samples"]:
        unread, why = checked["unread"].get(modality), "no sample has this modality"
        if unread:
            why = f"{unread['cells']:,} of its cells cannot be read (the first: {unread['first']})"
        typer.echo(f"{modality}: {why}, so its graph was not checked", err=True)
