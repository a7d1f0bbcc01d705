"""Options checked against the signatures that define them."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from altuna.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

Schema = TypeVar("Schema", bound="BaseModel")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or the list of all of them."""
    known = [*known]
    near = get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def check_options(
    options: Mapping[str, Any],
    function: Callable[..., Any],
    where: str,
    beside: Collection[str] = (),
    others: bool = False,
    more: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:
    """Check names and values against a function's signature.

    Args:
        options: What was given.
        function: Takes the options as keyword arguments; a class stands for its constructor.
        where: Names the place for messages.
        beside: Parameters that are not options.
        others: Pass over the names that the function does not have.
        more: Names of further options, with their types.

    Raises:
        UserError: An unknown name (the nearest one is given), or a value of the wrong type.
    """
    if not isinstance(options, Mapping):
        raise UserError(f"{where}: must be options with their values, got {options!r}")
    signature = inspect.signature(function)
    source = getattr(function, "func", function)  # of a functools.partial
    hints = get_type_hints(source.__init__ if inspect.isclass(source) else source) | dict(more)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [
        n for n, parameter in signature.parameters.items() if parameter.kind in named and n not in beside
    ] + [*more]
    for name, value in options.items():
        if name not in known and others:
            continue
        if name not in known:
            raise UserError(f"{where}: unknown option {name!r}{nearest(name, known)}")
        if not _fits(value, hints[name]):
            raise UserError(f"{where}: {name} must be {_words(hints[name])}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return True
    if origin is Literal:
        return value in inner and type(value) in map(type, inner)
    if origin is Annotated:
        return _fits(value, inner[0])
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is not None:
        return isinstance(value, origin) and not (isinstance(value, str) and origin is not str)
    return isinstance(value, hint) or (hint.__name__ == "Path" and isinstance(value, str))


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner)
    if hint is type(None):
        return "empty"
    if origin is not None:
        hint = origin
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        Mapping: "options with their values",
        Sequence: "a list",
    }
    return plain.get(hint, getattr(hint, "__name__", str(hint)))


def document(function: Callable[..., Any], fields: Mapping[str, FieldInfo]) -> None:
    """Give a function of ``**options`` the signature of these options, and list them in its docstring."""
    own = inspect.signature(function).parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    stated = [
        inspect.Parameter(name, keyword, default=field.get_default(), annotation=accepted(field))
        for name, field in fields.items()
        if name not in own
    ]
    last = [p for name, p in own.items() if name not in fields and p.kind is keyword]
    parameters = [*(p for name, p in own.items() if name in fields), *stated, *last]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    head, raises, tail = (function.__doc__ or "").partition("    Raises:\n")
    lines = [f"        {name}: {field.description}\n" for name, field in fields.items()]
    lines.append(
        "        reporter: Where to report (default: the logger ``altuna``, nothing if ``quiet``).\n"
    )
    function.__doc__ = f"{head}    Args:\n{''.join(lines)}\n{raises}{tail}"


def accepted(field: FieldInfo) -> Any:
    """Return the type of what a field of a pydantic model accepts, without what checks it."""
    from pydantic import PlainValidator

    given = (one.json_schema_input_type for one in field.metadata if isinstance(one, PlainValidator))
    return _bare(next(given, field.annotation))


def _bare(hint: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bare(inner[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_bare, inner))]  # noqa: UP007 - of how many is not known
    if origin is not None and origin is not Literal:
        return origin[tuple(map(_bare, inner))]
    return hint


def validate(schema: type[Schema], content: Mapping[str, Any], where: str = "") -> Schema:
    """Check options against a pydantic model and return it filled in.

    Args:
        schema: The model.
        content: What was given.
        where: Begins each message: a file, or nothing.

    Raises:
        UserError: The first mistake in one line: an unknown key (with the nearest one), a value of a wrong
            type or outside its bounds.
    """
    from pydantic import ValidationError  # `altuna --help` starts without it

    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError((f"{where}: " if where else "") + mistake(error, schema)) from None


def mistake(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return the first mistake that pydantic found as one line, unknown keys before others."""
    found = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")[0]
    kind, place, value = found["type"], [str(part) for part in found["loc"]], found["input"]
    key, context = ".".join(place), found.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys(schema, place[:-1])
        within = f"{'.'.join(place[:-1])}: " if place[:-1] else ""
        return f"{within}unknown option {place[-1]!r}{nearest(place[-1], known)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "literal_error":
        known = re.findall("'([^']*)'", context["expected"])
        return f"{key}: no {value!r}{nearest(str(value), known)}"
    if kind == "value_error":
        text = " ".join(str(context["error"]).split())
        return f"{key}: {text}" if place and not text.startswith(key) else text
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        limit = context[name]
        return f"{key} must be {words} {int(limit) if limit == int(limit) else limit}, got {value!r}"
    if kind in _TYPES:
        return f"{key} must be {_TYPES[kind]}, got {value!r}"
    return f"{key}: {found['msg']}, got {value!r}"


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "is_instance_of": "a path",
    "dict_type": "options with their values",
    "model_type": "options with their values",
    "model_attributes_type": "options with their values",
    "list_type": "a list",
    "tuple_type": "a list",
}


def _keys(schema: type[BaseModel], place: Sequence[str]) -> list[str]:
    """Return the keys that a model has, or the model at a place within it."""
    for part in place:
        hint = schema.model_fields[part].annotation
        inner = [one for one in (hint, *get_args(hint)) if hasattr(one, "model_fields")]
        schema = inner[0]
    return [*schema.model_fields]
