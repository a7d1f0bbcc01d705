"""What of a processor matters to how fast it trains."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch


def multiplies_bf16() -> bool:
    """Tell whether it has instructions of its own for products in bf16."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def describe() -> str:
    """Return its name, the widest vectors that PyTorch uses on it, and bf16 if it has that."""
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return ", ".join([name, torch.backends.cpu.get_cpu_capability(), *["bf16"] * multiplies_bf16()])


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
