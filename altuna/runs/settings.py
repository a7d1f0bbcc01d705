"""Check the settings of readers and encoders in ``config.json``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model
from pydantic_core import PydanticCustomError

from altuna.data.readers import READERS, Reader
from altuna.errors import UserError
from altuna.options import MAX_SHOWN, mistake, shown

MAX_SETTING = 1 << 24  # the largest whole number in a reader's or an encoder's settings
MAX_CELL = 1 << 28  # numbers in a cell
MAX_DEPTH = 20  # of values within values


def make_reader(settings: Mapping[str, Any]) -> Reader:
    """Return the reader with the settings of ``config.json``, ``name`` among them.

    Raises:
        PydanticCustomError: No such reader or setting, or a value of the wrong type or size.

    Example:
        >>> make_reader({"name": "vector", "size": 3})
        VectorReader(size=3, origin=())
    """
    name = settings.get("name")
    _check_numbers(settings, "reader")
    own = {key: _as_tuples(value) for key, value in settings.items() if key != "name"}
    if not isinstance(name, str) or name not in READERS:
        raise wrong("reader.name", f"must be one of {', '.join(READERS)}, got {shown(name)}")
    reader = READERS[name]
    hints = get_type_hints(reader)
    fields: Any = {
        f.name: (hints[f.name], ... if f.default is dataclasses.MISSING else f.default)
        for f in dataclasses.fields(reader)  # type: ignore[arg-type]
    }
    model = create_model("Settings", __config__=ConfigDict(strict=True, extra="forbid"), **fields)
    try:
        model.model_validate(own)
        made = reader(**own)
    except (ValidationError, UserError) as error:
        line = mistake(error, model) if isinstance(error, ValidationError) else str(error)
        raise wrong("reader", line, separator=".") from None
    for key, value in own.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not 0 < value <= MAX_SETTING:
            raise wrong(f"reader.{key}", f"must be more than 0 and at most {MAX_SETTING}, got {shown(value)}")
    if (size := math.prod(made.shape)) > MAX_CELL:
        raise wrong("reader", f"a cell would have {size:,} numbers, at most {MAX_CELL:,} may be")
    return made


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def check_encoder(encoder: Mapping[str, Any]) -> None:
    """Check what may be in an encoder's settings whichever it is; its signature says the rest.

    Raises:
        PydanticCustomError: A number that is not finite or too large, values nested too deeply, a file or a
            download to take weights from.

    Example:
        >>> check_encoder({"name": "mlp", "hidden": 64})
        >>> check_encoder({"name": "mlp", "hidden": float("inf")})
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.PydanticCustomError: encoder.hidden: must be a finite number, got inf
    """
    _check_numbers(encoder, "encoder")
    name, saved = encoder.get("name"), encoder.get("saved")
    if name is not None and not isinstance(name, str):
        raise wrong("encoder.name", f"must be a text, got {shown(name)}")
    transforms, front_end = encoder.get("transforms") or {}, encoder.get("front_end") or {}
    if not isinstance(transforms, Mapping):
        raise wrong("encoder.transforms", f"must be a mapping, got {shown(transforms)}")
    for transform, options in transforms.items():
        if options is not None and not isinstance(options, Mapping):
            raise wrong(f"encoder.transforms.{transform}", f"must be a mapping, got {shown(options)}")
    if not isinstance(front_end, str | Mapping):
        raise wrong("encoder.front_end", f"must be a text or a mapping, got {shown(front_end)}")
    if isinstance(front_end, Mapping) and not isinstance(front_end.get("name", ""), str):
        raise wrong("encoder.front_end.name", f"must be a text, got {shown(front_end['name'])}")
    if encoder.get("weights") is not None:
        raise wrong("encoder.weights", "must be null, as a run has its weights itself")
    if name is not None and name.startswith("hf:"):
        for key in ("config", "preprocessor"):
            if not isinstance(saved, Mapping) or not isinstance(saved.get(key), Mapping):
                raise wrong(f"encoder.saved.{key}", "is missing, or not a mapping")


def _check_numbers(value: Any, key: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise wrong(key[:MAX_SHOWN], "nested too deeply")
    if isinstance(value, Mapping):
        for name, one in value.items():
            _check_numbers(one, f"{key}.{name}", depth + 1)
    elif isinstance(value, list):
        for i, one in enumerate(value):
            _check_numbers(one, f"{key}.{i}", depth + 1)
    elif isinstance(value, int) and abs(value) > MAX_SETTING:
        raise wrong(key, f"must be at most {MAX_SETTING}, got {shown(value)}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong(key, f"must be a finite number, got {value}")


def wrong(key: str, reason: str, separator: str = ": ") -> PydanticCustomError:
    """Return the error of a key below the one that is being validated.

    Example:
        >>> wrong("reader", "is missing").message()
        'reader: is missing'
    """
    # As a context, for a name may have braces, which a template may not.
    return PydanticCustomError("altuna", "{line}", {"line": f"{key}{separator}{reason}"})
