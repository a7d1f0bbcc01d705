"""Predict a sample as given on the page, and format the result; independent of Gradio."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from altuna.data.readers.tabular import TabularReader
from altuna.errors import UserError
from altuna.options import nearest, shown
from altuna.reporting import SILENT
from altuna.runs.predictor import Predictor
from altuna.text import clipped

MAX_LETTERS = 60  # of a class in the table


class Answer(NamedTuple):
    """Probabilities by class (None after a mistake), the modalities' predictions and the mistake as HTML."""

    probabilities: dict[str, float] | None
    opinions: str
    message: str


def answer(predictor: Predictor, given: Mapping[str, Any]) -> Answer:
    """Predict from inputs: paths of files, texts, and for vectors the text of their numbers.

    Inputs that are None, blank or no files are left out. A mistake in an input becomes the message.
    """
    try:
        sample = {
            name: cell for name, raw in given.items() if (cell := _cell(predictor, name, raw)) is not None
        }
        if not sample:
            raise UserError(f"Give at least one of: {', '.join(given)}.")
        (found,) = predictor.predict([sample], reporter=SILENT).to_pylist()
    except UserError as error:
        return Answer(None, "", _message(error, given))
    probabilities = {name: found[f"p_{name}"] for name in predictor.classes}
    rows = []
    for name in predictor.modalities:
        if found[f"present_{name}"]:
            bars = (_bar(found[f"{column}_{name}"]) for column in ("confidence", "weight"))
            rows.append((html.escape(name), html.escape(clipped(found[f"says_{name}"], MAX_LETTERS)), *bars))
        else:
            rows.append((html.escape(name), "<i>left out</i>", "", ""))
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{name}</th>" for name in ("modality", "prediction", "confidence", "fusion weight"))
    return Answer(probabilities, f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>", "")


def _cell(predictor: Predictor, name: str, raw: Any) -> Any:
    """Return an input as readers take it, None if it is left out."""
    if raw is None or raw == [] or (isinstance(raw, str) and not raw.strip()):
        return None
    reader = predictor.description.readers[name]
    if isinstance(reader, TabularReader):
        return values(name, raw, reader.columns)
    if reader.type == "vector":
        columns = predictor.description.columns.get(name, ())
        return numbers(name, raw, columns, has_formats(predictor, name))
    return raw


def has_formats(predictor: Predictor, name: str) -> bool:
    """Return whether some numbers of a modality were not plainly written in training, such as 1,5 or 3 kg.

    Example:
        >>> has_formats(Predictor("runs/first"), "text")
        False
    """
    description = predictor.description
    own = description.columns.get(name, ())
    return any(not description.formats[column].is_plain for column in own if column in description.formats)


def values(name: str, text: str, columns: Sequence[str]) -> dict[str, Any]:
    """Return the values of a text by column: ``column=value`` separated by commas, or a JSON object.

    Args:
        name: Name of the modality, for errors.
        text: The text.
        columns: Names of the columns.

    Raises:
        UserError: The text is neither, or has an unknown column.

    Example:
        >>> values("tabular", "age=3, colour=dark red", ("age", "colour"))
        {'age': '3', 'colour': 'dark red'}
        >>> values("tabular", '{"age": 3}', ("age", "colour"))
        {'age': 3}
    """
    if text.strip()[:1] == "{":
        try:
            found: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError(f"{name!r}: not JSON: {shown(text)}") from None
    else:
        pairs = [part.partition("=") for part in re.split(r"[,;\n]", text) if part.strip()]
        found = {column.strip(): value.strip() for column, _, value in pairs}
    for column in found:
        if column not in columns:
            raise UserError(
                f"{name!r}: no column {column!r}{nearest(column, columns)}; write COLUMN=VALUE, ..."
            )
    return found


def numbers(name: str, text: str, columns: tuple[str, ...] = (), as_written: bool = False) -> list[Any]:
    """Return the numbers of a text: separated by commas (an empty place is missing) or blanks, or as JSON.

    Args:
        name: Name of the modality, for errors.
        text: The text.
        columns: Names of the numbers, for JSON objects.
        as_written: Return texts, for numbers in a format of their own; semicolons may separate these.

    Raises:
        UserError: The text is not a row of numbers.

    Example:
        >>> numbers("acc", "1, , 0.5")
        [1.0, None, 0.5]
        >>> numbers("acc", '{"y": 2}', ("x", "y"))
        [None, 2.0]
        >>> numbers("size", "1,5 m; 72 kg", ("x", "y"), as_written=True)
        ['1,5 m', '72 kg']
    """
    text = text.strip()
    if text[:1] in "[{":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):  # or too many brackets
            raise UserError(f"{name!r}: not JSON: {shown(text)}") from None
        if isinstance(found, dict):
            if unknown := [*found.keys() - set(columns)]:
                raise UserError(
                    f"{name!r}: no number {unknown[0]!r}; the names are {', '.join(columns[:20])}"
                )
            found = [found.get(column) for column in columns]
        parts = found
    elif as_written and len(columns) == 1:
        parts = [text]
    else:
        mark = ";" if as_written and ";" in text else ","
        parts = [part.strip() or None for part in text.split(mark)] if mark in text else text.split()
    row: list[Any] = []
    for part in parts:
        if as_written and isinstance(part, str):
            row.append(part)
            continue
        try:
            row.append(None if part is None else float(part))
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{name!r}: not a number: {shown(part)}") from None
    return row


def _bar(share: float) -> str:
    return f'<span class="bar"><span style="width:{100 * share:.0f}%"></span></span> {share:.0%}'


def _message(error: UserError, given: Mapping[str, Any]) -> str:
    """Return an error as HTML, with the names of files instead of the paths of uploads."""
    text = str(error).removeprefix("sample 0, ")
    for raw in given.values():
        if isinstance(raw, str) and Path(raw).is_absolute():
            text = text.replace(raw, Path(raw).name)
    return f'<p role="alert" class="problem">{html.escape(text)}</p>'
