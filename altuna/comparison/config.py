"""The options of a comparison: its own, and those of its trainings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator, model_validator
from pydantic.fields import FieldInfo

from altuna.training.config import MAX_PROCESSES, options
from altuna.training.option_fields import COMMON, HARDWARE, marker, option
from altuna.training.option_types import Anywhere, Strict

ALL = "all"
MAX_SEEDS = 10_000


def _several(value: object) -> object:
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, str) or (isinstance(value, Sequence) and len(value)):
        return value
    raise ValueError(f"must be a name or a list of names, got {value!r}")


Names = Annotated[str | list[str], PlainValidator(_several, json_schema_input_type=str | list[str])]
Methods = Annotated[
    str | list[str | dict[str, Any]],
    PlainValidator(lambda value: value, json_schema_input_type=str | list[str | dict[str, Any]]),
]


class CompareConfig(Strict):
    """The options of a comparison itself."""

    data: Names = option(
        "emoji",
        "Data sets to train on, separated by commas. `altuna fit --help` lists the possible values under "
        "--data.",
        COMMON,
    )
    methods: Methods = option(
        ALL,
        "Methods to compare, separated by commas. --methods all compares all methods. unimodal:NAME is a "
        "model of the modality NAME alone.",
        COMMON,
    )
    seeds: int = option(
        3,
        "Number of trainings per method. The trainings of a method have the seeds 0, 1, 2 and so on.",
        COMMON,
        ge=1,
        le=MAX_SEEDS,
    )
    budget: Literal["updates", "epochs", "time"] = option(
        "updates",
        "Training budget, which is equal for all methods. updates: a number of encoder updates. epochs: a "
        "number of epochs. time: a training time.",
        COMMON,
    )
    reference: str | None = option(
        None,
        "Reference method, with which altuna compares every other method (default: mla, or the first method "
        "in --methods if --methods does not contain mla).",
        COMMON,
    )
    jobs: int | None = option(
        None,
        "Number of trainings to run at the same time (default: 1, or the number that "
        "joblib.parallel_config sets). --jobs -1 runs one training per CPU core.",
        HARDWARE,
        place=True,
        ge=-1,
        le=MAX_PROCESSES,
    )
    threads: int | None = option(
        None,
        "Number of CPU threads per training (default: number of CPU cores divided by --jobs).",
        HARDWARE,
        place=True,
        ge=1,
        le=MAX_PROCESSES,
    )
    out: Anywhere | None = option(
        None, "Folder for the runs and the result tables (default: runs/compare-DATA).", COMMON, place=True
    )
    quiet: bool = option(False, "Print only the path of the output folder.", COMMON, place=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.jobs == 0:
            raise ValueError("jobs must be at least 1, or -1 for as many as there are cores, got 0")
        return self


def run_options() -> dict[str, FieldInfo]:
    """Return the options of ``fit`` that a comparison passes on to all its trainings."""
    return {name: field for name, field in options().items() if not marker(field, "single")}
