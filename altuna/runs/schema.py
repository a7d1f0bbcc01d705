"""What the JSON and YAML files of a run directory may hold; whatever is wrong in them is one line.

``check`` applies a model to a file's content and names the file and the key. Numbers are bounded, so that
no size in a file leads to an allocation that its weights do not justify.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from altuna.data.formats.numbers import MARKS, NumberFormat
from altuna.data.formats.styles import STYLES
from altuna.errors import UserError
from altuna.options import MAX_SHOWN, mistake, nearest, shown
from altuna.runs.settings import MAX_SETTING, check_encoder, make_reader, wrong

FORMAT = 3  # of config.json
MAX_FOLDS = 100
MAX_NAME = 10_000  # characters of a class, a column or a modality
MAX_COUNT = 10**24
MAX_SIZE = 1 << 28  # numbers of a tensor of an estimator

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


class FormatFile(_Closed):
    """How the numbers of a column are written."""

    prefix: Annotated[str, Field(max_length=MAX_NAME)] = ""
    suffix: Annotated[str, Field(max_length=MAX_NAME)] = ""
    decimal: str = "."
    groups: str = ""
    missing: list[Finite] = []
    style: str = ""
    bounds: bool = False

    @model_validator(mode="after")
    def _check_marks(self) -> Self:
        if (self.decimal, self.groups) not in MARKS:
            raise wrong("decimal", f"no number has {shown(self.decimal)} and groups by {shown(self.groups)}")
        if self.style and self.style not in STYLES:
            raise wrong("style", f"no {shown(self.style)}{nearest(self.style[:MAX_SHOWN], STYLES)}")
        return self

    def format(self) -> NumberFormat:
        """Return it as the reading of a table takes it."""
        return NumberFormat(**{**self.model_dump(), "missing": tuple(self.missing)})


class ModalityFile(_Closed):
    """A modality in ``config.json``."""

    type: Name
    columns: list[Name] = []
    formats: dict[Name, FormatFile] = {}
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
            raise wrong("reader", f"reads {reader.type!r}, not the type {self.type!r}")
        name, times = Counter(self.columns or [""]).most_common(1)[0]
        if times > 1:
            raise wrong("columns", f"has {shown(name)} twice")
        if self.columns and not reader.fits(self.columns):
            raise wrong("columns", f"are {len(self.columns)}, not those of the reader: {[*reader.shape]}")
        for name in self.formats:
            if name not in self.columns:
                raise wrong("formats", f"no column {shown(name)}{nearest(name[:MAX_SHOWN], self.columns)}")
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
            raise wrong("classes", f"has {shown(name)} twice")
        for name in self.fixed_weights:
            if name not in self.modalities:
                raise wrong(f"fixed_weights.{name}", f"no such modality{nearest(name, self.modalities)}")
        if not any(self.fixed_weights.get(name, 1) for name in self.modalities):
            raise wrong("fixed_weights", "must not all be 0")
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
                raise wrong(name, f"must be a number, as there are {self.n} samples, got null")
        return self


class FusionFile(_File):
    """The metrics of every fusion rule on the same outputs."""

    rule: Name
    temperatures: dict[str, Positive]
    weights: dict[str, NotNegative]
    biases: dict[str, list[Finite]] = {}
    joint_weight: NotNegative | None
    rules: dict[str, Scores]

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.rule not in self.rules:
            raise wrong("rule", f"rules has none {self.rule!r}{nearest(self.rule, self.rules)}")
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
            raise wrong("best_epoch", f"must be less than epochs, {self.epochs}, got {self.best_epoch}")
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
            raise wrong("modalities", "none has a sample")
        if strange := {*self.imbalance.shapley} - {*self.modalities}:
            raise wrong("imbalance.shapley", f"no modality {min(strange)!r}")
        for rate in self.rates:
            try:
                known = 0 <= float(rate) <= 1
            except ValueError:
                known = False
            if not known:
                raise wrong(f"rates.{rate}", "must be a rate from 0 to 1")
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
