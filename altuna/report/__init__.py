"""The report that a run ends with."""

from altuna.report.html import trust_by_class, write_report

__all__ = ["trust_by_class", "write_report"]
