"""What each column of the table was used as."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from altuna.data.table.account import Column
from altuna.report.page import table_of
from altuna.report.runs import Run
from altuna.report.sections.section import Section
from altuna.runs.directory import read_account


def columns(runs: Sequence[Run]) -> Section | None:
    """Return what the columns were used as, and why others were left out; None of runs without an account."""
    parts = []
    for run in runs:
        if account := read_account(run.folder):
            name = run.name if len(runs) > 1 else ""
            parts.append(table_of(["used as", "columns", "reason"], _lines(account), name))
    lead = "Every column of the table: what it was used as, or why it was left out."
    return Section("Columns", lead, parts) if parts else None


def _lines(account: Sequence[Column]) -> list[list[str]]:
    """Return a row for each use and for each reason."""
    rows = sorted(account, key=lambda column: (not column.used_as, column.used_as, column.reason))
    return [
        [used_as or "left out", ", ".join(column.column for column in same), reason]
        for (used_as, reason), same in groupby(rows, key=lambda column: (column.used_as, column.reason))
    ]
