"""The types of options that pydantic alone cannot state: what is converted, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

from altuna import methods
from altuna.options import nearest, shown

MAX_INT = 2**63 - 1


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
    raise ValueError(f"must be a name, or a mapping of options to values, got {shown(value)}")


def _method(value: object) -> object:
    """Return a method's options, its name among them, also where only a name is given."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return dict(value)
    if isinstance(value, Mapping):
        raise ValueError("needs a name, one of " + ", ".join(methods.list()))
    raise ValueError(f"must be a name, or a mapping of options to values, got {shown(value)}")


def _unscaled(value: object) -> object:
    if isinstance(value, str) and value.startswith("16"):
        raise ValueError(f"{value} scales the gradients that methods read and modify; use bf16-mixed")
    return value


def _estimators(value: str) -> str:
    estimators_of(value)
    return value


def estimators_of(text: str) -> list[str]:
    """Return the estimators that ``a,b`` names, none for ``none``.

    Raises:
        ValueError: An unknown name.

    Example:
        >>> estimators_of("none"), estimators_of("logistic, extra_trees")
        ([], ['logistic', 'extra_trees'])
    """
    names = [] if text.strip() == "none" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ESTIMATORS:
            raise ValueError(f"unknown estimator {name!r}{nearest(name, (*ESTIMATORS, 'none'))}")
    return [*dict.fromkeys(names)]


def absolute_encoder(encoder: Any) -> Any:
    """Return an encoder's options with the local folder of a Hugging Face one as an absolute path."""
    name = encoder.get("name") if isinstance(encoder, Mapping) else encoder
    folder = Path(str(name).removeprefix("hf:"))
    if not str(name).startswith("hf:") or not folder.is_dir():
        return encoder
    name = f"hf:{folder.absolute()}"
    return {**encoder, "name": name} if isinstance(encoder, Mapping) else name


ESTIMATORS = ("extra_trees", "logistic")
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
Estimators = Annotated[str, AfterValidator(_estimators)]
Weights = Annotated[dict[str, float], BeforeValidator(_mapping)]
Precision = Annotated[Literal["auto", "32-true", "bf16-mixed"], BeforeValidator(_unscaled)]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and converts nothing: "5" and true are no whole numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Budget(Strict):
    """What ends a training instead of a number of epochs: exactly one of the two."""

    updates: int | None = Field(
        None, gt=0, le=MAX_INT, description="Number of encoder updates, summed over all modalities."
    )
    seconds: float | None = Field(None, gt=0, description="Seconds of training.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"budget: give one of updates, seconds; got {' and '.join(given) or 'none'}")
        return self


class Schedule(Strict):
    """A step schedule: multiply the learning rate by ``gamma`` after every ``step`` epochs."""

    step: float = Field(gt=0, description="Epochs between two changes of the learning rate.")
    gamma: float = Field(gt=0, description="Factor by which each change multiplies the learning rate.")
