"""Models on the Hugging Face hub: download for loading, and whether one can be reached."""

from __future__ import annotations

from pathlib import Path

from altuna.errors import UserError
from altuna.text import one_line

PREFIX = "hf:"
FILES = ("model.safetensors", "config.json")
SECONDS = 10  # to wait for an answer of the hub


def download(name: str, revision: str | None = None, token: str | None = None) -> Path:
    """Return the local folder of a model on the hub, ``hf:ORG/NAME``; it is downloaded once.

    Raises:
        UserError: There is none, or the hub cannot be reached and it was not downloaded before.

    Example:
        >>> download("hf:ORG/NAME")  # doctest: +SKIP
        >>> download("hf:no/such/model")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: hf:no/such/model: cannot be loaded from the hub: ...
    """
    from huggingface_hub import snapshot_download  # slow, and only models of the hub need it

    repo = name.removeprefix(PREFIX)
    try:
        folder = snapshot_download(repo, revision=revision, token=token, allow_patterns=[*FILES])
    except Exception as error:  # of many kinds, those of the network's libraries among them
        raise UserError(f"{PREFIX}{repo}: cannot be loaded from the hub: {one_line(error)}") from None
    return Path(folder)


def check_source(name: str) -> None:
    """Check that a model is in a local folder, was downloaded before, or is on the hub, asked once.

    The libraries that load it would ask again and again for a minute if there is no network.

    Raises:
        UserError: It is nowhere.

    Example:
        >>> import tempfile
        >>> check_source(f"hf:{tempfile.mkdtemp()}")  # a local folder
        >>> check_source("hf:no/such/model")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: hf:no/such/model: cannot be loaded ...
    """
    source = name.removeprefix(PREFIX)
    if Path(source).is_dir():
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(source, "config.json"), str):
            get_hf_file_metadata(hf_hub_url(source, "config.json"), timeout=SECONDS)
    except Exception as error:  # of many kinds, those of the network's libraries among them
        reason = f"cannot be loaded (neither a local folder nor found on the hub): {one_line(error)}"
        raise UserError(f"{PREFIX}{source}: {reason}") from None
