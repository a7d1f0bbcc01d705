"""Cells that could not be read, and the file that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from altuna.files import write_csv


@dataclass(frozen=True)
class Problem:
    """A cell to speak of; ``row`` counts from 1, and is 0 where a whole column is meant.

    ``kind`` is ``unread`` (the cell counts as missing), ``fatal`` (an error in the data) or ``note`` (it was
    read, and something about it is worth knowing).
    """

    row: int
    id: str
    column: str
    cell: str
    reason: str
    kind: str = "unread"

    def __str__(self) -> str:
        where = f"row {self.row} (id {self.id!r}), " if self.row else ""
        cell = f"{self.cell}: " if self.cell else ""
        return f"{where}column {self.column!r}: {cell}{self.reason}"


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write problems as CSV; an empty list writes the header only."""
    header = [field.name for field in fields(Problem)]
    write_csv(path, [header, *([getattr(problem, name) for name in header] for problem in problems)])
