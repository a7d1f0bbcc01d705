"""The report that a run ends with."""

from altuna.report.html import write_report

__all__ = ["write_report"]
