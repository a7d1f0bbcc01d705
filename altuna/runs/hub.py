"""Models on the Hugging Face hub: download for loading."""

from __future__ import annotations

from pathlib import Path

from altuna.errors import UserError
from altuna.text import one_line

PREFIX = "hf:"
FILES = ("model.safetensors", "config.json")


def download(name: str, revision: str | None = None, token: str | None = None) -> Path:
    """Return the local folder of a model on the hub, ``hf:ORG/NAME``; it is downloaded once.

    Raises:
        UserError: There is none, or the hub cannot be reached and it was not downloaded before.
    """
    from huggingface_hub import snapshot_download  # slow, and only models of the hub need it

    repo = name.removeprefix(PREFIX)
    try:
        folder = snapshot_download(repo, revision=revision, token=token, allow_patterns=[*FILES])
    except Exception as error:  # of many kinds, those of the network's libraries among them
        raise UserError(f"{PREFIX}{repo}: cannot be loaded from the hub: {one_line(error)}") from None
    return Path(folder)
