"""Options checked against the signatures that define them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from altuna.errors import UserError


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
