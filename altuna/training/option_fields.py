"""The fields of options: the default and help of each, and what the command line and resuming ask of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

# The headings of ``--help``.
COMMON, DATA, MODEL, TRAINING = "Options", "Data", "Model", "Training"
MISSING, HARDWARE, OUTPUT = "Missing modalities", "Hardware", "Output"

# Help of options that several commands have.
MISSING_RATE_HELP = (
    "Fraction of the non-empty cells to mask (treat as missing). Default: no masking. A cell is one "
    "modality of one sample. With the pattern random, every sample keeps one modality, so with two "
    "modalities the maximum is 0.5."
)
MISSING_PATTERN_HELP = (
    "Which cells to mask. random: random cells. group: a modality in all samples of a group. label: a "
    "modality that depends on the class. only:NAME: all modalities except NAME. never:NAME: the modality "
    "NAME."
)


def option(
    default: Any,
    help: str,
    group: str,
    *,
    place: bool = False,
    saved: bool | None = None,
    single: bool = False,
    **bounds: Any,
) -> Any:
    """Return the field of an option.

    Args:
        default: Its default.
        help: One or two plain sentences.
        group: Heading of ``altuna fit --help`` under which it stands.
        place: It says where or how something is computed, stored or shown, and does not change the result:
            a resumed run may change it.
        saved: It is written to ``config.yaml``; by default if it changes the result.
        single: It belongs to one training: ``altuna compare`` sets it for each of its own.
        bounds: Bounds for pydantic's ``Field``: ``ge``, ``gt``, ``le``, ``lt``.
    """
    extra: JsonDict = {"group": group, "place": place, "single": single}
    extra["saved"] = not place if saved is None else saved
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def marker(field: FieldInfo, name: Literal["group", "place", "saved", "single"]) -> Any:
    """Return what ``option`` was given about a field.

    Example:
        >>> marker(option(0, "Number of workers.", HARDWARE, place=True), "group")
        'Hardware'
    """
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra[name]
