"""Report what was found in data: all notes on a table, the first problems with cells."""

from __future__ import annotations

from collections.abc import Sequence

from altuna.data.store.problems import Problem
from altuna.data.table.manifest import Manifest
from altuna.reporting import Reporter

MAX_SHOWN = 5


def report_problems(manifest: Manifest, problems: Sequence[Problem], reporter: Reporter) -> None:
    r"""Report the notes on a manifest, and the first problems with its cells.

    Example:
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> _ = Path("owls.csv").write_text("label;note\na;hoot\n")
        >>> class Printing(Reporter):
        ...     def note(self, text):
        ...         print(text)
        >>> manifest = read_manifest("owls.csv")
        >>> report_problems(manifest, [Problem(1, "1", "photo", "owl.png", "no such file")], Printing())
        owls.csv: its columns are separated by semicolons
        owls.csv, row 1 (id '1'), column 'photo': owl.png: no such file
    """
    for note in manifest.notes:
        reporter.note(note)
    report_first([f"{manifest.path}, {problem}" for problem in problems], reporter)


def report_first(remarks: Sequence[str], reporter: Reporter) -> None:
    """Report the first of some remarks, and how many more there are.

    Example:
        >>> class Printing(Reporter):
        ...     def note(self, text):
        ...         print(text)
        >>> report_first([f"row {i}: no such file" for i in range(4, 11)], Printing())
        row 4: no such file
        row 5: no such file
        row 6: no such file
        row 7: no such file
        row 8: no such file
        ... and 2 more problems
    """
    for remark in remarks[:MAX_SHOWN]:
        reporter.note(remark)
    if (more := len(remarks) - MAX_SHOWN) > 0:
        reporter.note(f"... and {more} more problems")
