"""The types of options that pydantic alone cannot state: what is converted, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from altuna import methods


def _path(value: object) -> object:
    return Path(value) if isinstance(value, str | os.PathLike) else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, os.PathLike) else value


def _mapping(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _name_or_options(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"must be a name, or options with their values, got {value!r}")


def _method(value: object) -> object:
    """Return a method's options, its name among them, also where only a name is given."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return dict(value)
    if isinstance(value, Mapping):
        raise ValueError("needs a name, one of " + ", ".join(methods.list()))
    raise ValueError(f"must be a name, or options with their values, got {value!r}")


def _unscaled(value: object) -> object:
    if isinstance(value, str) and value.startswith("16"):
        raise ValueError(f"{value} scales the gradients that methods read and modify; use bf16-mixed")
    return value


_METHOD = Annotated[str | dict[str, Any], Field(examples=methods.list())]
Anywhere = Annotated[Path, BeforeValidator(_path)]
Text = Annotated[str, BeforeValidator(_text)]
Options = Annotated[dict[str, Any], BeforeValidator(_mapping)]
NameOrOptions = Annotated[
    str | dict[str, Any] | None,
    PlainValidator(_name_or_options, json_schema_input_type=str | dict[str, Any] | None),
]
Method = Annotated[dict[str, Any], PlainValidator(_method, json_schema_input_type=_METHOD)]
Mappings = Annotated[dict[str, Options], BeforeValidator(_mapping)]
OptionalMappings = Annotated[dict[str, Options | None], BeforeValidator(_mapping)]
Encoders = Annotated[dict[str, NameOrOptions], BeforeValidator(_mapping)]
Names = Annotated[dict[str, str], BeforeValidator(_mapping)]
Weights = Annotated[dict[str, float], BeforeValidator(_mapping)]
Precision = Annotated[Literal["auto", "32-true", "bf16-mixed"], BeforeValidator(_unscaled)]
