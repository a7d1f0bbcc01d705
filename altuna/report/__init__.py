"""The report that a run ends with."""

from altuna.report.report import trust_by_class, write_report

__all__ = ["trust_by_class", "write_report"]
