"""The machine that trains: device, precision, threads, memory, and the name of its processor."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from altuna.errors import UserError

# FLOPs of a forward pass of one modality's batch from which several threads are worth waiting for.
MANY_FLOPS = 200_000_000


def choose_device(accelerator: str, number: int = 0) -> torch.device:
    """Return the device that an accelerator stands for.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        number: Which GPU of this machine.

    Raises:
        UserError: This machine has no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    cuda, mps = torch.cuda.is_available(), torch.mps.is_available()
    exists = {"gpu": cuda or mps, "cuda": cuda, "mps": mps}.get(accelerator, True)
    if not exists:
        raise UserError(
            f"accelerator={accelerator}: this machine has no such device for PyTorch {torch.__version__}"
        )
    if cuda and accelerator in ("auto", "gpu", "cuda"):
        return torch.device("cuda", number)
    return torch.device("mps" if mps and accelerator != "cpu" else "cpu")


def choose_precision(precision: str, accelerator: str) -> str:
    """Return ``precision``; for ``auto`` bf16-mixed where the hardware multiplies bf16 natively.

    Convolutions then take half the time or less.

    Example:
        >>> choose_precision("32-true", "cpu")
        '32-true'
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda"):
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = accelerator in ("auto", "cpu") and not torch.mps.is_available() and multiplies_bf16()
    return "bf16-mixed" if native else "32-true"


def multiplies_bf16() -> bool:
    """Return whether the processor has instructions for products in bf16."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def describe() -> str:
    """Return the processor's name, the widest vectors that PyTorch uses on it, and bf16 if it has that."""
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return ", ".join([name, torch.backends.cpu.get_cpu_capability(), *["bf16"] * multiplies_bf16()])


def check_compiler(device: torch.device) -> None:
    """Raise UserError if PyTorch cannot compile on this machine."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # of many kinds: there is no compiler, or it does not know this Python
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"compile: PyTorch cannot compile on this machine: {reason}") from None


def choose_threads(flops: float, available: int) -> int:
    """Return how many CPU threads a training step is worth.

    Threads of a small step wait for each other longer than they compute, and much longer beside other load.

    Args:
        flops: FLOPs of a forward pass of one modality's batch.
        available: Threads that there may be.

    Example:
        >>> choose_threads(1e6, 8), choose_threads(1e10, 8)
        (1, 8)
    """
    return available if flops >= MANY_FLOPS else 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many CPU threads, afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def explain_out_of_memory(where: str, rows: int) -> Iterator[None]:
    """Raise UserError, which says where it happened and what to do, if memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # only some devices raise a class of their own
        signs = ("allocate memory", "out of memory", "alloc_failed")
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in signs):
            raise
        raise UserError(
            f"out of memory {where}, with a batch of {rows} rows: lower micro_batch or batch_size, or use a "
            "smaller encoder"
        ) from error


def reset_peak_memory(device: torch.device | None = None) -> None:
    """Start to count the peak of memory anew, where the system can."""
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux
        return


def peak_memory(device: torch.device | None = None) -> int:
    """Return the peak of memory in bytes, 0 if unknown."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose rusage begins with the peak of the process that started this one
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024
