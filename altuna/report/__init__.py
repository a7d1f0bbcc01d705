"""The report that a run ends with."""

from altuna.report.report import weights_by_class, write_report

__all__ = ["weights_by_class", "write_report"]
