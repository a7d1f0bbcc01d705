"""What of a processor matters to how fast it trains."""

from __future__ import annotations

import platform

import torch


def multiplies_bf16() -> bool:
    """Tell whether it has instructions of its own for products in bf16."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def describe() -> str:
    """Return its name, the widest vectors that PyTorch uses on it, and bf16 if it has that."""
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return ", ".join([name, torch.backends.cpu.get_cpu_capability(), *["bf16"] * multiplies_bf16()])
