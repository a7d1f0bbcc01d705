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
    from pydantic_core import ErrorDetails

MAX_SHOWN = 80  # characters of a wrong value in a message

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
        options: The given options.
        function: Takes the options as keyword arguments; a class stands for its constructor.
        where: Names the place for messages.
        beside: Parameters that are not options.
        others: Pass over the names that the function does not have.
        more: Names of further options, with their types.

    Raises:
        UserError: An unknown name (the nearest one is given), or a value of the wrong type.
    """
    if not isinstance(options, Mapping):
        raise UserError(f"{where}: must be a mapping of options to values, got {options!r}")
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
            raise UserError(f"{where}: {name} must be {_words(hints[name])}, got {shown(value)}")


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
        Mapping: "a mapping of options to values",
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
        content: The given options.
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
    """Return the first mistake that pydantic found as one line, unknown keys before others.

    An error of the type ``altuna`` has the line itself in its context, which begins with a key below its own.
    """
    found = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")[0]
    return " ".join(_line(found, schema).split())


def _line(found: ErrorDetails, schema: type[BaseModel]) -> str:
    kind, place, value = found["type"], [str(part) for part in found["loc"]], shown(found["input"])
    key, context = ".".join(place), found.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys(schema, found["loc"][:-1])
        within = f"{'.'.join(place[:-1])}: " if place[:-1] else ""
        return f"{within}unknown option {place[-1]!r}{nearest(place[-1], known)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "altuna":
        return (f"{key}." if key else "") + str(context["line"])
    if kind == "literal_error" and (known := re.findall("'([^']*)'", context["expected"])):
        return f"{key}: no {value}{nearest(str(found['input']), known)}"
    if kind == "value_error":
        text = str(context["error"])
        return f"{key}: {text}" if place and not text.startswith(key) else text
    if kind in _REASONS:
        limits = {n: int(x) if isinstance(x, float) and x.is_integer() else x for n, x in context.items()}
        reason = _REASONS[kind].format(**limits)
        return f"{key} must {reason}, got {value}" if key else f"must {reason}, got {value}"
    return f"{key}: {found['msg']}, got {value}" if key else f"{found['msg']}, got {value}"


# By the type of a pydantic error, with the error's context.
_REASONS = {
    "greater_than_equal": "be at least {ge}",
    "greater_than": "be above {gt}",
    "less_than_equal": "be at most {le}",
    "less_than": "be below {lt}",
    "literal_error": "be {expected}",
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "int_parsing": "be a whole number",
    "float_parsing": "be a number",
    "int_parsing_size": "be a smaller whole number",
    "float_type": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "none_required": "be empty",
    "string_type": "be a text",
    "string_too_short": "not be empty",
    "string_too_long": "have at most {max_length} characters",
    "too_short": "not be empty",
    "path_type": "be a path",
    "is_instance_of": "be a path",
    "dict_type": "be a mapping of options to values",
    "model_type": "be a mapping of options to values",
    "model_attributes_type": "be a mapping of options to values",
    "list_type": "be a list",
    "tuple_type": "be a list",
}


def shown(value: object) -> str:
    """Return a value as a message shows it: the beginning of a long one, an object without its address.

    Example:
        >>> shown(0.5), len(shown("x" * 1000)), shown(object())
        ('0.5', 80, '<object object>')
    """
    try:
        text = "nothing" if value is None else repr(value)
        text = text if isinstance(value, str) else re.sub(r" at 0x[0-9A-Fa-f]+", "", text)
    except ValueError:  # a number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _keys(schema: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that a model has, or the model at a place within it."""
    hint: Any = schema
    for part in place:
        fields = getattr(hint, "model_fields", None)
        hint = fields[part].annotation if fields else get_args(hint)[-1]  # else of a mapping to models
        if get_origin(hint) in (Union, types.UnionType):
            hint = next(one for one in get_args(hint) if one is not type(None))
    return [*hint.model_fields]
