"""``altuna demo``."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    run: Annotated[
        str, typer.Argument(help="Run directory, or hf:ORG/NAME for a model on the Hugging Face Hub.")
    ],
    host: Annotated[
        str,
        typer.Option(help="Address of the web page. With --host 0.0.0.0, other machines can open the page."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port of the web page (default: the first free port from 7860).")
    ] = None,
) -> None:
    """Serve the demo until Ctrl-C."""
    from altuna.demo import serve

    serve(run, host, port, typer.echo)
