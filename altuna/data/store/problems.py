"""Problems with cells, and the file ``problems.csv`` that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from altuna.files import write_csv


@dataclass(frozen=True)
class Problem:
    """A problem with a cell.

    Args:
        row: From 1; 0 if a whole column is meant.
        id: The sample.
        column: The column.
        cell: The cell's content, shortened.
        reason: What is wrong.
        kind: ``unread`` (the cell counts as missing), ``fatal`` (an error in the data) or ``note`` (the cell
            was read; something is worth knowing about it).

    Example:
        >>> print(Problem(3, "owl", "photo", "owl.png", "no such file"))
        row 3 (id 'owl'), column 'photo': owl.png: no such file
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
    """Write problems to a CSV file; without any, it has its header only.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "problems.csv")
        >>> write_problems(path, [Problem(3, "owl", "photo", "owl.png", "no such file")])
        >>> print(path.read_text())
        row,id,column,cell,reason,kind
        3,owl,photo,owl.png,no such file,unread
        <BLANKLINE>
    """
    header = [field.name for field in fields(Problem)]
    write_csv(path, [header, *([getattr(problem, name) for name in header] for problem in problems)])
