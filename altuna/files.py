"""Files: written whole or not at all, read within bounds."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from altuna.errors import UserError

MAX_YAML_BYTES = 16 << 20
MAX_YAML_NODES = 1_000_000  # with aliases written out
MAX_DEPTH = 50  # of values within values
_LOCK = ".lock"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to; move it to ``path`` when the block ends, delete it if the block raises.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder, "a.txt")) as unfinished:
        ...         _ = unfinished.write_text("all of it")
        ...     Path(folder, "a.txt").read_text()
        'all of it'
    """
    unfinished = _unfinished(path)
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
        os.replace(unfinished, path)
    except OSError as error:
        if str(unfinished) not in str(error):
            raise
        number = error.errno or EIO  # the name is ours; the user knows only ``path``
        raise OSError(number, os.strerror(number), str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill; move it to ``folder`` when the block ends, unless another process was faster.

    Delete what killed processes left unfinished of the same folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for lock in folder.parent.glob(f".{glob.escape(folder.name)}-{'?' * 8}.unfinished{_LOCK}"):
        with _locked(lock, wait=False) as held:  # by the process that fills it, while it lives
            if held:
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
def exclusive_folder(folder: Path, reason: str) -> Iterator[None]:
    """Hold a folder's lock, so that one process at a time works in it.

    Raises:
        UserError: Another process holds it; the message ends with ``reason``. Or it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = folder.with_name(f".{folder.name}{_LOCK}")
        try:
            held = stack.enter_context(_locked(lock, wait=False))
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
        if not held:
            if not lock.exists() and not folder.exists():  # as in /proc
                raise UserError(f"{folder}: cannot be written: no files can be made in {folder.parent}")
            raise UserError(f"{folder}: {reason}")
        yield


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file and delete it afterwards; yield False if it is not free and ``wait`` is False.

    The file lies beside what it protects, which may be moved.
    """
    from filelock import FileLock, Timeout  # brings asyncio, which ``altuna --help`` can do without

    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # on Windows, where it is deleted on release
            path.unlink()
        lock.release()


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


def check_regular(path: Path, max_bytes: int | None = None) -> None:
    """Check that a path is a regular file of at most ``max_bytes``: reading a FIFO may never end.

    Raises:
        FileNotFoundError, NotADirectoryError: There is no such file.
        UserError: It is something else than a file, or too large.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:  # the latter of a NUL in the name
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path}: is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is a pipe or a device, not a file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise UserError(f"{path}: too large: {status.st_size:,} bytes, at most {max_bytes:,} are read")


def read_text(path: Path, max_bytes: int) -> str:
    """Read a regular UTF-8 file of at most ``max_bytes``.

    Raises:
        FileNotFoundError, NotADirectoryError: There is no such file.
        UserError: It cannot be read, or is not UTF-8.
    """
    check_regular(path, max_bytes)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise UserError(f"{path}: cannot be read: not UTF-8 ({error})") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: No such file, not YAML, nested too deeply, or not a mapping.
    """
    try:
        content = parse_yaml(read_text(path, MAX_YAML_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: cannot be read: {yaml_mistake(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of options")
    return content


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number and ``off`` a word, as everywhere but in YAML 1.1.

    A key that is twice in a mapping is a mistake.
    """

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        found = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":  # which merges, also several
                continue
            if (key.tag, key.value) in found:
                reason = f"the key {key.value!r} is given twice"
                raise yaml.MarkedYAMLError(problem=reason, problem_mark=key.start_mark)
            found.add((key.tag, key.value))
        return node


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
        yaml.YAMLError: The text is not YAML, nested too deeply, or too large with its aliases written out.

    Example:
        >>> parse_yaml("{lr: 1e-4, project: off}")
        {'lr': 0.0001, 'project': 'off'}
    """
    try:
        content = yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except ValueError as error:  # of a date such as 2026-13-45
        raise yaml.YAMLError(str(error)) from None
    _count_nodes(content)
    return content


def yaml_mistake(error: yaml.YAMLError) -> str:
    r"""Return what is wrong, and where, on one line.

    Example:
        >>> try:
        ...     parse_yaml("a: 1\nb: [2")
        ... except yaml.YAMLError as error:
        ...     yaml_mistake(error)
        "line 2, column 6: expected ',' or ']', but got '<stream end>'"
    """
    text = str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        text = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(text.replace('in "<unicode string>", ', "").split())[:300]


def _count_nodes(content: Any, depth: int = 0, before: int = 0) -> int:
    """Return how many values there are, counting those of aliases each time."""
    if depth > MAX_DEPTH:
        raise yaml.YAMLError("nested too deeply")
    count = before + 1
    if count > MAX_YAML_NODES:
        raise yaml.YAMLError(f"more than {MAX_YAML_NODES:,} values")
    if isinstance(content, dict):
        for key, value in content.items():
            count = _count_nodes(value, depth + 1, _count_nodes(key, depth + 1, count))
    elif isinstance(content, list | tuple | set):
        for value in content:
            count = _count_nodes(value, depth + 1, count)
    return count


def cache_folder() -> Path:
    """Return the folder of prepared data: ``$ALTUNA_CACHE``, or ``altuna`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ALTUNA_CACHE") or Path(base) / "altuna")
