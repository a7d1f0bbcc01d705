"""``altuna push``."""

from __future__ import annotations

from typing import Annotated

import typer

from altuna.cli.arguments import Run


def push(
    run: Run,
    repo: Annotated[str, typer.Argument(help="Name of the repository on the Hugging Face Hub: ORG/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
) -> None:
    """Upload a model, and print its address."""
    from altuna.export.hub import push_to_hub

    typer.echo(push_to_hub(run, repo, private=private))
