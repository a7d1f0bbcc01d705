"""The optimizers of a training, fused: a step reads and writes each parameter once, on CPUs too.

Fused ones go through memory in order, whatever strides say: gradients and what is loaded of an optimizer have
to lie as their parameters do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch

from altuna.core.collectives import is_split, laid_out

Fused = TypeVar("Fused", bound=torch.optim.Optimizer)


def sgd(parameters: Iterable[Any], lr: float, decay: float = 0.0) -> torch.optim.SGD:
    """Return stochastic gradient descent with a momentum of 0.9, fused but for split parameters."""
    optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=decay, fused=True)
    for group in optimizer.param_groups:
        # PyTorch fuses no split parameters here, as it does for AdamW.
        group["fused"] = None if any(map(is_split, group["params"])) else True
        # Fused, it fails in a step in which some have a momentum and others none yet, as turns have.
        for p in group["params"]:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def still_fused(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Keep to this when a training goes on that was split, or is now."""
        pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
        return {**state, "param_groups": [{**saved, "fused": own["fused"]} for saved, own in pairs]}

    optimizer.register_load_state_dict_pre_hook(still_fused)
    return _laid_out_when_loaded(optimizer)


def adamw(parameters: Iterable[Any], lr: float, decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW, fused."""
    return _laid_out_when_loaded(torch.optim.AdamW(parameters, lr, weight_decay=decay, fused=True))


def _laid_out_when_loaded(optimizer: Fused) -> Fused:
    """Lay out what is loaded as parameters are: that of split ones comes in another order of memory."""

    def of_loaded(optimizer: torch.optim.Optimizer) -> None:
        for p, state in optimizer.state.items():
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == p.shape and not is_split(p):
                    state[name] = laid_out(value, p)

    optimizer.register_load_state_dict_post_hook(of_loaded)
    return optimizer


OPTIMIZERS: dict[str, Callable[[Iterable[Any], float, float], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "sgd": sgd,
}


def lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Lay out gradients in memory as their parameters."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad = laid_out(p.grad, p)
