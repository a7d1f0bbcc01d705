"""Flags made from typed options, and the options that flags, files and assignments give."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo
from rich.markup import escape

from altuna.errors import StoppedError, UserError
from altuna.files import parse_yaml, read_yaml, yaml_mistake
from altuna.options import accepted
from altuna.training.config import FitConfig
from altuna.training.option_fields import COMMON, marker

Command = TypeVar("Command", bound=Callable[..., None])
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one option, for example --set encoders.image.width=32. To set several options, repeat "
        "--set.",
    ),
]


def with_flags(fields: Mapping[str, FieldInfo], **more: Any) -> Callable[[Command], Command]:
    """Give a command the flags of options, ``--config`` and ``--set``, and ``more`` parameters of its own.

    The command is called with ``config``, ``set_`` and every flag by its name, None where it is not given, so
    that the fields stay the only home of defaults. Mappings have no flag; they are for a file or ``--set``.
    """
    common = [_flag(name, field) for name, field in fields.items() if marker(field, "group") == COMMON]
    others = [_flag(name, field) for name, field in fields.items() if marker(field, "group") != COMMON]
    file = typer.Option(
        help="YAML file that sets options, for example with the line `epochs: 10`. Flags override the file.",
        rich_help_panel=COMMON,
    )
    either = [
        _parameter("config", Annotated[Path | None, file]),
        _parameter("set_", Assignments),
    ]
    own = [_parameter(name, annotation) for name, annotation in more.items()]
    parameters = [one for one in (*own, *common, *either, *others) if one]

    def give(command: Command) -> Command:
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return give


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag(name: str, field: FieldInfo) -> inspect.Parameter | None:
    """Return the parameter of a field's flag, None where its value cannot be written on a command line."""
    kind = _plain(accepted(field))
    if kind is None:
        return None
    default = field.get_default()
    default = default["name"] if isinstance(default, dict) else default  # of the method
    shown = (
        "" if default in (None, []) or isinstance(default, bool) else f" [dim]\\[default: {default}][/dim]"
    )
    flag = name.replace("_", "-")
    option = typer.Option(
        f"--{flag}/--no-{flag}" if default is True else f"--{flag}",
        help=escape(field.description or "") + shown,
        show_default=False,
        rich_help_panel=marker(field, "group"),
    )
    return _parameter(name, Annotated[kind | None, option])


def _plain(hint: Any) -> Any:
    """Return the type of a flag's value, None where it cannot be written as one."""
    if hint in (str, int, float, bool, Path):
        return hint
    if get_origin(hint) is Literal:
        return str
    if get_origin(hint) is list:  # the flag can be repeated
        return hint if _plain(get_args(hint)[0]) else None
    if get_origin(hint) in (Union, UnionType):
        return next(filter(None, map(_plain, get_args(hint))), None)
    return None


def given_options(
    config: Path | None, assignments: Sequence[str] | None, flags: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of a file, of flags and of assignments; the later ones win."""
    options = read_yaml(config) if config is not None else {}
    _check_names(options, f"{config}: ")
    return apply_flags(options, assignments, flags)


def apply_flags(
    options: dict[str, Any], assignments: Sequence[str] | None, flags: Mapping[str, Any]
) -> dict[str, Any]:
    """Return options with those of flags and of assignments in their place."""
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    if isinstance(given.get("method"), str) and isinstance(options.get("method"), Mapping):
        same = options["method"].get("name") == given["method"]
        given["method"] = options["method"] if same else given["method"]
    options = {**options, **given}
    for assignment in assignments or []:
        assign(options, assignment)
    _check_names(options)
    return options


def _check_names(options: Mapping[str, Any], where: str = "") -> None:
    for name in options:
        if not isinstance(name, str) or name == "reporter":  # which commands give, not users
            raise UserError(f"{where}unknown option {name!r}")


@contextmanager
def naming(file: Path | None, of_file: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[None]:
    """Name the file in an error that begins with one of its options, unless a flag changed that option."""
    try:
        yield
    except UserError as error:
        name = re.split(r"\W", str(error), maxsplit=1)[0]
        if file is None or name not in of_file or of_file[name] != given.get(name):
            raise
        raise UserError(f"{file}: {error}") from None


def assign(options: dict[str, Any], assignment: str) -> None:
    """Carry out ``a.b=value`` on nested options; the value is YAML.

    Example:
        >>> options = {"encoders": {"image": "vit"}}
        >>> assign(options, "encoders.image.width=32")
        >>> options
        {'encoders': {'image': {'name': 'vit', 'width': 32}}}
    """
    path, equals, value = assignment.partition("=")
    *parents, last = path.split(".")
    if not equals or not all([*parents, last]):
        raise UserError(f"--set {assignment}: write KEY=VALUE, as in method.alpha=0.05")
    place = options
    for parent in parents:
        child = place.get(parent)
        if isinstance(child, str):  # `method: mla` and `encoder: resnet18` are short for a name
            child = {"name": child}
        elif child is None:
            child = dict(FitConfig().method) if parent == "method" and place is options else {}
        elif not isinstance(child, dict):
            raise UserError(f"--set {assignment}: {parent} has no options")
        place[parent] = child
        place = child
    try:
        place[last] = parse_yaml(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {assignment}: the value is not YAML: {yaml_mistake(error)}") from None


@contextmanager
def resumable_by_same_command() -> Iterator[None]:
    """Say after Ctrl-C that the same command continues."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("interrupted; run the same command again to continue") from None
