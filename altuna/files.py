"""Files that are there whole or not at all."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from altuna.errors import UserError

_LOCK = ".lock"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of ``path`` when all is written, or goes."""
    unfinished = _unfinished(path)
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
        os.replace(unfinished, path)
    except OSError as error:
        if str(unfinished) not in str(error):
            raise
        number = error.errno or EIO  # of a name that nobody gave
        raise OSError(number, os.strerror(number), str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill; it becomes ``folder`` when it is full, unless another process was faster.

    What processes that were killed left unfinished of the same folder goes.
    """
    from filelock import Timeout  # here and below: the command line starts without it

    folder.parent.mkdir(parents=True, exist_ok=True)
    for lock in folder.parent.glob(f".{glob.escape(folder.name)}-{'?' * 8}.unfinished{_LOCK}"):
        with suppress(Timeout), _locked(lock, timeout=0):  # held by who fills it, as long as that one lives
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    unfinished = _unfinished(folder)
    with _locked(unfinished.with_name(unfinished.name + _LOCK)):
        try:
            unfinished.mkdir()
            yield unfinished
            try:
                os.replace(unfinished, folder)
            except OSError:
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def exclusive_folder(folder: Path, said: str) -> Iterator[None]:
    """Let no other process that asks for the same be at work in a folder.

    Raises:
        UserError: One is; the message ends with ``said``.
    """
    from filelock import Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(_locked(folder.with_name(f".{folder.name}{_LOCK}"), timeout=0))
        except Timeout:
            raise UserError(f"{folder}: {said}") from None
        yield


@contextmanager
def _locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock, a file that goes with it; it lies beside what it is for, which may be moved."""
    from filelock import FileLock

    with FileLock(path, timeout=timeout):
        try:
            yield
        finally:
            with suppress(OSError):  # on Windows, where it goes by itself
                path.unlink()


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}-{uuid4().hex[:8]}.unfinished")


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file; the first row is its header."""
    with atomic_write(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of options")
    return content


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number and ``off`` a word, as everywhere but in YAML 1.1."""


_Loader.yaml_implicit_resolvers = {
    first: [r for r in resolvers if r[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """Parse YAML; nothing is executed.

    Raises:
        yaml.YAMLError: The text is not YAML.
    """
    return yaml.load(text, _Loader)


def cache_folder() -> Path:
    """Return where prepared data lie: ``$ALTUNA_CACHE``, or ``altuna`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ALTUNA_CACHE") or Path(base) / "altuna")
