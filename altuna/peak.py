"""The most memory that a training held at once: on a GPU if it is the device, else in the process."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def reset_peak_memory(device: torch.device | None = None) -> None:
    """Count from now on, where the system can: what ran in this process before is then left out."""
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux
        return


def peak_memory(device: torch.device | None = None) -> int:
    """Return the peak in bytes, 0 if unknown."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose rusage begins with the peak of the process that started this one
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024
