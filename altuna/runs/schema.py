"""What the JSON and YAML files of a run directory may hold; whatever is wrong in them is one line.

``check`` applies a model to a file's content and names the file and the key. Numbers are bounded, so that
no size in a file leads to an allocation that its weights do not justify.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import PydanticCustomError

from altuna.data.readers import READERS, Reader
from altuna.errors import UserError
from altuna.options import MAX_SHOWN, mistake, nearest, shown

FORMAT = 3  # of config.json
MAX_FOLDS = 100
MAX_NAME = 10_000  # characters of a class, a column or a modality
MAX_SETTING = 1 << 24  # the largest whole number in a reader's or an encoder's settings
MAX_CELL = 1 << 28  # numbers in a cell
MAX_COUNT = 10**24
MAX_SIZE = 1 << 28  # numbers of a tensor of an estimator
MAX_DEPTH = 20  # of values within values

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AnyNumber = Annotated[float, Field(allow_inf_nan=True)]  # of a training that overflowed


class _File(BaseModel):
    """A part of a file: frozen, without conversions; keys that are not known are kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", protected_namespaces=())


class _Closed(_File):
    """A part of a file without other keys than its own."""

    model_config = ConfigDict(extra="forbid")


class LogisticFile(_Closed):
    """The shape of a logistic regression."""

    inputs: Size


class ForestFile(LogisticFile):
    """The shape of an ensemble of decision trees."""

    trees: Size
    nodes: Size
    depth: Annotated[int, Field(ge=0, le=MAX_SETTING)]


class EstimatorsFile(_Closed):
    """The estimators of a modality by name, one in each fold."""

    extra_trees: list[ForestFile] | None = None
    logistic: list[LogisticFile] | None = None


class ModalityFile(_Closed):
    """A modality in ``config.json``."""

    type: Name
    columns: list[Name] = []
    reader: dict[str, Any]
    encoder: dict[str, Any]
    estimators: EstimatorsFile = EstimatorsFile()

    def shapes(self) -> dict[str, list[dict[str, int]]]:
        """Return the shape of each estimator by its name, in each fold."""
        return self.estimators.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        check_encoder(self.encoder)
        reader = make_reader(self.reader)
        if reader.type != self.type:
            raise _wrong("reader", f"reads {reader.type!r}, not the type {self.type!r}")
        if len(self.columns) > 1 and reader.shape[-1] != len(self.columns):  # one column may hold lists
            raise _wrong("columns", f"are {len(self.columns)}, not those of the reader: {[*reader.shape]}")
        return self


class ModelFile(_Closed):
    """``config.json``: all that is needed to build the model again."""

    format: Literal[3]
    method: Name
    classes: Annotated[list[Name], Field(min_length=1)]
    head: Name
    fusion: str
    fixed_weights: dict[str, NotNegative]
    impute: Literal["zero", "mean"] = "zero"
    expert: Literal["off", "detached", "turn", "apart"] = "off"
    folds: Annotated[int, Field(ge=1, le=MAX_FOLDS)] = 1
    modalities: Annotated[dict[Name, ModalityFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        name, times = Counter(self.classes).most_common(1)[0]
        if times > 1:
            raise _wrong("classes", f"has {name!r} twice")
        for name in self.fixed_weights:
            if name not in self.modalities:
                raise _wrong(f"fixed_weights.{name}", f"no such modality{nearest(name, self.modalities)}")
        if not any(self.fixed_weights.get(name, 1) for name in self.modalities):
            raise _wrong("fixed_weights", "must not all be 0")
        return self


class Scores(_File):
    """How good predictions of some samples are."""

    accuracy: Share
    macro_f1: Share
    nll: AnyNumber
    ece: Share


class CountedScores(_File):
    """How good predictions of ``n`` samples are; of none there are no scores."""

    n: Count
    accuracy: Share | None
    macro_f1: Share | None
    nll: AnyNumber | None
    ece: Share | None

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        for name in ("accuracy", "macro_f1", "nll", "ece"):
            if self.n and getattr(self, name) is None:
                raise _wrong(name, f"must be a number, as there are {self.n} samples, got null")
        return self


class FusionFile(_File):
    """The metrics of every fusion rule on the same outputs."""

    rule: Name
    temperatures: dict[str, Positive]
    weights: dict[str, NotNegative]
    joint_weight: NotNegative | None
    rules: dict[str, Scores]

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.rule not in self.rules:
            raise _wrong("rule", f"rules has none {self.rule!r}{nearest(self.rule, self.rules)}")
        return self


class ImbalanceFile(_File):
    """How far the modalities are apart."""

    gap: AnyNumber
    fusion_gain: Finite
    interference: dict[str, AnyNumber]
    gradient_kept: dict[str, AnyNumber]
    conflict: dict[str, AnyNumber]
    shapley: dict[str, Finite]
    modality_gap: dict[str, AnyNumber]
    alignment: dict[str, AnyNumber]
    uniformity: dict[str, AnyNumber]


class TrainingFile(_File):
    """What the model was trained on."""

    n: Count
    classes: dict[str, dict[str, Count]]
    remarks: list[str]
    shared_temperature: list[str]
    stream: Count = 0


class CostFile(_File):
    """What the training cost."""

    seconds: NotNegative
    epochs: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    best_epoch: Count
    updates: Count
    parameters: Count
    flops_per_batch: Count
    peak_memory: Count

    @model_validator(mode="after")
    def _check_best(self) -> Self:
        if self.best_epoch >= self.epochs:
            raise _wrong("best_epoch", f"must be less than epochs, {self.epochs}, got {self.best_epoch}")
        return self


class ValFile(_File):
    """The metrics of the validation split, which are optimistic: it chose the epoch and the calibration."""

    n: Count
    fused: Scores
    modalities: dict[Name, CountedScores]


class ExpertFile(_File):
    """How much an expert of a modality counts."""

    temperature: Positive
    weight: NotNegative


class MetricsFile(_File):
    """``metrics.json``: the metrics of a finished run."""

    data: Name
    method: Name
    seed: Count
    split: Literal["train", "val", "test"]
    n: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    modalities: Annotated[dict[Name, CountedScores], Field(min_length=1)]
    fused: Scores
    val: ValFile
    estimators: dict[str, dict[str, ExpertFile]] = {}
    warnings: list[str]
    fusion: FusionFile
    imbalance: ImbalanceFile
    rates: dict[str, Annotated[list[CountedScores], Field(min_length=1)]]
    subsets: dict[str, CountedScores]
    training: TrainingFile
    cost: CostFile

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if not any(scores.n for scores in self.modalities.values()):
            raise _wrong("modalities", "none has a sample")
        if strange := {*self.imbalance.shapley} - {*self.modalities}:
            raise _wrong("imbalance.shapley", f"no modality {min(strange)!r}")
        for rate in self.rates:
            try:
                known = 0 <= float(rate) <= 1
            except ValueError:
                known = False
            if not known:
                raise _wrong(f"rates.{rate}", "must be a rate from 0 to 1")
        return self


class MethodOptions(_File):
    """A method's name beside its options."""

    name: Name


class PlaceFile(_Closed):
    """Where a modality is in a table."""

    type: str = ""
    column: str = ""
    columns: list[str] = []
    prefix: str = ""


class OptionsFile(_File):
    """What the run directory's readers need of ``config.yaml``; ``altuna.training.config`` knows the rest."""

    data: Name
    method: MethodOptions
    modalities: dict[str, PlaceFile] | None
    columns: dict[Literal["id", "split", "label", "group"], str] | None = None
    ignore: list[str] = []
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    root: Name | None = None


FileModel = TypeVar("FileModel", bound=BaseModel)


def check(model: type[FileModel], content: object, path: Path | str) -> FileModel:
    """Return a file's content as a model.

    Raises:
        UserError: It does not fit; one line that names the file and the first wrong key.

    Example:
        >>> check(MethodOptions, {"name": "mla"}, "config.yaml").name
        'mla'
        >>> check(MethodOptions, {"name": 3}, "config.yaml")
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: config.yaml: name must be a text, got 3
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {mistake(error, model)}") from None


def make_reader(settings: Mapping[str, Any]) -> Reader:
    """Return the reader with the settings of ``config.json``, ``name`` among them.

    Raises:
        PydanticCustomError: No such reader or setting, or a value of the wrong type or size.

    Example:
        >>> make_reader({"name": "vector", "size": 3})
        VectorReader(size=3, origin=())
    """
    name = settings.get("name")
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k != "name"}
    if not isinstance(name, str) or name not in READERS:
        raise _wrong("reader.name", f"must be one of {', '.join(READERS)}, got {shown(name)}")
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
        raise _wrong("reader", line, separator=".") from None
    for key, value in own.items():
        if isinstance(value, int | float) and not 0 < value <= MAX_SETTING:
            raise _wrong(f"reader.{key}", f"must be more than 0 and at most {MAX_SETTING}, got {value!r}")
    if (size := math.prod(made.shape)) > MAX_CELL:
        raise _wrong("reader", f"a cell would have {size:,} numbers, at most {MAX_CELL:,} may be")
    return made


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
        raise _wrong("encoder.name", f"must be a text, got {shown(name)}")
    transforms, front_end = encoder.get("transforms") or {}, encoder.get("front_end") or {}
    if not isinstance(transforms, Mapping):
        raise _wrong("encoder.transforms", f"must be a mapping, got {shown(transforms)}")
    for transform, options in transforms.items():
        if options is not None and not isinstance(options, Mapping):
            raise _wrong(f"encoder.transforms.{transform}", f"must be a mapping, got {shown(options)}")
    if not isinstance(front_end, str | Mapping):
        raise _wrong("encoder.front_end", f"must be a text or a mapping, got {shown(front_end)}")
    if isinstance(front_end, Mapping) and not isinstance(front_end.get("name", ""), str):
        raise _wrong("encoder.front_end.name", f"must be a text, got {shown(front_end['name'])}")
    if encoder.get("weights") is not None:
        raise _wrong("encoder.weights", "must be null, as a run has its weights itself")
    if name is not None and name.startswith("hf:"):
        for key in ("config", "preprocessor"):
            if not isinstance(saved, Mapping) or not isinstance(saved.get(key), Mapping):
                raise _wrong(f"encoder.saved.{key}", "is missing, or not a mapping")


def _check_numbers(value: Any, key: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise _wrong(key[:MAX_SHOWN], "nested too deeply")
    if isinstance(value, Mapping):
        for name, one in value.items():
            _check_numbers(one, f"{key}.{name}", depth + 1)
    elif isinstance(value, list):
        for i, one in enumerate(value):
            _check_numbers(one, f"{key}.{i}", depth + 1)
    elif isinstance(value, int) and abs(value) > MAX_SETTING:
        raise _wrong(key, f"must be at most {MAX_SETTING}, got {shown(value)}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong(key, f"must be a finite number, got {value}")


def _wrong(key: str, reason: str, separator: str = ": ") -> PydanticCustomError:
    """Return the error of a key below the one that is being validated."""
    # As a context, for a name may have braces, which a template may not.
    return PydanticCustomError("altuna", "{line}", {"line": f"{key}{separator}{reason}"})
